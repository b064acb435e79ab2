//! `rdom capture`: what it writes is judged by tshark(1), capinfos(1) and tcpdump(8).

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::capability::lacks;
use crate::copy::{Owner, in_private_copies, owner};
use crate::world::{Background, EXAMPLE, Traces, ok, sh, signal, wait_for, write};

/// The manual page's example, with a cable to one more domain.
fn up() {
    let cable = "
      eth0: {addresses: [10.1.0.1/30]}
  green: {rdomain: 3, interfaces: {eth0: {addresses: [10.1.0.2/30]}}}
links:
  - {ends: [2/eth0, green/eth0]}

tests:";
    write("domains.yaml", &EXAMPLE.replacen("\ntests:", &cable[1..], 1));
    ok("rdom up -d");
}

/// Starts to listen, and waits until so many interfaces are listened to.
#[track_caller]
fn start(words: &str, interfaces: usize) -> Background {
    let capture = Background::start("capture", &format!("rdom capture {words}"));
    wait_for("the taps", || capture.said().matches(": listening").count() == interfaces);
    capture
}

/// Ctrl-C, and what is said then.
#[track_caller]
fn interrupted(capture: Background) -> String {
    signal(capture.pid(), Signal::SIGINT);
    capture.end().ends_with(0).out
}

/// What tshark(1) reads of a file that this filter lets through: the interface of each packet, and how it begins.
fn read(file: &str, filter: &str) -> Vec<String> {
    let fields = "-T fields -E separator=' ' -e frame.interface_name -e frame.encap_type";
    let text = ok(&format!("tshark -n -r {file} -Y '{filter}' {fields}"));
    text.lines().map(str::to_owned).collect()
}

/// How packets begin, in numbers of Wireshark's own (wiretap/wtap.h).
const ETHERNET: &str = "1";
const RAW_IP: &str = "7";

#[test]
fn a_tunnels_plain_packets_and_its_underlays_encrypted_ones_stand_in_one_file() {
    in_private_copies(
        "capture::a_tunnels_plain_packets_and_its_underlays_encrypted_ones_stand_in_one_file",
        || {
            if lacks("tshark") {
                return;
            }
            let before = Traces::now();
            up();
            let capture = start("1/wg1 0/lo green/eth0 1/wg1 -w seen.pcapng", 3);
            ok("rdom exec 1 ping -c 2 -i 0.2 -W 5 192.168.5.2");
            ok("rdom exec 2 ping -c 1 -W 5 10.1.0.2");
            let said = interrupted(capture);
            let plain = format!("1/wg1 {RAW_IP}");
            assert_eq!(read("seen.pcapng", "icmp && ip.addr == 192.168.5.2"), vec![plain; 4]);
            let encrypted = read("seen.pcapng", "wg.type == 4 && udp.dstport == 7222 && frame.len == 170");
            assert_eq!(encrypted, [(); 2].map(|()| format!("0/lo {ETHERNET}")));
            assert_eq!(
                read("seen.pcapng", "icmp && eth"),
                [(); 2].map(|()| format!("green/eth0 {ETHERNET}"))
            );
            // Which way it went, as the interface's own domain sees it (epb_flags).
            let outbound = "frame.packet_flags_direction == 2 && icmp.type == 8";
            assert_eq!(read("seen.pcapng", outbound), [(); 2].map(|()| format!("1/wg1 {RAW_IP}")));
            let all = read("seen.pcapng", "frame").len();
            let told = |name: &str| {
                let line = said.lines().find(|line| line.starts_with(name) && line.contains("captured"));
                let line = line.unwrap_or_else(|| panic!("{name}: {said}"));
                assert!(line.ends_with("captured, 0 dropped by the kernel"), "{line}");
                line.split(' ').nth(1).and_then(|word| word.parse::<usize>().ok()).expect("a number")
            };
            assert_eq!(["1/wg1", "0/lo", "green/eth0"].map(told).iter().sum::<usize>(), all);
            let infos = ok("capinfos seen.pcapng");
            assert!(infos.contains("Number of interfaces in file: 3"), "{infos}");
            assert!(infos.matches("Number of stat entries = 1").count() == 3, "{infos}");
            ok("rdom down && rm seen.pcapng");
            before.is_all_there_is();
        },
    );
}

