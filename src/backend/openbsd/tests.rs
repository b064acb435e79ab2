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

/// Lines that are there, in this order.
fn assert_lines(commands: &str, lines: &[&str]) {
    let found: Vec<&str> = commands.lines().filter(|line| lines.contains(line)).collect();
    assert_eq!(found, lines, "{commands}");
}

#[test]
fn a_vlan_is_made_on_its_parent_and_goes_before_it() {
    let yaml = "domains:\n  1: {interfaces: {vether1: {dummy: {}}}}\n  2: {interfaces: {vlan7: {vlan: {parent: 1/vether1, id: 7}}}}\n";
    let create = "ifconfig vlan7 create description rdom:t parent vether1 vnetid 7 rdomain 2";
    let parent = "ifconfig vether1 create description rdom:t rdomain 1";
    assert_lines(&commands_of(yaml, empty()), &[parent, create]);
    let there = bound(&lowered(yaml), &Bindings::default());
    let without = "domains: {1: {}, 2: {}}\n";
    assert_lines(&commands_of(without, there), &["ifconfig vlan7 destroy", "ifconfig vether1 destroy"]);
}

/// A card of which no output was captured is there all the same, once ifconfig(8) has shown it.
#[test]
fn a_vlan_on_a_card_has_its_first_address_set() {
    let yaml =
        "domains: {1: {interfaces: {vlan7: {vlan: {parent: 0/em0, id: 7}, addresses: [10.7.0.1/24]}}}}\n";
    assert_lines(&commands_of(yaml, empty()), &["ifconfig em0", "ifconfig vlan7 inet 10.7.0.1/24"]);
    assert!(!commands_of(yaml, empty()).contains("vlan7 up"));
}

#[test]
fn each_way_of_a_route_is_a_command() {
    let yaml = "domains: {1: {interfaces: {vether1: {dummy: {}, addresses: [10.0.0.1/24]}}, routes: [{to: 10.9.0.0/16, nexthops: [{via: 10.0.0.3}, {via: 10.0.0.2}]}]}}\n";
    let way = |via: &str| format!("route -T1 -n add -mpath -label rdom:t 10.9.0.0/16 {via}");
    assert_lines(&commands_of(yaml, empty()), &[&way("10.0.0.2"), &way("10.0.0.3")]);
    let there = bound(&lowered(yaml), &Bindings::default());
    let another = yaml.replace("10.0.0.2}", "10.0.0.4}");
    let delete = |via: &str| format!("route -T1 -n delete 10.9.0.0/16 {via}");
    let lines = [delete("10.0.0.2"), delete("10.0.0.3"), way("10.0.0.3"), way("10.0.0.4")];
    assert_lines(&commands_of(&another, there), &lines.each_ref().map(String::as_str));
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
