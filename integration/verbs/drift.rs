//! What somebody else changes of a network is put back, and what is theirs is left alone. The foreign hand is ip(8).

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::capability::lacks;
use crate::copy::in_private_copies;
use crate::world::{
    EXAMPLE, Traces, addresses, json, kill_supervisor, ok, pings, process, sh, signal, supervisor, udp_ports,
    up, wait_for, write,
};

const LOG: &str = "cat /run/rdom/domains/log";

/// The manual page's example with a route, a rule, a link and a bridge.
fn example() -> String {
    EXAMPLE
        .replacen(
            "  2:\n",
            "      eth0: {addresses: [10.1.0.1/30]}
    routes: [{to: 10.0.0.0/8, dev: wg1}]
    rtables: {10: {routes: [{to: default, dev: wg1}]}}
    rules: [{from: 10.7.0.0/16, rtable: 10}]
    sysctls: {net.ipv4.ip_forward: 1}
  2:\n",
            1,
        )
        .replacen(
            "\ntests:",
            "      eth0: {addresses: [10.1.0.2/30]}\nlinks:\n  - {ends: [1/eth0, 2/eth0]}\n\ntests:",
            1,
        )
}

/// Changes something, and waits until everything is as before and the log has these words.
#[track_caller]
fn is_put_back(change: &str, said: &str) {
    wait_for("a quiet network", || sh("rdom plan").status == 0);
    ok(change);
    let start = Instant::now();
    let is_said =
        |line: &str| line.contains("drift: ") && line.contains(said) && line.ends_with("; restored");
    wait_for(said, || ok(LOG).lines().any(is_said));
    let took = start.elapsed();
    sh("rdom plan").ends_with(0);
    // A second of the machine's own; it has others to serve.
    assert!(took < Duration::from_secs(5), "{change} took {took:?}");
}

#[test]
fn status_remembers_what_was_put_back_and_applied() {
    in_private_copies("drift::status_remembers_what_was_put_back_and_applied", || {
        up();
        let fresh = json("rdom status --json")["history"].clone();
        assert_eq!((&fresh["applies"], &fresh["drifts"]), (&0.into(), &0.into()), "{fresh:#}");
        assert!(fresh["last_drift"].is_null() && fresh["last_apply"].is_null(), "{fresh:#}");
        assert!(fresh["last_sync_secs_ago"].as_u64().is_some_and(|secs| secs < 31), "{fresh:#}");

        ok("ip -n rdom1 address delete 192.168.5.1/24 dev wg1");
        wait_for("its repair", || json("rdom status --json")["history"]["drifts"] != 0);
        let told = json("rdom status --json")["history"]["last_drift"].clone();
        let what = told["what"].as_str().expect("words");
        assert!(
            what.starts_with("address 192.168.5.1/24 removed from 1/wg1") && what.ends_with("; restored"),
            "{told}"
        );
        assert!(told["secs_ago"].as_u64().is_some_and(|secs| secs < 30), "{told}");

        write("domains.yaml", &EXAMPLE.replacen("192.168.5.2/24", "192.168.5.2/24, 10.0.0.1/32", 1));
        ok("rdom apply");
        write("domains.yaml", &EXAMPLE.replacen("7222", "7111", 1));
        sh("rdom apply").ends_with(2);
        let status = sh("rdom status").ends_with(0).says("last apply  ").says("1 step (1 in all)");
        status.says("last drift  ").says("removed from 1/wg1; restored");

        // What a supervisor hears that reads the file itself is remembered too.
        signal(supervisor(), Signal::SIGHUP);
        wait_for("its refusal", || json("rdom status --json")["history"]["applies_refused"] == 1);
        sh("rdom status").says("refused: ");
        if !lacks("curl") {
            let metrics = ok("curl -sS --unix-socket /run/rdom/domains/control.sock http://rdom/metrics");
            assert!(metrics.contains("rdom_applies_total{network=\"domains\"} 1\n"), "{metrics}");
            assert!(metrics.contains("rdom_applies_refused_total{network=\"domains\"} 1\n"), "{metrics}");
        }
        ok("rdom down");
    });
}