#[test]
fn it_can_be_read_while_it_goes_on_and_ends_with_its_reader() {
    in_private_copies("capture::it_can_be_read_while_it_goes_on_and_ends_with_its_reader", || {
        if lacks("tcpdump") || lacks("tshark") {
            return;
        }
        // tcpdump(8) gives up root's identity, and somebody who has only one cannot.
        let [reader, one] = match owner() {
            Owner::Root => ["tcpdump -nr -", "tcpdump -nc 1 -r -"],
            Owner::Anybody => ["tshark -nr -", "tshark -nc 1 -r -"],
        };
        up();
        let ping = "rdom exec 1 ping -i 0.2 -W 5 192.168.5.2";
        let traffic = Background::start("ping", ping).waits_until("icmp_seq=1 ");
        let seen = sh(&format!("rdom capture -c 3 1/wg1 | {reader}")).ends_with(0);
        seen.says("1/wg1: 3 packets captured").says("192.168.5.2").says("request");
        sh(&format!("rdom capture 1/wg1 | {one}")).ends_with(0).says("192.168.5.2");
        signal(traffic.pid(), Signal::SIGINT);
        traffic.end();
        // Nothing goes by any more: it is the reader alone whose end is noticed.
        for reader in ["true", "sleep 0.5"] {
            sh(&format!("timeout -s KILL 20 rdom capture green/eth0 | {reader}")).says("captured, 0 dropped");
        }
        let nothing = sh("rdom capture --duration 100ms 1 -w - | tshark -nr -").ends_with(0);
        nothing.says("1/lo: 0 packets captured");
        ok("rdom down");
    });
}

#[test]
fn it_ends_while_packets_keep_coming_and_when_the_interfaces_go() {
    in_private_copies("capture::it_ends_while_packets_keep_coming_and_when_the_interfaces_go", || {
        if lacks("tshark") {
            return;
        }
        up();
        let flood = "rdom exec 2 ping -q -f 10.1.0.2";
        let flood = Background::start("flood", flood);
        let capture = start("2/eth0 green/eth0 -w flood.pcapng", 2);
        wait_for("packets", || std::fs::metadata("flood.pcapng").is_ok_and(|file| file.len() > 100_000));
        let said = interrupted(capture);
        signal(flood.pid(), Signal::SIGINT);
        flood.end();
        let counts = said.lines().filter_map(|line| line.split_once(": ")?.1.split_once(" packets captured"));
        let told: usize = counts.map(|(count, _)| count.parse::<usize>().expect("a number")).sum();
        assert_eq!(read("flood.pcapng", "frame").len(), told, "{said}");
        let capture = start("1/wg1 green/eth0 -w gone.pcapng", 2);
        ok("rdom down");
        capture
            .end()
            .ends_with(0)
            .says("1/wg1: 0 packets captured, 0 dropped by the kernel; the interface is gone");
    });
}

#[test]
fn what_it_cannot_listen_to_it_names() {
    in_private_copies("capture::what_it_cannot_listen_to_it_names", || {
        sh("rdom capture 1/wg1 -w x").ends_with(2).says("no network is up");
        up();
        let none = sh("rdom capture 1/wg9 -w x").ends_with(2);
        none.says("1/wg9: there is no such interface\nhelp: domain 1 has lo, wg1");
        sh("rdom capture 9 -w x").ends_with(1).says("network domains has 0, 1, 2, green");
        sh("rdom capture -c 0 1/wg1 -w x").ends_with(2).says("0 is not in 1..");
        sh("rdom capture --duration 5 1/wg1 -w x").ends_with(2).says("write a number and `ms`, `s` or `m`");
        sh("test -e x").ends_with(1);
        sh("rdom capture 1/wg1 -w none/x").ends_with(2).says("cannot write none/x: No such file");
        // A pseudo-terminal as standard output.
        let terminal = sh("script -qec 'rdom capture 1/wg1' /dev/null").ends_with(2);
        terminal.says("help: rdom capture 1/wg1 -w FILE, or: rdom capture 1/wg1 | tshark -r -");
        sh("setpriv --bounding-set -net_raw --inh-caps -net_raw rdom capture 1/wg1 -w x")
            .ends_with(4)
            .says("1/wg1: not permitted to listen to packets");
        ok("rdom down");
    });
}

