//! Programs and views of further rtables and of domains that are a VRF alone, through the command line, under every
//! isolation that this kernel has: the same file, the same words, the same answers.

use std::process::Command;

mod capability;
use capability::lacks;

/// Domain 1 reaches a far address of domain 2 by its rtable 10 only.
fn file(isolation: &str) -> String {
    format!(
        "domains:\n  1:\n    isolation: {isolation}\n    \
           rtables: {{10: {{routes: [{{to: default, via: 10.0.0.9}}]}}}}\n    \
           interfaces: {{v: {{addresses: [10.0.0.1/24]}}}}\n  \
         2: {{interfaces: {{w: {{addresses: [10.0.0.9/24, 192.0.2.77/32]}}}}}}\n\
         links: [{{ends: [1/v, 2/w]}}]\n"
    )
}

const SCRIPT: &str = "
exec 2>&1; mount -t tmpfs tmpfs /run; ip link set lo up; export RDOM_STATE_DIR=/run/state
$rdom up -d $file || exit
$rdom plan $file; echo plan $?
$rdom exec 1 ping -q -c1 -W20 10.0.0.9 >/dev/null; echo near by 1: $?
$rdom exec 1 ping -q -c1 -W5 192.0.2.77 >/dev/null 2>&1; echo far by 1: $?
$rdom exec -T 10 ping -q -c1 -W20 192.0.2.77 >/dev/null; echo far by 10: $?
$rdom exec -T 10 sh -c 'ping -q -c1 -W20 192.0.2.77' >/dev/null; echo far by a child of 10: $?
ping -q -c1 -W5 10.0.0.9 >/dev/null 2>&1; echo near by 0: $?
$rdom route -T10 get 192.0.2.77 | grep gateway
$rdom route -T1 get 192.0.2.77
$rdom route -T10 show -inet | grep default
$rdom route -T1 show -inet | grep -c default
$rdom route -T1 show -inet | grep '^10.0.0.1 ' | cut -c1-8
$rdom netstat -R | grep 'tables: 1 10'
$rdom netstat -R | sed -n '/Rdomain 0/,/^$/p' | grep -cw v
$rdom ifconfig v | grep -o 'rdomain 1'
$rdom status | grep '^1 '
$rdom exec -T 11 true; echo 11: $?
$rdom down; echo down $?
";

fn holds_under(isolation: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.yaml");
    std::fs::write(&path, file(isolation)).unwrap();
    let output = Command::new("unshare")
        .args(["-nm", "--propagation", "private", "sh", "-c", SCRIPT])
        .env("rdom", env!("CARGO_BIN_EXE_rdom"))
        .env("file", &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = [
        "is up: rdom down -n net takes it down",
        "nothing to do",
        "plan 0",
        "near by 1: 0",
        "far by 1: 2",
        "far by 10: 0",
        "far by a child of 10: 0",
        "near by 0: 2",
        "    gateway: 10.0.0.9",
        "get host 192.0.2.77: not in table",
        "default            10.0.0.9           UGS ",
        "0",
        "10.0.0.1",
        "  Routing tables: 1 10",
        "0",
        "rdomain 1",
        isolation,
        "routing table 11: No such file or directory",
        "11: 1",
        "down 0",
    ];
    let mut lines = said.lines();
    for wanted in expected {
        assert!(lines.any(|line| line.contains(wanted)), "{wanted:?} is not there, or not in order:\n{said}");
    }
}

fn cannot(needed: &[&str]) -> bool {
    !nix::unistd::geteuid().is_root() || needed.iter().any(|capability| lacks(capability))
}

#[test]
fn in_a_namespace() {
    if !cannot(&["netns", "veth", "ping"]) {
        holds_under("netns");
    }
}

#[test]
fn in_a_namespace_with_a_vrf() {
    if !cannot(&["netns", "veth", "ping", "vrf"]) {
        holds_under("netns+vrf");
    }
}

#[test]
fn in_a_vrf_alone() {
    if !cannot(&["netns", "veth", "ping", "vrf"]) {
        holds_under("vrf");
    }
}

const IN_A_COPY: &str = "rdom exec -T 10 ping -q -c1 -W20 192.0.2.77";

/// The copy of somebody who is root of a user namespace only may not give the kernel a BPF program; the real root's may.
#[test]
fn in_a_private_copy_a_further_rtable_takes_the_real_root() {
    if cannot(&["userns", "veth", "ping"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.yaml");
    std::fs::write(&path, file("netns")).unwrap();
    let run = |wrapper: &str| {
        let command = format!("PATH=${{rdom%/*}}:$PATH; {wrapper} rdom run $file -- {IN_A_COPY}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).env("rdom", env!("CARGO_BIN_EXE_rdom")).env("file", &path);
        shell.output().unwrap()
    };
    let output = run("unshare -Ur");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{complained}");
    assert!(complained.contains("the kernel does not take a BPF program from this process"), "{complained}");
    assert!(complained.contains("help: run it as root outside of any user namespace"), "{complained}");
    let output = run("");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
