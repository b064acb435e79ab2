//! Endpoints that are names: looked up in the underlay, in time, and by nobody who is in a hurry.
//!
//! The name server is dnsmasq(8), the peer's address moves, and what the engine has of it is told by wg(8).

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::capability::lacks;
use crate::copy::in_private_copies;
use crate::world::{Background, Traces, kernel_has_wireguard, ok, sh, wait_for, write};

/// `here` reaches `there` by way of `transit`, which alone has a name server: at 127.0.0.1 of its own.
const FILE: &str = "
defaults: {engine: ENGINE}
domains:
  here:
    rdomain: 1
    interfaces:
      wg1:
        addresses: [10.0.0.1/24]
        wireguard:
          underlay: transit
          listen_port: 7111
          peers:
            far: {public_key: KEY, endpoint: 'HOST:7222', allowed_ips: [10.0.0.2/32], persistent_keepalive: 1}
  there:
    rdomain: 2
    interfaces:
      wg2:
        addresses: [10.0.0.2/24]
        wireguard:
          underlay: transit
          listen_port: 7222
          private_key_file: far.key
          peers: {here/wg1: {}}
  transit:
    rdomain: 3
    interfaces:
      bridge: {bridge: {ports: []}, addresses: [192.0.2.1/24, 192.0.2.2/24]}
";

/// The same with this host and engine, in domains.yaml.
fn write_file(host: &str, engine: &str) {
    ok("test -e far.key || (umask 77; wg genkey >far.key)");
    let text =
        FILE.replace("HOST", host).replace("ENGINE", engine).replace("KEY", ok("wg pubkey <far.key").trim());
    write("domains.yaml", &text);
}

/// A name server in transit. What it knows is in the file `names`, which it reads again at SIGHUP.
fn name_server() -> Background {
    Background::start(
        "dnsmasq",
        "ip netns exec transit dnsmasq -k -C /dev/null --no-resolv --no-hosts --addn-hosts=/run/work/names \\
            --listen-address=127.0.0.1 --bind-interfaces --pid-file= --user= --group= --log-facility=-",
    )
    .waits_until("started")
}

fn endpoint() -> String {
    ok("rdom wg show here/wg1 endpoints | cut -f2")
}

fn waiting() -> bool {
    ok("rdom status").contains("far.example:7222 (not resolved)")
}

fn engines() -> &'static [&'static str] {
    if kernel_has_wireguard() { &["userspace", "kernel"] } else { &["userspace"] }
}

#[test]
fn names_are_looked_up_in_the_underlay_until_they_lead_somewhere() {
    if lacks("dnsmasq") {
        return;
    }
    in_private_copies("endpoints::names_are_looked_up_in_the_underlay_until_they_lead_somewhere", || {
        let before = Traces::now();
        fs::create_dir_all("/run/etc/transit").unwrap();
        ok("mkdir -p /etc/netns 2>/dev/null; mount -t tmpfs tmpfs /etc/netns && mkdir /etc/netns/transit");
        write("/etc/netns/transit/resolv.conf", "nameserver 127.0.0.1\n");
        for engine in engines() {
            looked_up(engine);
        }
        ok("umount /etc/netns; rm -r /run/etc");
        before.is_all_there_is();
    });
}

fn looked_up(engine: &str) {
    write_file("far.example", engine);
    // Nobody answers at all: the network is up, its peer waits, and the file is what there is.
    ok("rdom up -d");
    wait_for("the log", || ok("cat /run/rdom/domains/log").contains("peer far of 1/wg1: it waits"));
    assert!(waiting());
    assert!(sh("rdom plan").status == 0, "{}", ok("rdom plan"));
    write("names", "192.0.2.9 far.example\n");
    let server = name_server();
    // The first address leads nowhere. It is another one by the time that it is asked for again.
    wait_for("an endpoint", || endpoint().trim() == "192.0.2.9:7222");
    write("names", "192.0.2.2 far.example\n");
    ok(&format!("kill -HUP {}", server.pid()));
    wait_for("the new endpoint", || endpoint().trim() == "192.0.2.2:7222");
    // The next initiation may be five seconds away.
    wait_for("an answer", || sh("ip netns exec here ping -c 1 -W 1 10.0.0.2").status == 0);
    sh("rdom plan").ends_with(0);
    sh("rdom status --check").ends_with(0);
    ok(&format!("kill {}", server.pid()));
    server.end();
    ok("rdom down");
}

#[test]
fn an_apply_waits_for_names_that_are_known() {
    if lacks("dnsmasq") {
        return;
    }
    in_private_copies("endpoints::an_apply_waits_for_names_that_are_known", || {
        ok("mkdir -p /etc/netns 2>/dev/null; mount -t tmpfs tmpfs /etc/netns && mkdir /etc/netns/transit");
        write("/etc/netns/transit/resolv.conf", "nameserver 127.0.0.1\n");
        write_file("192.0.2.9", "userspace");
        ok("rdom up -d");
        write("names", "192.0.2.2 far.example\n");
        let server = name_server();
        write_file("far.example", "userspace");
        let seen = ok("rdom apply >/dev/null; rdom wg show here/wg1 endpoints | cut -f2");
        assert_eq!(seen.trim(), "192.0.2.2:7222");
        ok(&format!("rdom down; kill {}; umount /etc/netns", server.pid()));
        server.end();
    });
}

#[test]
fn a_silent_name_server_holds_nobody_up() {
    in_private_copies("endpoints::a_silent_name_server_holds_nobody_up", || {
        write("resolv.conf", "nameserver 127.0.0.1\n");
        ok("mount --bind resolv.conf /etc/resolv.conf");
        let silent = UdpSocket::bind("127.0.0.1:53").unwrap();
        write_file("far.example", "userspace");
        ok("sed -i 's/underlay: transit/underlay: 0/' domains.yaml");
        let start = Instant::now();
        ok("rdom up -d");
        wait_for("a question", || silent.peek(&mut [0; 1]).is_ok());
        assert!(waiting());
        assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
        let asking = "pgrep -f '[r]esolve --within'";
        wait_for("a lookup", || sh(asking).status == 0);
        assert_eq!(
            ok(&format!("grep -h '^CapPrm' /proc/$({asking})/status")).trim(),
            "CapPrm:\t0000000000000000"
        );
        // It ends with its supervisor.
        ok("rdom down");
        wait_for("its end", || sh(asking).status != 0);
        drop(silent);
        // In a domain that goes down it is no resident: nobody has this address.
        write("resolv.conf", "nameserver 192.0.2.77\n");
        write_file("far.example", "userspace");
        ok("rdom up -d");
        wait_for("a lookup", || sh(asking).status == 0);
        ok("rdom down");
    });
}