/// A test that holds, and one that fails at the end of a way by a router.
const FAILURES: &str = r#"domains:
  west:
    rdomain: 1
    interfaces: {eth0: {addresses: [10.1.0.2/24]}, side: {addresses: [10.3.0.1/24]}}
    routes: [{to: default, via: 10.1.0.1}]
  router:
    rdomain: 2
    sysctls: {net.ipv4.ip_forward: 1}
    interfaces: {lan0: {addresses: [10.1.0.1/24]}, lan1: {addresses: [10.2.0.1/24]}}
  east: {rdomain: 3, interfaces: {eth0: {addresses: [10.2.0.2/24]}}, routes: [{to: default, via: 10.2.0.1}]}
  other: {rdomain: 4, interfaces: {side: {addresses: [10.3.0.2/24]}}}
links: [{ends: [west/eth0, router/lan0]}, {ends: [router/lan1, east/eth0]}, {ends: [west/side, other/side]}]
tests:
  - {in: west, ping: 10.3.0.2}
  - {in: west, tcp: "10.2.0.2:80", within: 200ms}
"#;

#[test]
fn a_failed_test_keeps_the_packets_of_its_way() {
    in_private_copies("capture::a_failed_test_keeps_the_packets_of_its_way", || {
        if lacks("tshark") {
            return;
        }
        write("net.yaml", FAILURES);
        let run = sh("rdom test net.yaml --captures kept --junit out.xml --json").ends_with(1);
        let verdicts = &run.json()[0]["verdicts"];
        assert!(verdicts[0]["capture"].is_null() && verdicts[0]["failure"].is_null(), "{verdicts}");
        let file = "kept/net-line15.pcapng";
        assert_eq!(verdicts[1]["capture"], file);
        assert!(ok("cat out.xml").contains(&format!("\npackets: {file}\n")));
        // A request and its refusal, at each of the four interfaces, and nothing of what went elsewhere.
        let way = ["west/eth0", "router/lan0", "router/lan1", "east/eth0"];
        for flags in ["tcp.flags == 0x002", "tcp.flags == 0x014"] {
            let seen: BTreeSet<_> = read(file, flags).into_iter().collect();
            assert_eq!(seen, way.map(|name| format!("{name} {ETHERNET}")).into(), "{flags}");
        }
        assert!(ok(&format!("capinfos {file}")).contains("Number of interfaces in file: 4"));
        assert_eq!(read(file, "ip.addr == 10.3.0.0/24"), [""; 0]);
        assert_eq!(ok("stat -c %a kept/net-line15.pcapng"), "600\n");
        // Another run of it has a file of its own.
        sh("rdom test net.yaml --captures kept")
            .ends_with(1)
            .says("\n  packets:  kept/net-line15-2.pcapng\n");
    });
}

#[test]
fn a_failure_in_a_tunnel_keeps_its_plain_and_its_encrypted_packets() {
    in_private_copies("capture::a_failure_in_a_tunnel_keeps_its_plain_and_its_encrypted_packets", || {
        if lacks("tshark") {
            return;
        }
        let tests = "\ntests: [{in: 1, tcp: \"192.168.5.2:80\", within: 1s}]\n";
        write("domains.yaml", &(EXAMPLE.split("\ntests:").next().expect("domains").to_owned() + tests));
        let run = "env TMPDIR=$PWD rdom test --keep-on-fail";
        let run = Background::start("test", run).waits_until("end it:");
        let said = run.said();
        let file = said.lines().find_map(|line| line.trim().strip_prefix("packets:  ")).expect("a file");
        let plain: BTreeSet<_> = read(file, "tcp.port == 80").into_iter().collect();
        assert_eq!(plain, ["1/wg1", "2/wg2"].map(|name| format!("{name} {RAW_IP}")).into());
        let encrypted: BTreeSet<_> = read(file, "wg.type == 4").into_iter().collect();
        assert_eq!(encrypted, [format!("0/lo {ETHERNET}")].into());
        // The handshake too, which the test itself brought about.
        assert!(!read(file, "wg.type == 1").is_empty());
        signal(run.pid(), Signal::SIGINT);
        run.end().ends_with(1);
        ok("rm -r rdom-test.*");
        write("domains.yaml", EXAMPLE);
        sh("TMPDIR=$PWD rdom test --keep-on-fail").ends_with(0);
        sh("ls -d rdom-test.*").ends_with(2);
    });
}
