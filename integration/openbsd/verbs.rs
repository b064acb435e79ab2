//! `rdom` itself, on this system, about an OpenBSD.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rdomain::backend::openbsd::bound;
use rdomain::model::{Bindings, End};
use rdomain::transaction::converge;

use super::golden::file;
use super::machine::{Machine, private_key};
use super::simulator::Simulator;

fn rdom(directory: &Path, words: &[&str]) -> Output {
    let state = directory.join("state");
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdom"));
    command.args(words).env("RDOM_STATE_DIR", state).env("NO_COLOR", "1");
    command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_plan_needs_no_openbsd() {
    let directory = tempfile::tempdir().unwrap();
    let planned = rdom(directory.path(), &["plan", "--backend", "openbsd"]);
    assert_eq!(planned.status.code(), Some(3), "{}", err(&planned));
    assert_eq!(out(&planned), fs::read_to_string("integration/golden/domains.openbsd").unwrap());
    let files = out(&rdom(directory.path(), &["plan", "--backend", "openbsd", "--format", "hostname.if"]));
    let wg2 = "\
# /etc/hostname.wg2
description rdom:domains wgport 7222 wgkey <private key of 2/wg2> rdomain 2
inet 192.168.5.2 255.255.255.0
wgpeer <public key of 1/wg1> wgendpoint 127.0.0.1 7111 wgaip 192.168.5.1/32

";
    assert!(files.ends_with(wg2), "{files}");
    let json = out(&rdom(directory.path(), &["plan", "--backend", "openbsd", "--json"]));
    assert!(json.contains("\"kind\": \"create_domain\""), "{json}");
    assert!(!directory.path().join("state").exists(), "a plan makes no keys");
}

/// What a host printed, of which nothing is remembered here.
#[test]
fn a_plan_begins_with_what_was_observed() {
    let directory = tempfile::tempdir().unwrap();
    let network = file("domains.yaml");
    let ends: Vec<End> = network.tunnels().map(|(at, _)| at).collect();
    let keys = directory.path().join("state/domains/keys");
    fs::create_dir_all(&keys).unwrap();
    let mut bindings = Bindings::default();
    for (at, number) in ends.iter().zip(1..) {
        let secret = private_key(number);
        let text = rdomain::model::PublicKey(*secret.bytes()).to_string();
        fs::write(keys.join(format!("{}-{}", at.domain, at.interface)), text).unwrap();
        bindings.public_keys.insert(at.clone(), secret.public_key());
    }
    let machine = Machine::of(Simulator::new());
    converge(&mut machine.backend(&network.name), &bound(&network, &bindings), &|| false).unwrap();
    let observed = directory.path().to_str().unwrap();
    let capture = || {
        for (name, line) in [
            ("ifconfig-A", "ifconfig -A"),
            ("netstat-R", "netstat -R"),
            ("route-T0", "route -T0 -nv show"),
            ("route-T1", "route -T1 -nv show"),
            ("route-T2", "route -T2 -nv show"),
        ] {
            fs::write(directory.path().join(name), machine.simulator.borrow_mut().must(line)).unwrap();
        }
    };
    let words = ["plan", "--backend", "openbsd", "--observed", observed];

    capture();
    let nothing = rdom(directory.path(), &words);
    assert_eq!((nothing.status.code(), out(&nothing)), (Some(0), String::new()), "{}", err(&nothing));

    machine.simulator.borrow_mut().must("ifconfig wg2 destroy");
    machine.simulator.borrow_mut().must("ifconfig wg1 inet 192.168.5.9/24");
    capture();
    let planned = rdom(directory.path(), &words);
    let key = keys.join("2-wg2");
    let expected = format!(
        "\
ifconfig wg1 inet 192.168.5.9 delete
ifconfig wg2 create description rdom:domains wgport 7222 wgkey \"`cat {}`\" rdomain 2
ifconfig wg1 inet 192.168.5.1/24
ifconfig wg2 inet 192.168.5.2/24
ifconfig wg2 wgpeer {} wgendpoint 127.0.0.1 7111 wgaip 192.168.5.1/32
",
        key.display(),
        private_key(1).public_key()
    );
    assert_eq!(out(&planned), expected);
}

#[test]
fn a_check_says_what_each_system_cannot_do_and_where() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = directory.path().join("both.yaml");
    let text = "\
domains:
  300: {interfaces: {wg1: {wireguard: {listen_port: 1}}}}
  2:
    isolation: netns+vrf
    interfaces:
      wg1: {wireguard: {listen_port: 2}}
      wg2: {mtu: 1400, wireguard: {listen_port: 3, engine: userspace}}
      br0: {bridge: {ports: []}}
      vether0: {dummy: {}, addresses: [10.0.0.1/24]}
    sysctls: {net.ipv4.ip_forward: 1}
    rtables: {10: {routes: [{to: 10.9.0.0/16, dev: vether0}]}}
    routes: [{to: 10.8.0.0/16, via: 10.0.0.2, metric: 100}]
";
    fs::write(&yaml, text).unwrap();
    let checked = rdom(directory.path(), &["check", "--backend", "all", yaml.to_str().unwrap()]);
    let told = err(&checked);
    assert_eq!(checked.status.code(), Some(4), "{told}");
    for (place, what) in [
        ("2:3", "rdomain 300: too large"),
        ("3:3", "there is no isolation netns+vrf"),
        ("2:22", "wg1 is in domain 2 already"),
        ("7:7", "there is no userspace engine"),
        ("8:7", "bridge interfaces are not supported yet"),
        ("10:15", "sysctls are the whole machine's"),
        ("11:29", "rtable 10 would be the default domain's"),
        ("12:14", "not possible: a metric other than 9 to 63"),
    ] {
        let line =
            told.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}\n{told}"));
        let at = told.lines().nth(line + 1).unwrap_or_default();
        assert!(at.ends_with(&format!(":{place}")), "{what}: {at}\n{told}");
    }
    let said = out(&checked);
    assert!(said.contains("linux: can do all of it\nopenbsd: cannot do "), "{said}");
    let linux = rdom(directory.path(), &["check", "--backend", "linux", yaml.to_str().unwrap()]);
    assert_eq!(linux.status.code(), Some(0), "{}", err(&linux));
    let planned = rdom(directory.path(), &["plan", "--backend", "openbsd", yaml.to_str().unwrap()]);
    assert_eq!((planned.status.code(), out(&planned)), (Some(4), String::new()));
}

