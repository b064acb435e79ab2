//! The laws of plan again, through command lines: what is planned is rendered, run on the simulator, and read back.

use proptest::prelude::*;
use rdomain::backend::Backend;
use rdomain::model::Network;
use rdomain::plan::plan;
use rdomain::transaction::converge;

use super::machine::Machine;
use super::networks::bare;
use super::portable::network;
use super::simulator::Simulator;

/// Somebody else's objects: an rdomain with a route in it, a tunnel, a route in the default domain.
const FOREIGN: [&str; 8] = [
    "ifconfig vether9 rdomain 7 10.9.9.1/24",
    "ifconfig lo7 inet 127.0.0.1/8",
    "route -T7 -n add 10.77.0.0/16 10.9.9.2",
    "ifconfig wg9 create description mine wgport 51820",
    "ifconfig wg9 inet 10.99.0.1/24",
    "route -n add default 192.0.2.1",
    "route -T9 -n add -label rdom:other 10.78.0.0/16 192.0.2.1",
    "ifconfig em0 description uplink",
];

fn installed() -> Simulator {
    let mut machine = Simulator::new();
    FOREIGN.iter().for_each(|line| drop(machine.must(line)));
    machine
}

/// A machine that holds the network beside what is somebody else's.
fn machine() -> impl Strategy<Value = Machine> {
    network().prop_map(|before| {
        let machine = Machine::of(installed());
        let backend = &mut machine.backend(&before.name);
        converge(backend, &before, &|| false)
            .unwrap_or_else(|failure| panic!("{failure:?}\n{:#?}", machine.log));
        machine.copied()
    })
}

fn fails(failure: impl std::fmt::Debug, machine: &Machine) -> TestCaseError {
    TestCaseError::fail(format!("{failure:#?}\n{:#?}", machine.log.borrow()))
}

fn observed(machine: &Machine, network: &Network) -> Network {
    machine.backend(&network.name).observe().unwrap()
}

/// What is not of the network, as it is.
fn foreign(machine: &Machine) -> Simulator {
    let mut all = machine.simulator.borrow().clone();
    all.interfaces.retain(|found| !found.description.starts_with("rdom:"));
    for card in all.interfaces.iter_mut().filter(|found| found.name == "em0") {
        card.addresses.retain(|own| *own == "192.0.2.10/24".parse().unwrap());
    }
    for table in all.rtables.values_mut() {
        table.routes.retain(|route| route.label.as_deref() != Some("rdom:laws"));
    }
    // Tables are never deleted.
    all.rtables.retain(|_, table| !table.routes.is_empty());
    all.normal()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_leads_where_it_should_and_a_second_one_is_empty(machine in machine(), desired in network()) {
        converge(&mut machine.backend(&desired.name), &desired, &|| false).map_err(|failure| fails(failure, &machine))?;
        prop_assert_eq!(plan(&desired, &observed(&machine, &desired)), vec![]);
    }

    #[test]
    fn stopped_at_any_command_everything_is_as_before(before in machine(), desired in network()) {
        let whole = before.copied();
        converge(&mut whole.backend(&desired.name), &desired, &|| false).map_err(|failure| fails(failure, &whole))?;
        let wanted = observed(&before, &desired);
        for command in 0..whole.log.borrow().len() {
            let machine = before.copied().failing_at(command);
            let failure = converge(&mut machine.backend(&desired.name), &desired, &|| false).expect_err("told to fail");
            prop_assert_eq!(plan(&wanted, &observed(&machine, &desired)), vec![], "{:#?}\n{:#?}", failure, machine.log.borrow());
            prop_assert_eq!(foreign(&machine), foreign(&before));
        }
    }

    #[test]
    fn taken_down_nothing_is_left_and_nothing_of_others_is_touched(machine in machine()) {
        let before = foreign(&machine);
        prop_assert_eq!(&before, &foreign(&Machine::of(installed())));
        converge(&mut machine.backend(&bare().name), &bare(), &|| false).map_err(|failure| fails(failure, &machine))?;
        let left = machine.simulator.borrow().interfaces.iter().filter(|found| found.description.starts_with("rdom:")).count();
        prop_assert_eq!(left, 0);
        prop_assert_eq!(foreign(&machine), before);
    }

    #[test]
    fn what_cannot_be_read_back_is_no_difference(machine in machine(), desired in network()) {
        converge(&mut machine.backend(&desired.name), &desired, &|| false).map_err(|failure| fails(failure, &machine))?;
        for found in &mut machine.simulator.borrow_mut().interfaces {
            for peer in found.tunnel.iter_mut().flat_map(|tunnel| &mut tunnel.peers) {
                // It roamed.
                peer.endpoint = peer.endpoint.map(|_| "203.0.113.9:9".parse().unwrap());
            }
        }
        prop_assert_eq!(plan(&desired, &observed(&machine, &desired)), vec![]);
    }
}
