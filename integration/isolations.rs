//! The same file, the same verbs and the same assertions under every isolation: examples, of which nothing but the
//! isolation is changed, are tested by `rdom test`. The default one is not among them: all examples are tested with it.
//!
//! In a VRF alone domains share names of interfaces with each other, so there each interface is called by its domain.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

mod capability;
use capability::lacks;

/// Each with an idea of its own: kinds on other domains, rtables and rules, underlays.
const IN_NAMESPACES: [&str; 3] = ["kinds", "rtables", "transit"];
/// Those that ask for nothing that a VRF alone cannot give: two families, a switch, underlays.
const IN_VRFS: [&str; 3] = ["dual-stack", "switch", "transit"];
/// Names of interfaces that several domains of an example have.
const SHARED: [&str; 5] = ["eth0", "lan0", "line", "t0", "wg0"];

fn example(name: &str) -> String {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    fs::read_to_string(directory.join(name).with_extension("yaml")).unwrap()
}

/// The example with names that are each other's in no domain. A word belongs to the domain before its slash, of the line
/// (`{in: blue, `), or of the block that it stands in.
fn with_names_of_their_own(text: &str) -> String {
    let mut numbers = BTreeMap::new();
    let mut block = String::new();
    let mut written = String::new();
    for line in text.lines() {
        if let Some((key, _)) = line.strip_prefix("  ").and_then(|line| line.split_once(':'))
            && key.chars().all(is_of_a_word)
        {
            key.clone_into(&mut block);
        }
        let named = line.split_once("{in: ").and_then(|(_, rest)| rest.split_once(','));
        let mut before = named.map_or(block.as_str(), |(domain, _)| domain);
        let owner = before;
        for piece in line.split_inclusive(|letter| !is_of_a_word(letter)) {
            let word = piece.trim_end_matches(|letter| !is_of_a_word(letter));
            let (word, rest) = piece.split_at(word.len());
            written.push_str(word);
            if SHARED.contains(&word) {
                let owner = if written.trim_end_matches(word).ends_with('/') { before } else { owner };
                let next = numbers.len();
                let number = *numbers.entry(owner.to_owned()).or_insert(next);
                written.push_str(&format!("-{number}"));
            }
            written.push_str(rest);
            before = word;
        }
        written.push('\n');
    }
    written
}

fn is_of_a_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-'
}

/// What `rdom test` says of these texts, with this isolation for all of their domains.
fn tested(isolation: &str, texts: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdom"));
    command.arg("test");
    for (name, text) in texts {
        let file = directory.path().join(name).with_extension("yaml");
        fs::write(&file, format!("defaults: {{isolation: {isolation}}}\n{text}")).unwrap();
        command.arg(file);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{isolation}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn cannot(needed: &[&str]) -> bool {
    needed.iter().any(|capability| lacks(capability))
}

#[test]
fn examples_hold_in_namespaces_without_a_vrf() {
    // Where the kernel has no VRF this is the default.
    if cannot(&["vrf", "wireguard", "userns", "veth", "vlan", "dummy"]) {
        return;
    }
    let said = tested("netns", IN_NAMESPACES.map(|name| (name, example(name))));
    assert!(said.contains(" in 3 files: ") && said.contains(" 0 failed"), "{said}");
}

#[test]
fn examples_hold_in_vrfs_without_a_namespace() {
    if cannot(&["vrf", "wireguard", "veth", "bridge"]) || !nix::unistd::geteuid().is_root() {
        return;
    }
    let said = tested("vrf", IN_VRFS.map(|name| (name, with_names_of_their_own(&example(name)))));
    assert!(said.contains(" in 3 files: ") && said.contains(" 0 failed"), "{said}");
}

/// What a VRF alone cannot give is told with its place before anything is tried.
#[test]
fn what_a_vrf_alone_cannot_give_is_no_failed_test() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("chain.yaml");
    let text = with_names_of_their_own(&example("router-chain"));
    fs::write(&file, format!("defaults: {{isolation: vrf}}\n{text}")).unwrap();
    for verb in ["check", "test"] {
        let output = Command::new(env!("CARGO_BIN_EXE_rdom")).arg(verb).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
        assert!(said.contains("has no sysctl `net.ipv4.ip_forward` of its own"), "{verb}: {said}");
        assert!(
            said.contains("help: give the domain a namespace: `isolation: netns+vrf` or `netns`"),
            "{verb}: {said}"
        );
    }
}