#[test]
fn what_others_change_is_put_back() {
    in_private_copies("drift::what_others_change_is_put_back", || {
        let before = Traces::now();
        write("domains.yaml", &example());
        ok("rdom up -d");
        is_put_back("ip -n rdom1 route del 10.0.0.0/8", "route 10.0.0.0/8 removed from domain 1");
        is_put_back(
            "ip -n rdom1 route del default table 10",
            "route 0.0.0.0/0 removed from rtable 10 of domain 1",
        );
        is_put_back(
            "ip -n rdom2 address del 192.168.5.2/24 dev wg2",
            "address 192.168.5.2/24 removed from 2/wg2",
        );
        is_put_back("ip -n rdom1 link set wg1 down", "1/wg1 set down");
        is_put_back("ip -n rdom1 link set wg1 mtu 1300", "mtu of 1/wg1 changed");
        is_put_back("ip -n rdom1 rule del from 10.7.0.0/16", "from 10.7.0.0/16");
        is_put_back("ip -n rdom2 link del eth0", "interface 1/eth0 removed");
        is_put_back("ip -n rdom1 link del wg1", "interface 1/wg1 removed");
        pings("rdom1", "192.168.5.2");
        is_put_back("ip netns del rdom2", "domain 2 (rdom2) removed");
        pings("rdom1", "192.168.5.2");
        pings("rdom1", "10.1.0.2");
        ok("rdom down");
        before.is_all_there_is();
    });
}

/// What others put in the way is theirs, and keeps nothing else from being put back.
#[test]
fn what_is_in_the_way_is_named_and_keeps_nothing_else_broken() {
    in_private_copies("drift::what_is_in_the_way_is_named_and_keeps_nothing_else_broken", || {
        let before = Traces::now();
        write("domains.yaml", &example());
        ok("rdom up -d");
        pings("rdom1", "192.168.5.2");
        ok("ip -n rdom1 route replace 10.0.0.0/8 dev eth0");
        let named = "drift: route 10.0.0.0/8 removed from domain 1; not restored: ";
        wait_for(named, || ok(LOG).contains(named));
        assert!(ok(LOG).contains("a route to there with this metric exists already"), "{}", ok(LOG));
        // In the same domain, between domains, and what takes an engine.
        let left = || sh("rdom plan").out.lines().count();
        let is_mended = |what: &str| wait_for(what, || left() == 1);
        for change in
            ["ip -n rdom1 rule del from 10.7.0.0/16", "ip -n rdom2 link del eth0", "ip netns del rdom2"]
        {
            ok(change);
            is_mended(change);
        }
        ok("ip -n rdom1 route replace 10.0.0.0/8 dev eth0");
        let killed = process("rdom-engine").expect("an engine");
        signal(killed, Signal::SIGKILL);
        wait_for("another engine", || process("rdom-engine").is_some_and(|pid| pid != killed));
        is_mended("the engine");
        pings("rdom1", "192.168.5.2");
        sh("rdom plan").ends_with(3).says("add route 10.0.0.0/8 dev wg1 to domain 1");
        ok("ip -n rdom1 route del 10.0.0.0/8; rdom apply; rdom plan; rdom down");
        before.is_all_there_is();
    });
}

