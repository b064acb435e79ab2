//! What an order of commands that OpenBSD punishes leads to: it never goes unnoticed.

use proptest::prelude::*;
use rdomain::backend::Backend;
use rdomain::backend::openbsd::bound;
use rdomain::model::{Bindings, End, Network};
use rdomain::plan::plan;
use rdomain::transaction::converge;

use super::golden::file;
use super::machine::{Machine, private_key};
use super::portable::network;
use super::simulator::Simulator;

/// How a list of commands ends on a new machine.
#[derive(Debug, PartialEq)]
enum Ending {
    /// A command was refused, or warned.
    Refused(String),
    /// All were taken, and what they were for is not there.
    Differs,
    /// What they were for is there.
    Reached,
}

fn desired(name: &str) -> Network {
    let network = file(name);
    let ends: Vec<End> = network.tunnels().map(|(at, _)| at).collect();
    let public = (1..).map(|number| private_key(number).public_key());
    bound(&network, &Bindings { public_keys: ends.into_iter().zip(public).collect(), ..Bindings::default() })
}

fn commands(desired: &Network) -> Vec<Vec<String>> {
    let machine = Machine::of(Simulator::new());
    converge(&mut machine.backend(&desired.name), desired, &|| false).unwrap();
    machine.log.take()
}

fn ending(commands: &[Vec<String>], desired: &Network) -> Ending {
    ending_on(&Machine::of(Simulator::new()), commands, desired)
}

/// The same on a copy of this machine.
fn ending_on(before: &Machine, commands: &[Vec<String>], desired: &Network) -> Ending {
    let machine = before.copied();
    for words in commands {
        let output = machine.simulator.borrow_mut().run(words);
        if output.status != 0 || !output.stderr.is_empty() {
            return Ending::Refused(format!("{}{}", output.stdout, output.stderr).trim().to_owned());
        }
    }
    *machine.given.borrow_mut() = rdomain::backend::openbsd::Given::assumed(desired);
    let seen = machine.backend(&desired.name).observe().unwrap();
    if plan(desired, &seen).is_empty() { Ending::Reached } else { Ending::Differs }
}

fn moved(commands: &[Vec<String>], from: usize, to: usize) -> Vec<Vec<String>> {
    let mut moved = commands.to_vec();
    let command = moved.remove(from);
    moved.insert(to, command);
    moved
}

fn position(commands: &[Vec<String>], parts: &[&str]) -> usize {
    let has = |words: &Vec<String>| parts.iter().all(|part| words.iter().any(|word| word == part));
    commands.iter().position(has).unwrap_or_else(|| panic!("no {parts:?} in {commands:#?}"))
}

fn last_two(words: &mut Vec<String>) -> Vec<String> {
    words.split_off(words.len() - 2)
}

#[test]
fn an_order_that_is_punished_is_noticed() {
    let desired = desired("examples/openbsd.yaml");
    let commands = commands(&desired);
    assert_eq!(ending(&commands, &desired), Ending::Reached);
    let ending_of = |from: &[&str], before: &[&str]| {
        ending(&moved(&commands, position(&commands, from), position(&commands, before)), &desired)
    };
    let refused = |text: &str| Ending::Refused(text.to_owned());

    let unreachable = refused("add net 10.20.0.0/16: gateway 10.8.0.2: Network is unreachable");
    assert_eq!(ending_of(&["add", "10.20.0.0/16"], &["wg1", "10.8.0.1/24"]), unreachable);
    let no_loopback = refused("add net 10.66.0.0/16: gateway 127.0.0.1: Network is unreachable");
    assert_eq!(ending_of(&["add", "10.66.0.0/16"], &["lo1", "127.0.0.1/8"]), no_loopback);
    let no_pair = refused("ifconfig: patch pair2: No such file or directory");
    assert_eq!(ending_of(&["patch", "pair2"], &["pair2", "create"]), no_pair);
    let exists = refused("ifconfig: lo1: SIOCIFCREATE: File exists");
    assert_eq!(ending_of(&["wg1", "create"], &["lo1", "create"]), exists);
    let further = ending_of(&["wg2", "10.20.0.1/16", "alias"], &["wg2", "10.8.0.2/24"]);
    assert_eq!(further, Ending::Differs, "the first address is replaced");
}