#[test]
fn a_check_does_not_call_all_what_is_left_to_do_by_hand() {
    let directory = tempfile::tempdir().unwrap();
    let yaml = directory.path().join("hand.yaml");
    fs::write(&yaml, "domains: {1: {sysctls: {net.ipv4.ip_forward: 1}}}\n").unwrap();
    let checked = rdom(directory.path(), &["check", "--backend", "all", yaml.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", err(&checked));
    let said = out(&checked);
    assert!(
        said.ends_with("linux: can do all of it\nopenbsd: can do all but 1 thing: see the warnings\n"),
        "{said}"
    );
}

#[test]
fn a_script_is_imported() {
    let directory = tempfile::tempdir().unwrap();
    let imported = rdom(directory.path(), &["import", "integration/openbsd/manual.sh"]);
    assert_eq!(imported.status.code(), Some(0), "{}", err(&imported));
    assert!(
        out(&imported).contains("2/wg2: {endpoint: 127.0.0.1, allowed_ips: [192.168.5.2/32]}"),
        "{}",
        out(&imported)
    );
    let script = directory.path().join("bad.sh");
    fs::write(&script, "ifconfig wg1 rdomain 1\nifconfig wg1 rdomain 256\n").unwrap();
    let refused = rdom(directory.path(), &["import", script.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        err(&refused).contains("bad.sh:2:1") && err(&refused).contains("rdomain 256: too large"),
        "{}",
        err(&refused)
    );
}
