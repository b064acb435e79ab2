//! Codecs: steps as command lines, outputs as networks.

use std::path::Path;

use super::*;
use crate::model::Bindings;
use crate::plan::plan;

fn commands_of(yaml: &str, observed: Network) -> String {
    let lowered = lowered(yaml);
    let steps = plan(&bound(&lowered, &Bindings::default()), &observed);
    let mut renderer = Renderer::new(observed);
    let commands: Vec<Command> = steps.iter().flat_map(|step| renderer.commands(step).unwrap()).collect();
    script(&commands, &SecretFiles::default())
}

/// Tests read files as a user would write them.
fn lowered(yaml: &str) -> Network {
    let source = crate::spec::Source::new(Path::new("t.yaml"), yaml.to_owned());
    crate::spec::read(&source).unwrap_or_else(|errors| panic!("{errors}")).network
}

fn empty() -> Network {
    Network::empty(NetworkName::new("t").unwrap())
}

#[test]
fn a_link_is_made_end_by_end_and_patched() {
    let yaml = "domains:\n  1: {lo: {addresses: []}}\n  2: {lo: {addresses: []}}\nlinks: [{ends: [1/pair1, 2/pair2]}]\n";
    assert_eq!(
        commands_of(yaml, empty()),
        "\
ifconfig lo1 create description rdom:t/rdom1 rdomain 1
ifconfig lo2 create description rdom:t/rdom2 rdomain 2
ifconfig pair1 create description rdom:t rdomain 1
ifconfig pair2 create description rdom:t rdomain 2
ifconfig pair1 patch pair2
ifconfig pair1 up
ifconfig pair2 up
"
    );
}