/// An address that comes before its rdomain is lost without a word.
#[test]
fn an_rdomain_after_the_address_is_noticed() {
    let desired = desired("examples/openbsd.yaml");
    let mut commands = commands(&desired);
    let at = position(&commands, &["wg2", "create"]);
    let rdomain = last_two(&mut commands[at]);
    let late = [vec!["ifconfig".to_owned(), "wg2".to_owned()], rdomain].concat();
    let after = position(&commands, &["wg2", "fd00:8::2/64"]);
    commands.insert(after + 1, late);
    assert_eq!(ending(&commands, &desired), Ending::Differs);
}

/// `wgaip` replaces what an earlier run gave.
#[test]
fn a_peer_in_two_runs_is_noticed() {
    let desired = desired("examples/openbsd.yaml");
    let mut commands = commands(&desired);
    let at = position(&commands, &["wg1", "wgpeer"]);
    let second = last_two(&mut commands[at]);
    let peer = commands[at][..4].to_vec();
    commands.insert(at + 1, [peer, second].concat());
    assert_eq!(ending(&commands, &desired), Ending::Differs);
}

/// What there is in the end, however it was reached.
fn state(before: &Simulator, commands: &[Vec<String>]) -> Simulator {
    let mut machine = before.clone();
    commands.iter().for_each(|words| drop(machine.run(words)));
    machine.normal()
}

/// Whatever command is moved to wherever: it is refused, or the plan is not empty, or nothing is lost by it.
#[test]
fn no_order_goes_wrong_in_silence() {
    for name in ["domains.yaml", "examples/openbsd.yaml"] {
        let desired = desired(name);
        let commands = commands(&desired);
        let right = state(&Simulator::new(), &commands);
        let mut punished = 0;
        for from in 0..commands.len() {
            for to in 0..commands.len() {
                let moved = moved(&commands, from, to);
                match ending(&moved, &desired) {
                    Ending::Reached => {
                        assert_eq!(
                            state(&Simulator::new(), &moved),
                            right,
                            "{name}: {from} to {to}: {moved:#?}"
                        );
                    }
                    Ending::Refused(_) | Ending::Differs => punished += 1,
                }
            }
        }
        assert!(punished > commands.len(), "{name}: {punished} of {}", commands.len().pow(2));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// The same of networks that nobody thought of, on the way from one to another.
    #[test]
    fn no_order_between_two_networks_goes_wrong_in_silence(
        before in network(),
        desired in network(),
        moves in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
    ) {
        let machine = Machine::of(Simulator::new());
        let fails = |failure| TestCaseError::fail(format!("{failure:#?}"));
        converge(&mut machine.backend(&before.name), &before, &|| false).map_err(fails)?;
        machine.log.borrow_mut().clear();
        let start = machine.copied();
        converge(&mut machine.backend(&desired.name), &desired, &|| false).map_err(fails)?;
        let commands = machine.log.take();
        let right = machine.simulator.borrow().clone().normal();
        let neighbours = (1..commands.len()).map(|at| (at, at - 1));
        let random = moves.iter().filter(|_| !commands.is_empty());
        let random = random.map(|(from, to)| (from.index(commands.len()), to.index(commands.len())));
        for (from, to) in neighbours.chain(random) {
            let moved = moved(&commands, from, to);
            if ending_on(&start, &moved, &desired) == Ending::Reached {
                let seen = state(&start.simulator.borrow(), &moved);
                prop_assert_eq!(&seen, &right, "{} to {}: {:#?}", from, to, moved);
            }
        }
    }
}

#[test]
fn a_loopback_goes_last() {
    let desired = desired("examples/openbsd.yaml");
    let machine = Machine::of(Simulator::new());
    converge(&mut machine.backend(&desired.name), &desired, &|| false).unwrap();
    let mut up = machine.simulator.borrow().clone();
    let down = Network::empty(desired.name.clone());
    machine.log.borrow_mut().clear();
    converge(&mut machine.backend(&desired.name), &down, &|| false).unwrap();
    let commands = machine.log.take();
    let (lo, wg) = (position(&commands, &["lo1", "destroy"]), position(&commands, &["wg1", "destroy"]));
    let moved = moved(&commands, lo, wg);
    let ended: Vec<i32> = moved.iter().map(|words| up.run(words).status).collect();
    assert_eq!(ended[wg], 1, "{moved:#?}");
}
