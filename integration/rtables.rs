//! Programs and views of further rtables and of domains that are a VRF alone, through the command line, under every
//! isolation that this kernel has: the same file, the same words, the same answers.

use std::process::Command;

mod capability;
use capability::lacks;

/// Domain 1 reaches a far address of domain 2 by its rtable 10 only.
fn file(isolation: &str) -> String {
    format!(
        "defaults: {{isolation: {isolation}}}\ndomains:\n  1:\n    \
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
$rdom exec -T 10 ping -q -c1 -W20 10.0.0.1 >/dev/null; echo its own address by 10: $?
$rdom exec -T 10 ping -q -c1 -W20 127.0.0.1 >/dev/null; echo the loopback by 10: $?
$rdom exec 1 ping -q -c1 -W20 127.0.0.1 >/dev/null; echo the loopback by 1: $?
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
        "its own address by 10: 0",
        "the loopback by 10: 0",
        "the loopback by 1: 0",
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

/// Two ways out of domain 1, of which its own rtable knows the first and rtable 10 the second. One machine is behind it.
fn crossroads(isolation: &str) -> String {
    let forward = "sysctls: {net.ipv4.ip_forward: 1}";
    let (of_default, of_router) = if isolation == "vrf" { (forward, "") } else { ("", forward) };
    let of_selectors = match isolation {
        "vrf" => "",
        _ => {
            "{to: 198.51.100.7/32, rtable: 10}, {from: 10.0.2.7/32, rtable: 10}, {uid: 4242, rtable: 10}, {fwmark: 7, rtable: 10}"
        }
    };
    format!(
        "
defaults: {{isolation: {isolation}}}
domains:
  0: {{{of_default}}}
  1:
    {of_router}
    interfaces:
      a1: {{addresses: [10.0.1.1/24]}}
      b1: {{addresses: [10.0.2.1/24, 10.0.2.7/24]}}
      c1: {{addresses: [10.0.3.1/24]}}
    routes: [{{to: default, via: 10.0.2.2}}]
    rtables: {{10: {{routes: [{{to: default, via: 10.0.3.2}}, {{to: 10.0.1.0/24, dev: a1}}]}}}}
    rules: [{{iif: a1, rtable: 10}}, {of_selectors}]
  2: {{interfaces: {{a2: {{addresses: [10.0.1.2/24]}}}}, routes: [{{to: default, via: 10.0.1.1}}]}}
  3: {{interfaces: {{b3: {{addresses: [10.0.2.2/24, 192.0.2.1/32]}}}}, routes: [{{to: 10.0.1.0/24, via: 10.0.2.1}}]}}
  4:
    interfaces: {{c4: {{addresses: [10.0.3.2/24, 198.51.100.1/32, 198.51.100.7/32]}}}}
    routes: [{{to: 10.0.0.0/16, via: 10.0.3.1}}]
links:
  - {{ends: [1/a1, 2/a2]}}
  - {{ends: [1/b1, 3/b3]}}
  - {{ends: [1/c1, 4/c4]}}
tests:
  - {{in: 1, ping: 192.0.2.1}}
  - {{in: 1, ping: 198.51.100.1, expect: unreachable}}
  - {{in: 2, ping: 198.51.100.1, name: what comes in by a1 leaves by rtable 10}}
  - {{in: 2, ping: 192.0.2.1, expect: unreachable}}
  - {{in: 2, ping: 10.0.1.1, name: and reaches the addresses of the domain itself}}
  - {{in: 2, ping: 10.0.2.1}}
"
    )
}

/// The same by a rule of each other selector, where a domain has rules of its own.
const SELECTORS: &str = "
  - {in: 1, ping: 198.51.100.7}
  - {in: 1, exec: [ping, -c, '1', -w, '30', -I, 10.0.2.7, 198.51.100.1]}
  - {in: 1, exec: [setpriv, --reuid, '4242', --clear-groups, --inh-caps, +net_raw, --ambient-caps, +net_raw, ping, -c, '1', -w, '30', 198.51.100.1]}
  - {in: 1, exec: [ping, -m, '7', -c, '1', -w, '30', 198.51.100.1]}
  - {in: 1, exec: [ping, -m, '7', -c, '1', -w, '30', 10.0.2.1], name: 'a rule does not hide an address of the domain'}
  - {in: 1, exec: [ping, -I, 10.0.2.7, -c, '1', -w, '30', 10.0.1.1]}
  - {in: 1, exec: [setpriv, --reuid, '4242', --clear-groups, --inh-caps, +net_raw, --ambient-caps, +net_raw, ping, -c, '1', -w, '30', 10.0.2.7]}
";

#[test]
fn rules_of_every_selector_lead_to_an_rtable_and_hide_no_address() {
    if cannot(&["netns", "veth", "ping", "setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rdom"));
    command.arg("test");
    for isolation in ["netns", "netns+vrf", "vrf"] {
        if isolation != "netns" && lacks("vrf") {
            continue;
        }
        let selectors = if isolation == "vrf" { "" } else { SELECTORS };
        let path = directory.path().join(format!("{isolation}.yaml"));
        std::fs::write(&path, crossroads(isolation) + selectors).unwrap();
        command.arg(&path);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// A user of a domain that is a VRF alone tries every way to send by an interface of the default domain, and one of its
/// own; then an interface of the domain is made anew, and the program that has lived there all the time uses it.
const HELD: &str = "
exec 2>&1; mount -t tmpfs tmpfs /run; ip link set lo up; export RDOM_STATE_DIR=/run/state
ip link add out type veth peer name far; ip link set out up; ip link set far up
ip address add 203.0.113.1/24 dev out; ip -6 address add fd00:9::1/64 dev out nodad
$rdom up -d $file || exit
tries() { $1 setpriv --reuid 65534 --regid 65534 --clear-groups /usr/bin/python3 -c \"$ways\"; }
echo in domain 0: $(tries)
echo in domain 1: $(tries \"$rdom exec 1\")
mkfifo /run/words; timeout 300 $rdom exec 1 sh </run/words >/run/said & exec 3>/run/words
echo 'until ping -q -c1 -W5 10.0.0.9 >/dev/null; do :; done; echo near' >&3
until grep -q near /run/said; do sleep 0.1; done
ip link delete v
until ip link show v >/dev/null; do sleep 0.1; done
echo 'until ping -q -c1 -W5 10.0.0.9 >/dev/null; do :; done; echo near again' >&3
exec 3>&-; wait; cat /run/said
$rdom down; echo down $?
";

const WAYS: &str = "
import socket, struct
index = socket.if_nametoindex
def tried(name, family, to, how):
    s = socket.socket(family, socket.SOCK_DGRAM)
    try: how(s, to); print(name, end=' ')
    except OSError: pass
info = lambda name: lambda s, to: s.sendmsg([b'x'], [(0, 8, struct.pack('=III', index(name), 0, 0))], 0, to)
info6 = lambda name: lambda s, to: s.sendmsg([b'x'], [(41, 50, bytes(16) + struct.pack('=I', index(name)))], 0, to)
def option(level, number, value):
    def how(s, to): s.setsockopt(level, number, value); s.sendto(b'x', to)
    return how
tried('pktinfo', 2, ('203.0.113.9', 9), info('out'))
tried('loopback', 2, ('127.0.0.1', 9), info('lo'))
tried('pktinfo6', 10, ('fd00:9::9', 9), info6('out'))
tried('unicastif', 2, ('203.0.113.9', 9), option(0, 50, struct.pack('!I', index('out'))))
tried('device', 2, ('203.0.113.9', 9), option(1, 25, b'out'))
tried('nodevice', 2, ('203.0.113.9', 9), option(1, 25, b''))
tried('multicast', 2, ('239.1.1.1', 9), option(0, 32, struct.pack('=4s4si', bytes(4), bytes(4), index('out'))))
tried('mark', 2, ('203.0.113.9', 9), option(1, 36, 7))
tried('own', 2, ('10.0.0.9', 9), info('v'))
";

#[test]
fn a_user_of_a_vrf_alone_sends_by_its_interfaces_or_not_at_all() {
    if cannot(&["vrf", "veth", "ping", "setpriv", "python3"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.yaml");
    std::fs::write(&path, file("vrf")).unwrap();
    let output = Command::new("unshare")
        .args(["-nm", "--propagation", "private", "sh", "-c", HELD])
        .env("rdom", env!("CARGO_BIN_EXE_rdom"))
        .env("file", &path)
        .env("ways", WAYS)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let every = "in domain 0: pktinfo loopback pktinfo6 unicastif device nodevice multicast own";
    for expected in [every, "in domain 1: own", "near", "near again", "down 0"] {
        assert!(said.lines().any(|line| line == expected), "no line `{expected}`: {said}");
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
