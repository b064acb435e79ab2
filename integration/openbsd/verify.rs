//! `scripts/openbsd-verify` on stand-ins for the tools that ask the simulator. That shows two things: its own logic is
//! sound, and the simulator has every property that it asks for. What an OpenBSD does it does not show.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::programs::{Programs, put};
use super::simulator::Simulator;

/// The real perl(1), whose ioctl(2) is told to the simulator: name and bytes.
const PERL: &str = r#"#!/bin/sh
here=$(dirname "$0")
told=$(/usr/bin/perl -I"$here" -MRequest "$@") || exit 1
set -- $told
/usr/bin/perl -e 'print pack "H*", shift' "$2" >"$here/../bytes"
"$here/siocswg" "$1" <"$here/../bytes"
"#;

/// Tells what it is asked for instead of asking.
const REQUEST: &str = r#"package Request;
*CORE::GLOBAL::ioctl = sub (*$$) {
    my (undef, $number, $request) = @_;
    $number == 0xc02069d2 && length $request == 32 or die "ioctl $number\n";
    my ($name, $size, $place) = unpack "Z16 Q Q", $request;
    print "$name ", unpack("H*", unpack "P$size", pack "Q", $place), "\n";
};
1;
"#;

/// Runs the script against this machine; what the machine is afterwards.
fn verify(machine: Simulator, words: &[&str]) -> (Output, Simulator, String) {
    let programs = Programs::of(machine);
    let (bin, directory) = (programs.bin(), programs.path().to_owned());
    put(&bin.join("uname"), "#!/bin/sh\necho OpenBSD-simulator\n");
    put(&bin.join("perl"), PERL);
    fs::write(bin.join("Request.pm"), REQUEST).unwrap();
    put(&bin.join("id"), "#!/bin/sh\necho 0\n");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/openbsd-verify");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    let output = command.arg(script).args(words).env("PATH", path).current_dir(&directory).output().unwrap();
    let report = fs::read_to_string(directory.join("openbsd-verify.txt")).unwrap_or_default();
    let observed = directory.join("captured");
    let captured =
        if observed.exists() { fs::read_to_string(observed.join("route-T1")).unwrap() } else { report };
    (output, programs.end(), captured)
}

/// The numbers of properties that the simulator says it has: `; 31 pair and patch;`.
fn listed() -> BTreeSet<u8> {
    let text = include_str!("simulator.rs").lines().take_while(|line| line.starts_with("//!"));
    let text: String = text.map(|line| format!("{} ", line.trim_start_matches("//!").trim())).collect();
    let (_, list) = text.split_once("It has: ").expect("a list");
    let (list, _) = list.split_once(". ").expect("its end");
    list.split(';').map(|one| one.trim().split(' ').next().unwrap().parse().unwrap()).collect()
}

/// What resolves names on somebody's machine cannot be known beforehand.
const NOT_ASKED: [u8; 1] = [47];

#[test]
fn the_list_of_properties_is_the_simulators_own() {
    let (_, _, report) = verify(Simulator::new(), &[]);
    let asked = report.lines().filter_map(|line| line.strip_prefix("PASS ")?.split_once(':')?.0.parse().ok());
    let asked: BTreeSet<u8> = asked.chain(NOT_ASKED).collect();
    assert_eq!(asked, listed());
}

#[test]
fn every_property_holds_of_the_simulator_and_nothing_is_left() {
    let before = Simulator::new();
    let (output, after, report) = verify(before.clone(), &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}{}\n{report}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(" hold, 0 do not: openbsd-verify.txt"), "{said}");
    assert!(report.lines().filter(|line| line.starts_with("PASS ")).count() > 90, "{report}");
    assert_eq!(after.interfaces.len(), before.interfaces.len());
    assert!(after.rtables.values().all(|table| table.rdomain == 0 && table.routes.is_empty()));
}

#[test]
fn what_does_not_hold_is_told() {
    let mut machine = Simulator::new();
    // An rtable that is there already is no rtable that is missing.
    machine.must("route -T206 -n add 10.0.0.0/8 192.0.2.1");
    let (output, _, report) = verify(machine, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL 6: route -T206 -n show: status 0"), "{said}");
    assert!(report.contains("FAIL 6: route -T206 -n show (status 0)\n    | Routing tables"), "{report}");
}

#[test]
fn what_is_somebody_elses_is_not_touched() {
    let mut machine = Simulator::new();
    machine.must("ifconfig wg201 create wgport 1");
    let before = machine.clone();
    let (output, after, _) = verify(machine, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("wg201 is there already"));
    assert_eq!(after, before);
}

#[test]
fn a_capture_has_what_a_plan_begins_with() {
    let mut machine = Simulator::new();
    machine.must("ifconfig vether1 rdomain 1 10.0.0.1/24");
    let (output, _, captured) = verify(machine, &["capture", "captured"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(captured.contains("10.0.0/24"), "{captured}");
}
