//! From an OpenBSD machine to a file and back: by its files of hostname.if(5), and by what its tools print.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::golden::MANUAL;
use super::machine::private_key;
use super::programs::Programs;
use super::runner::{ends, err, installed, out, rdom};
use super::simulator::Simulator;

const FILE: &str = "\
domains:
  blue:
    rdomain: 1
    interfaces:
      wg1:
        addresses: [10.8.0.1/24, \"fd00:8::1/64\"]
        mtu: 1380
        wireguard:
          listen_port: 7111
          underlay: 2
          peers:
            site: {public_key: \"wm00xLZKnE37LJnenDz+A8AKFVvIhvkp9QG7SgnZsiM=\", endpoint: \"198.51.100.7:7222\",
                   preshared_key_file: site.psk, persistent_keepalive: 25, allowed_ips: [10.8.0.2/32, 10.20.0.0/16]}
    routes:
      - {to: 10.20.0.0/16, via: 10.8.0.2}
      - {to: 10.66.0.0/16, type: blackhole}
      - {to: 10.30.0.0/16, dev: pair1, metric: 12}
  2: {lo: {addresses: []}}
links: [{ends: [blue/pair1, 2/pair2]}]
";

/// `pair1` needs an address to be named by.
fn file() -> String {
    let pair = "      pair1: {addresses: [10.1.1.1/24]}\n      wg1:\n";
    FILE.replacen("      wg1:\n", pair, 1)
}

/// What `rdom import` makes of these, as a file beside the others.
fn imported(programs: &Programs, words: &[&str]) -> String {
    let output = rdom(programs, &[&["import"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    fs::write(programs.path().join("imported.yaml"), out(&output)).unwrap();
    err(&output)
}

fn capture(programs: &Programs, directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    let tables = programs.machine().rtables;
    fs::write(directory.join("ifconfig-A"), programs.must("ifconfig -A")).unwrap();
    fs::write(directory.join("netstat-R"), programs.must("netstat -R")).unwrap();
    for table in tables.keys() {
        let name = directory.join(format!("route-T{table}"));
        fs::write(name, programs.must(&format!("route -T{table} -nv show"))).unwrap();
    }
}

#[test]
fn files_of_hostname_if_are_a_network_and_a_network_is_such_files() {
    let (programs, _) = installed(&file());
    ends(&programs, &["up", "-d", "net.yaml"], 0);
    let written = ends(&programs, &["export", "--format", "hostname.if", "--to", "etc", "net.yaml"], 0);
    let names: Vec<&str> = written.lines().filter_map(|line| line.strip_prefix("etc/hostname.")).collect();
    assert_eq!(names, ["lo1", "lo2", "pair1", "pair2", "wg1"], "{written}");
    for name in names {
        let path = programs.path().join(format!("etc/hostname.{name}"));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o640);
    }
    let shown = ends(&programs, &["export", "--format", "hostname.if", "net.yaml"], 0);
    let key = fs::read_to_string(programs.path().join("state/net/keys/1-wg1")).unwrap();
    let wg1 = fs::read_to_string(programs.path().join("etc/hostname.wg1")).unwrap();
    assert!(wg1.contains(key.trim()) && !shown.contains(key.trim()), "{shown}");
    // Again: nothing is new. Another file: it is in the way.
    assert_eq!(ends(&programs, &["export", "--format", "hostname.if", "--to", "etc", "net.yaml"], 0), "");
    fs::write(programs.path().join("etc/hostname.wg1"), "up\n").unwrap();
    assert!(
        ends(&programs, &["export", "--format", "hostname.if", "--to", "etc", "net.yaml"], 2)
            .contains("it would change etc/hostname.wg1")
    );

    fs::write(programs.path().join("etc/hostname.wg1"), wg1).unwrap();
    fs::write(programs.path().join("etc/hostname.em0"), "inet autoconf\n").unwrap();
    fs::write(programs.path().join("etc/hostname.em0~"), "nonsense\n").unwrap();
    let told = imported(&programs, &["etc"]);
    assert!(told.contains("left to the machine itself: em0"), "{told}");
    let yaml = fs::read_to_string(programs.path().join("imported.yaml")).unwrap();
    assert!(yaml.contains("private_key_file: keys/wg1.key") && !yaml.contains(key.trim()), "{yaml}");
    assert_eq!(ends(&programs, &["plan", "imported.yaml", "-n", "net"], 0), "", "{yaml}");
    programs.end();
}

#[test]
fn what_the_tools_print_of_a_network_of_ours_is_its_file() {
    let (programs, _) = installed(&file());
    ends(&programs, &["up", "-d", "net.yaml"], 0);
    capture(&programs, &programs.path().join("seen"));
    let told = imported(&programs, &["seen"]);
    assert!(
        told.contains("preshared key of 1/wg1 and peer1 is not printed: put it into keys/wg1-peer1.psk"),
        "{told}"
    );
    fs::create_dir(programs.path().join("keys")).unwrap();
    fs::copy(programs.path().join("site.psk"), programs.path().join("keys/wg1-peer1.psk")).unwrap();
    let yaml = fs::read_to_string(programs.path().join("imported.yaml")).unwrap();
    assert!(yaml.contains("name: net\n") && yaml.contains("blue:"), "{yaml}");
    assert_eq!(ends(&programs, &["plan", "imported.yaml"], 0), "", "{yaml}");
    programs.end();
}

/// A machine that a script has set up: what stands is somebody else's, until it is taken away and made again.
#[test]
fn a_machine_that_a_script_set_up_goes_over_to_a_file() {
    let mut machine = Simulator::new();
    machine.must("route -n add default 192.0.2.1");
    let bare = machine.clone();
    let base64 = |number| rdomain::model::PublicKey(*private_key(number).bytes()).to_string();
    for line in MANUAL.lines().filter(|line| !line.starts_with('#') && !line.starts_with("PUB")) {
        let number = if line.starts_with("ifconfig wg1") { 1 } else { 2 };
        let line = line.replace("`openssl rand -base64 32`", &base64(number));
        let public = |number| private_key(number).public_key().to_string();
        machine.must(&line.replace("$PUB1", &public(1)).replace("$PUB2", &public(2)));
    }
    let programs = Programs::of(machine);
    capture(&programs, &programs.path().join("seen"));
    let told = imported(&programs, &["seen"]);
    assert!(told.contains("left to the machine itself: em0, lo0"), "{told}");
    assert!(told.contains("the private key of 1/wg1 is not printed: put it into keys/wg1.key"), "{told}");
    fs::create_dir(programs.path().join("keys")).unwrap();
    for number in [1, 2] {
        let path = programs.path().join(format!("keys/wg{number}.key"));
        fs::write(&path, base64(number)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let before = programs.machine();
    let refused = ends(&programs, &["up", "-d", "imported.yaml"], 1);
    assert!(refused.contains("SIOCIFCREATE: File exists"), "{refused}");
    assert_eq!(programs.machine().normal(), before.clone().normal());

    for name in ["wg1", "wg2", "lo1", "lo2"] {
        programs.must(&format!("ifconfig {name} destroy"));
    }
    assert_eq!(programs.machine().interfaces, bare.interfaces);
    ends(&programs, &["up", "-d", "imported.yaml"], 0);
    let unmarked = |mut machine: Simulator| {
        machine.interfaces.iter_mut().for_each(|found| found.description.clear());
        machine.normal()
    };
    assert_eq!(unmarked(programs.machine()), unmarked(before));
    programs.end();
}
