//! The same file, the same verbs and the same assertions under every isolation: examples, of which nothing but the
//! isolation is changed, are tested by `rdom test`. The default one is not among them: all examples are tested with it.
//!
//! In the guest each file takes seconds, so a few are tested that have an idea of their own each. `RDOM_EXAMPLES=all`
//! tests every one.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

mod capability;
use capability::lacks;

/// Kinds on other domains, rtables and rules, underlays.
const IN_NAMESPACES: [&str; 3] = ["kinds", "rtables", "transit"];
/// Addresses on `lo` and routes that lead nowhere, forwarding and a hub of tunnels, underlays.
const IN_VRFS: [&str; 3] = ["unwanted-traffic", "hub-and-spoke", "transit"];
/// What a VRF alone cannot give, and what is said of it.
const NOT_IN_VRFS: [(&str, &str); 4] = [
    ("kinds", "vxlan 42 is twice in one namespace"),
    ("multipath", "domain client has no sysctl `net.ipv4.fib_multipath_hash_policy` of its own"),
    ("physical", "cannot be lent to domain"),
    ("rtables", "this rule of domain office would be about packets of the default domain too"),
];
/// What is about one isolation, what goes on with a second file, which is not changed here, and what cannot tell one
/// domain's interfaces from another's: routing daemons see them all where they are in one namespace.
const NOT_EVERYWHERE: [&str; 5] = ["bgp", "frr", "ospf", "renumbering", "vrf"];

/// Every example that is to hold under each isolation.
fn examples() -> Vec<String> {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let files = directory.read_dir().unwrap().flatten().map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let mut names: Vec<String> =
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    names.retain(|name| !NOT_EVERYWHERE.contains(&name.as_str()));
    names.sort();
    names
}

/// These, or every example if that is asked for.
fn chosen(few: [&str; 3]) -> Vec<String> {
    match env::var("RDOM_EXAMPLES").as_deref() {
        Ok("all") => examples(),
        _ => few.map(str::to_owned).into(),
    }
}

/// What `rdom` says of these examples, with this isolation for all of their domains.
fn rdom(verb: &str, isolation: &str, names: &[String]) -> Output {
    let examples = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let directory = tempfile::tempdir().unwrap();
    for file in examples.read_dir().unwrap().flatten().filter(|file| file.path().is_file()) {
        fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdom"));
    command.arg(verb).current_dir(directory.path());
    if verb == "test" {
        command.args(["--substitute", "dummy"]);
    }
    for name in names {
        let file = directory.path().join(name).with_extension("yaml");
        let text = fs::read_to_string(&file).unwrap();
        let said = format!("defaults: {{isolation: {isolation}");
        let text = match text.contains("\ndefaults: {") {
            true => text.replacen("\ndefaults: {", &format!("\n{said}, "), 1),
            false => format!("{said}}}\n{text}"),
        };
        fs::write(&file, text).unwrap();
        command.arg(file.file_name().unwrap());
    }
    command.output().unwrap()
}

fn hold(isolation: &str, names: &[String]) {
    let output = rdom("test", isolation, names);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{isolation}: {all}");
    assert!(said.contains(&format!(" in {} file", names.len())) && said.contains(" 0 failed"), "{all}");
}

fn cannot(needed: &[&str]) -> bool {
    needed.iter().any(|capability| lacks(capability))
}

#[test]
fn examples_hold_in_namespaces_without_a_vrf() {
    // Where the kernel has no VRF this is the default.
    if cannot(&["vrf", "wireguard", "userns", "veth", "vlan", "dummy", "netem"]) {
        return;
    }
    hold("netns", &chosen(IN_NAMESPACES));
}

#[test]
fn examples_hold_in_vrfs_without_a_namespace() {
    if cannot(&["vrf", "wireguard", "veth", "bridge", "netem"]) || !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut names = chosen(IN_VRFS);
    names.retain(|name| !NOT_IN_VRFS.iter().any(|(other, _)| other == name));
    hold("vrf", &names);
}

/// What a VRF alone cannot give is told with its place before anything is tried, and all else is no mistake.
#[test]
fn what_a_vrf_alone_cannot_give_is_said_and_nothing_else_is_refused() {
    for name in examples() {
        let output = rdom("check", "vrf", std::slice::from_ref(&name));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let refused = NOT_IN_VRFS.iter().find(|(other, _)| *other == name).map(|(_, why)| why);
        assert_eq!(output.status.code(), Some(if refused.is_some() { 2 } else { 0 }), "{name}: {said}");
        let Some(why) = refused else { continue };
        let mut errors = said.lines().filter(|line| line.starts_with("error: "));
        assert!(errors.all(|error| error.contains(why)), "{name}: {said}");
        let tested = rdom("test", "vrf", &[name]);
        assert_eq!(tested.status.code(), Some(2));
    }
}
