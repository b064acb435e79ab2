//! The plan of `domains.yaml` and of every example from an empty host, step by step, as `rdom plan` prints it; and
//! that a failure at any of its steps is taken back.
//!
//! What is expected lies in `integration/golden/NAME.plan`; `UPDATE_GOLDEN=1 cargo test --test golden` writes it anew.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use rdomain::backend::recorded::Recorded;
use rdomain::model::{
    Bindings, Capabilities, DomainId, End, Fingerprint, Interface, Kind, Network, PublicKey,
};
use rdomain::plan::{bind, plan};
use rdomain::spec::{self, Lowered, Source};
use rdomain::transaction::converge;

#[test]
fn plans_are_as_expected() {
    let files = files();
    assert!(files.len() > 5, "{files:?}");
    let wrong: Vec<String> = files.iter().filter_map(|file| difference(file)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        examples.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.push(root.join("domains.yaml"));
    files.sort();
    files
}

fn difference(file: &Path) -> Option<String> {
    let name = file.file_stem().unwrap().to_string_lossy();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("integration/golden/{name}.plan"));
    let seen = planned(file);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &seen).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    (seen != expected).then(|| format!("{}:\n{seen}", golden.display()))
}

fn planned(file: &Path) -> String {
    let desired = desired(file);
    let steps = plan(&desired, &host_of(&desired));
    steps.iter().map(|step| format!("{step}\n")).collect()
}

fn desired(file: &Path) -> Network {
    let text = fs::read_to_string(file).unwrap();
    let lowered = spec::read(&Source::new(file, text)).unwrap_or_else(|errors| panic!("{errors}"));
    bind(&lowered.network, &bindings(&lowered), &Capabilities::PLAIN)
}

/// A host that has the cards that the network lends, and nothing else.
fn host_of(desired: &Network) -> Network {
    let mut host = Network::empty(desired.name.clone());
    let cards = desired.interfaces().filter_map(|(_, interface)| match &interface.kind {
        Kind::Physical { home } => Some((home.clone(), Interface::new(Kind::Existing))),
        _ => None,
    });
    host.domains.entry(DomainId::DEFAULT).and_modify(|inside| inside.interfaces.extend(cards));
    host
}

/// Up and down again, and a failure at each step of both, on the kernel in memory.
#[test]
fn stopped_at_any_step_of_any_file_everything_is_as_before() {
    for file in files() {
        let desired = desired(&file);
        let nothing = Network::empty(desired.name.clone());
        let mut kernel = Recorded::holding(host_of(&desired));
        stopped_anywhere(&kernel, &desired, &file);
        converge(&mut kernel, &desired, &|| false).unwrap_or_else(|failure| panic!("{file:?}: {failure}"));
        let kernel = Recorded::holding(kernel.network().clone());
        stopped_anywhere(&kernel, &nothing, &file);
    }
}

fn stopped_anywhere(kernel: &Recorded, desired: &Network, file: &Path) {
    let before = kernel.network();
    let steps = plan(desired, before);
    assert!(!steps.is_empty(), "{file:?}");
    for (number, step) in steps.iter().enumerate() {
        let mut kernel = kernel.clone().failing_at(number);
        converge(&mut kernel, desired, &|| false).expect_err("told to fail");
        assert_eq!(kernel.network(), before, "{file:?}: step {number}, {step}");
    }
}

/// Keys and ports that are the same in every run: the third of three tunnels has key 3 and port 50003.
fn bindings(lowered: &Lowered) -> Bindings {
    let ends: Vec<End> = lowered.network.tunnels().map(|(at, _)| at).collect();
    let numbered = || ends.iter().cloned().zip(1..);
    let names = lowered.secrets.keys().cloned();
    Bindings {
        public_keys: numbered().map(|(at, number)| (at, PublicKey([number; 32]))).collect(),
        ports: numbered().map(|(at, number)| (at, 50000 + u16::from(number))).collect::<BTreeMap<_, _>>(),
        fingerprints: names.zip(1..).map(|(name, number)| (name, Fingerprint([number; 8]))).collect(),
    }
}