/// A domain is looked at with the ends that it is joined to, and nothing else of their domains: an end that is a port of a
/// bridge, or of a VRF, stays one.
#[test]
fn a_look_at_a_domain_takes_no_end_of_its_links_from_its_bridge() {
    in_private_copies("drift::a_look_at_a_domain_takes_no_end_of_its_links_from_its_bridge", || {
        let domains = "
domains:
  1: {interfaces: {eth0: {addresses: [10.1.0.1/30]}}}
  2: {interfaces: {br0: {bridge: {ports: [p0]}, addresses: [10.1.0.2/30]}}}
links:
  - {ends: [1/eth0, 2/p0]}
";
        write("domains.yaml", domains);
        let before = Traces::now();
        ok("rdom up -d");
        is_put_back(
            "ip -n rdom1 address delete 10.1.0.1/30 dev eth0",
            "address 10.1.0.1/30 removed from 1/eth0",
        );
        pings("rdom1", "10.1.0.2");
        let log = ok(LOG);
        assert!(!log.contains("not restored") && log.matches("add 2/p0 to br0").count() == 1, "{log}");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn what_is_not_ours_is_left_alone() {
    in_private_copies("drift::what_is_not_ours_is_left_alone", || {
        write("domains.yaml", &example());
        ok("rdom up -d");
        ok("ip -n rdom1 address add 172.16.0.1/24 dev wg1");
        ok("ip -n rdom1 route add 172.17.0.0/16 dev wg1 proto bird");
        ok("ip -n rdom1 link add other type bridge && ip link add another type bridge");
        is_put_back("ip -n rdom1 route del 10.0.0.0/8", "route 10.0.0.0/8 removed from domain 1");
        assert_eq!(addresses("rdom1", "wg1"), ["192.168.5.1/24", "172.16.0.1/24"]);
        assert!(ok("ip -n rdom1 route").contains("172.17.0.0/16 dev wg1 proto bird"));
        ok("ip -n rdom1 link show other && ip link show another");
        ok("rdom down && ip link delete another");
    });
}

#[test]
fn lost_messages_are_no_less_than_those_that_came() {
    in_private_copies("drift::lost_messages_are_no_less_than_those_that_came", || {
        write("domains.yaml", &example());
        ok("RDOM_LOG=debug rdom up -d");
        // Far more than a socket's buffer holds, faster than anybody reads; two routing daemons' routes among it.
        let foreign = |protocol: &str, net: u8| {
            (0..3000)
                .map(|number| {
                    format!(
                        "route add 172.{net}.{}.{}/32 dev wg1 proto {protocol}\n",
                        number / 250,
                        number % 250
                    )
                })
                .collect::<String>()
        };
        let batch = foreign("bird", 20) + "route del 10.0.0.0/8\n" + &foreign("zebra", 21);
        write("batch", &batch);
        ok("ip -n rdom1 -batch batch");
        wait_for("lost messages", || ok(LOG).contains("messages of changes were lost"));
        wait_for("the route", || ok(LOG).contains("route 10.0.0.0/8 removed from domain 1; restored"));
        for protocol in ["bird", "zebra"] {
            assert_eq!(ok(&format!("ip -n rdom1 route show proto {protocol} | wc -l")).trim(), "3000");
        }
        ok("rdom down");
    });
}

#[test]
fn a_tunnel_set_by_hand_is_put_back_at_once() {
    in_private_copies("drift::a_tunnel_set_by_hand_is_put_back_at_once", || {
        write("domains.yaml", &example());
        ok("RDOM_LOG=debug rdom up -d");
        let settings = || {
            ok("wg show all allowed-ips | sort; wg show all listen-port | sort; wg show all endpoints | sort")
        };
        let before = settings();
        wait_for("a quiet network", || sh("rdom plan").status == 0);
        is_set_back("wg set wg1 peer $(wg genkey | wg pubkey) allowed-ips 10.7.0.0/16", "added to 1/wg1");
        is_set_back(
            "wg set wg2 peer $(wg show wg2 peers) allowed-ips 192.168.5.77/32",
            "of 2/wg2 changed or removed",
        );
        is_set_back("wg set wg2 peer $(wg show wg2 peers) remove", "of 2/wg2 changed or removed");
        is_set_back("wg set wg1 listen-port 7333", "port or key of 1/wg1 changed");
        // Another supervisor hears of it from the engine that it has taken over, an engine that is new as well.
        kill_supervisor();
        ok("RDOM_LOG=debug rdom up -d");
        is_set_back("rdom wg set 1/wg1 peer $(wg genkey | wg pubkey)", "added to 1/wg1");
        let killed = process("rdom-engine").expect("an engine");
        signal(killed, Signal::SIGKILL);
        wait_for("another engine", || settings() == before);
        is_set_back("rdom wg set 1/wg1 peer $(wg genkey | wg pubkey)", "added to 1/wg1");
        assert_eq!(settings(), before);
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
    });
}

/// Sets a tunnel, and waits until that is put back and said so: far sooner than by a look that was due anyway.
#[track_caller]
fn is_set_back(change: &str, said: &str) {
    let is_said =
        |line: &str| line.contains("drift: ") && line.contains(said) && line.ends_with("; restored");
    let count = || ok(LOG).lines().filter(|line| is_said(line)).count();
    let before = count();
    let start = Instant::now();
    ok(change);
    while count() == before || sh("rdom plan").status != 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "{change}: {}", ok(LOG));
        thread::sleep(Duration::from_millis(5));
    }
    println!("{change}: put back after {:?}", start.elapsed());
}

#[test]
fn a_change_is_put_back_within_a_second_and_costs_a_look_at_its_domain() {
    in_private_copies("drift::a_change_is_put_back_within_a_second_and_costs_a_look_at_its_domain", || {
        let routes: String =
            (0..50).map(|number| format!("{{to: 10.8.{number}.0/24, dev: wg1}}, ")).collect();
        let with_routes = format!("routes: [{routes}");
        write("domains.yaml", &example().replacen("routes: [", &with_routes, 1));
        ok("RDOM_LOG=debug rdom up -d");
        let mut took: Vec<_> = (0..50).map(put_back_after).collect();
        took.sort();
        println!("put back: median {:?}, worst {:?}", took[25], took[49]);
        assert!(took[25] < Duration::from_secs(1), "{took:?}");
        assert!(!ok(LOG).contains("the whole network is looked at"));
        ok("rdom down");
    });
}

/// How long the route of this number is away that somebody removes.
fn put_back_after(number: usize) -> Duration {
    let route = format!("10.8.{number}.0/24");
    ok(&format!("ip -n rdom1 route del {route}"));
    let start = Instant::now();
    wait_for("the route", || !ok(&format!("ip -n rdom1 route show {route}")).is_empty());
    start.elapsed()
}

#[test]
fn a_fight_is_given_up_and_said_so() {
    in_private_copies("drift::a_fight_is_given_up_and_said_so", || {
        write("domains.yaml", &example());
        ok("rdom up -d");
        let given_up = "drift: route 10.0.0.0/8 removed from domain 1, again and again";
        let start = Instant::now();
        while !ok(LOG).contains(given_up) {
            assert!(start.elapsed() < Duration::from_secs(30));
            sh("ip -n rdom1 route del 10.0.0.0/8");
            thread::sleep(Duration::from_millis(100));
        }
        sh("ip -n rdom1 route del 10.0.0.0/8");
        thread::sleep(Duration::from_millis(500));
        sh("rdom plan").ends_with(3).says("add route 10.0.0.0/8");
        ok("ip -n rdom2 address del 192.168.5.2/24 dev wg2");
        wait_for("the address", || !addresses("rdom2", "wg2").is_empty());
        ok("rdom down");
    });
}

#[test]
fn the_file_may_want_a_report_or_nothing() {
    in_private_copies("drift::the_file_may_want_a_report_or_nothing", || {
        let with = |drift: &str| {
            write(
                "domains.yaml",
                &example().replace("{engine: userspace}", &format!("{{engine: userspace, drift: {drift}}}")),
            );
        };
        with("report");
        ok("rdom up -d");
        ok("ip -n rdom1 route del 10.0.0.0/8");
        let told = "drift: route 10.0.0.0/8 removed from domain 1; left as it is";
        wait_for(told, || ok(LOG).contains(told));
        sh("rdom plan").ends_with(3).says("add route 10.0.0.0/8");
        with("off");
        sh("rdom apply").ends_with(0).says("add route 10.0.0.0/8");
        ok("ip -n rdom1 route del 10.0.0.0/8");
        thread::sleep(Duration::from_millis(500));
        sh("rdom plan").ends_with(3);
        with("repair");
        ok("rdom apply");
        is_put_back("ip -n rdom1 route del 10.0.0.0/8", "route 10.0.0.0/8 removed from domain 1");
        with("never");
        sh("rdom check").ends_with(2).says("write `repair`, `report` or `off`");
        ok("rdom down");
    });
}

#[test]
fn sockets_that_could_not_be_opened_are_opened_once_the_port_is_free() {
    in_private_copies("drift::sockets_that_could_not_be_opened_are_opened_once_the_port_is_free", || {
        up();
        // While nobody watches, the port is taken.
        signal(supervisor(), Signal::SIGSTOP);
        ok("ip -n rdom1 link set wg1 down");
        wait_for("a free port", || udp_ports("default") == [7222, 7222]);
        let squatter = UdpSocket::bind("127.0.0.1:7111").expect("the port");
        ok("ip -n rdom1 link set wg1 up");
        signal(supervisor(), Signal::SIGCONT);
        let missing = "drift: 1/wg1: no UDP socket of port 7111 in its underlay, domain 0; ";
        let told = |fate: &str| ok(LOG).contains(&format!("{missing}{fate}"));
        wait_for("its complaint", || told("not restored: "));
        drop(squatter);
        ok("ip -n rdom1 address add 10.77.0.1/32 dev wg1");
        wait_for("the sockets", || told("restored"));
        assert_eq!(udp_ports("default"), [7111, 7222, 7111, 7222]);
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
    });
}
