//! A failure at every step, on the real kernel: all is as it was before, in the eyes of others.
//!
//! A step fails before it takes effect, or after; the transaction takes back what was done. What is compared is what
//! ip(8), ss(8), wg(8), find(1) and /proc/sys say of every namespace, and not what this program says of itself.
//! From an empty machine, and from an older version of the same network that stays up.

mod capability;
#[expect(dead_code, reason = "whose copy it is makes no difference here")]
mod copy;
#[path = "failures/sight.rs"]
mod sight;

use std::fs;
use std::path::Path;

use rdomain::backend::linux::Linux;
use rdomain::backend::{Backend, BackendError};
use rdomain::model::Network;
use rdomain::plan::{Step, bind, plan};
use rdomain::probe;
use rdomain::spec::{self, Source};
use rdomain::state::{Directories, KeyRing, Missing, Roots, Store};
use rdomain::supervisor::Hosted;
use rdomain::transaction::{Failure, Restored, converge};

use copy::{in_private_copies, in_roots_copy};
use sight::Sight;

const DEMO: &str = include_str!("../domains.yaml");
const LARGE: &str = include_str!("failures/large.yaml");

#[test]
fn the_demo_fails_at_every_step() {
    in_private_copies("the_demo_fails_at_every_step", || {
        let older = DEMO
            .replace("listen_port: 7111", "listen_port: 7112")
            .replace("192.168.5.1/24", "192.168.5.3/24")
            .replace(
                "allowed_ips: [192.168.5.1/32]",
                "allowed_ips: [192.168.5.3/32], persistent_keepalive: 9",
            );
        fails_at_every_step(DEMO, &older);
    });
}

#[test]
fn a_large_network_fails_at_every_step() {
    in_roots_copy("a_large_network_fails_at_every_step", || {
        let older = LARGE
            .replace("  spare: {rdomain: 5}\n", "")
            .replace("rdomain: 4", "rdomain: 14")
            .replace("10.9.0.0/16, type: blackhole", "10.8.0.0/16, type: unreachable")
            .replace("metric: 5", "metric: 6")
            .replace("listen_port: 7301", "listen_port: 7302")
            .replace("net.ipv4.ip_forward: 1", "net.ipv4.conf.all.rp_filter: 2")
            .replace("priority: 100", "priority: 200")
            .replace("ports: [port1, port2]", "ports: [port1]")
            .replace("rate: 100mbit", "rate: 50mbit");
        fails_at_every_step(LARGE, &older);
    });
}

/// When a step fails.
#[derive(Clone, Copy, Debug)]
enum When {
    /// Nothing of it has been done.
    Before,
    /// All of it has been done.
    After,
}

/// A kernel that fails once, at the step that comes after so many.
struct Failing<'k> {
    kernel: &'k mut Linux,
    left: usize,
    when: When,
    has_failed: bool,
}

impl Backend for Failing<'_> {
    fn observe(&mut self) -> Result<Network, BackendError> {
        self.kernel.observe()
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        let fails = !self.has_failed && self.left == 0;
        self.has_failed |= fails;
        self.left = self.left.saturating_sub(1);
        match (fails, self.when) {
            (false, _) => self.kernel.apply(step),
            (true, When::Before) => Err(BackendError::new("told to fail")),
            (true, When::After) => {
                self.kernel.apply(step)?;
                Err(BackendError::new("told to fail"))
            }
        }
    }
}

fn fails_at_every_step(file: &str, older: &str) {
    let mut kernel = kernel();
    let (before, wanted) = (prepared(&mut kernel, older), prepared(&mut kernel, file));
    let nothing = Network::empty(wanted.name.clone());
    let from_nothing = is_restored(&mut kernel, &nothing, &wanted);
    converge(&mut kernel, &before, &|| false).unwrap_or_else(|failure| panic!("{}", told(&failure)));
    let from_older = is_restored(&mut kernel, &before, &wanted);
    let down = is_restored(&mut kernel, &before, &nothing);
    println!("{from_nothing} steps from nothing, {from_older} from the older version, {down} to nothing");
    assert!(from_nothing > 10 && from_older > 3 && down > 1);
    converge(&mut kernel, &wanted, &|| false).unwrap_or_else(|failure| panic!("{}", told(&failure)));
}

/// Fails at each step on the way; the number of steps.
fn is_restored(kernel: &mut Linux, before: &Network, wanted: &Network) -> usize {
    kernel.tidy().expect("tidy");
    let seen = Sight::now();
    let observed = kernel.observe().expect("a look");
    let steps = plan(wanted, &observed);
    for (number, step) in steps.iter().enumerate() {
        for when in [When::Before, When::After] {
            let mut failing = Failing { kernel, left: number, when, has_failed: false };
            let failure = converge(&mut failing, wanted, &|| false).expect_err("told to fail");
            assert!(
                matches!(failure.restored, Restored::Untouched | Restored::Completely(_)),
                "step {number}, {step}, {when:?}: {}",
                told(&failure)
            );
            kernel.tidy().expect("tidy");
            seen.is_all_there_is(&format!("step {number}, {step}, fails {when:?}"));
            let left = plan(before, &kernel.observe().expect("a look"));
            assert!(left.is_empty(), "{left:?}");
        }
    }
    steps.len()
}

fn told(failure: &Failure) -> String {
    format!("{failure}: {}", failure.cause)
}

fn directories(file: &Source) -> Directories {
    Roots { state: "/run/state".into(), runtime: "/run/rdom".into() }.of(&file.network)
}

fn kernel() -> Linux {
    let source = Source::new(Path::new("domains.yaml"), String::new());
    let directories = directories(&source);
    Linux::open(source.network, &directories, KeyRing::default(), Box::<Hosted>::default())
        .expect("the kernel")
}

/// The network of a file, its keys learnt.
fn prepared(kernel: &mut Linux, text: &str) -> Network {
    fs::write("domains.yaml", text).expect("domains.yaml");
    let source = Source::new(Path::new("domains.yaml"), text.to_owned());
    let lowered = spec::read(&source).unwrap_or_else(|errors| panic!("{errors}"));
    let store = Store::of(&directories(&source));
    let stored = store.bindings(&lowered.network, &lowered.secrets, Missing::Generate).expect("keys");
    kernel.learn(stored.keys);
    bind(&lowered.network, &stored.bindings, &probe::capabilities())
}
