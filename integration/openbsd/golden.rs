//! The plan of the demo for an OpenBSD, beside the manual page's own script.
//!
//! What is expected lies in `integration/golden/*.openbsd`; `UPDATE_GOLDEN=1 cargo test --test openbsd` writes it anew.

use std::env;
use std::fs;
use std::path::Path;

use rdomain::backend::openbsd::{Command, Renderer, SecretFiles, bound, limits, script};
use rdomain::model::{Bindings, Network};
use rdomain::plan::plan;
use rdomain::spec::{self, Source};
use rdomain::state::Secret;
use rdomain::transaction::converge;

use super::machine::{Machine, private_key};
use super::simulator::Simulator;

/// The script of wg(4), unchanged.
pub(crate) const MANUAL: &str = include_str!("manual.sh");

/// Its lines but comments.
fn manual() -> impl Iterator<Item = &'static str> {
    MANUAL.lines().filter(|line| !line.starts_with('#'))
}

pub(crate) fn file(name: &str) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let text = fs::read_to_string(&path).unwrap();
    spec::read(&Source::new(&path, text)).unwrap_or_else(|errors| panic!("{errors}")).network
}

fn planned(network: &Network) -> String {
    assert_eq!(limits(network).iter().filter(|limit| !limit.optional).count(), 0, "{:?}", limits(network));
    let bare = Network::empty(network.name.clone());
    let steps = plan(&bound(network, &Bindings::default()), &bare);
    let mut renderer = Renderer::new(bare);
    let commands: Vec<Command> = steps.iter().flat_map(|step| renderer.commands(step).unwrap()).collect();
    script(&commands, &SecretFiles::default())
}

#[test]
fn plans_are_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for name in ["domains.yaml", "examples/openbsd.yaml"] {
        let stem = Path::new(name).file_stem().unwrap().to_string_lossy().into_owned();
        let golden = root.join(format!("integration/golden/{stem}.openbsd"));
        let seen = planned(&file(name));
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &seen).unwrap();
        }
        if seen != fs::read_to_string(&golden).unwrap_or_default() {
            wrong.push(format!("{}:\n{seen}", golden.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same lines, but for marks, the names of variables and `inet`, which may be left out; loopbacks come on top.
#[test]
fn the_demos_plan_is_the_manual_pages_script() {
    let plain = |line: &str| {
        let line = line.replace("PUB_wg", "PUB").replace(" description rdom:domains", "");
        line.replace(" inet ", " ")
    };
    let planned = planned(&file("domains.yaml"));
    let mut ours: Vec<String> =
        planned.lines().filter(|line| !line.starts_with("ifconfig lo")).map(plain).collect();
    let mut manual: Vec<String> = manual().map(str::to_owned).collect();
    ours.sort();
    manual.sort();
    assert_eq!(ours, manual);
}

/// And they leave the same tunnels behind.
#[test]
fn both_leave_the_same_behind() {
    let network = file("domains.yaml");
    let ends: Vec<_> = network.tunnels().map(|(at, _)| at).collect();
    let secrets: Vec<Secret> = vec![private_key(1), private_key(2)];
    let public = || secrets.iter().map(Secret::public_key);
    let bindings = Bindings { public_keys: ends.into_iter().zip(public()).collect(), ..Bindings::default() };
    let ours = Machine::of(Simulator::new());
    converge(&mut ours.backend(&network.name), &bound(&network, &bindings), &|| false).unwrap();

    let mut theirs = Simulator::new();
    let base64 = |secret: &Secret| rdomain::model::PublicKey(*secret.bytes()).to_string();
    let mut keys = secrets.iter().map(base64);
    for line in manual().filter(|line| !line.starts_with("PUB")) {
        let mut line = line.to_owned();
        if line.contains('`') {
            line = line.replace("`openssl rand -base64 32`", &keys.next().unwrap());
        }
        for (number, key) in public().enumerate() {
            line = line.replace(&format!("$PUB{}", number + 1), &key.to_string());
        }
        theirs.must(&line);
    }

    let ours = ours.simulator.borrow().clone();
    for name in ["wg1", "wg2"] {
        let (ours, theirs) = (ours.interface(name).unwrap(), theirs.interface(name).unwrap());
        assert_eq!((&ours.tunnel, &ours.addresses), (&theirs.tunnel, &theirs.addresses));
        assert_eq!((ours.rdomain, ours.up, ours.mtu), (theirs.rdomain, theirs.up, theirs.mtu));
    }
    assert_eq!(ours.rtables, theirs.rtables);
    assert!(
        theirs.interface("lo1").unwrap().addresses.is_empty(),
        "what the manual page's script leaves bare"
    );
}
