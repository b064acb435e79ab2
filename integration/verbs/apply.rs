//! `rdom apply`: a network that is up becomes what the file says, and what stays is not touched.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use crate::copy::in_private_copies;
use crate::world::{
    Background, EXAMPLE, Traces, addresses, kill_supervisor, ok, pings, sh, signal, supervisor, up, wait_for,
    write,
};

/// The manual page's example with a third peer, an address and a route more.
fn grown() -> String {
    let stranger =
        "stranger: {public_key: yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=, allowed_ips: [10.9.0.0/16]}";
    EXAMPLE
        .replacen("          peers:\n", &format!("          peers:\n            {stranger}\n"), 1)
        .replacen("[192.168.5.2/24]", "[192.168.5.2/24, 10.2.2.2/32]", 1)
        .replacen("  2:\n", "    routes: [{to: 10.9.0.0/16, dev: wg1}]\n  2:\n", 1)
}

/// What a change of something else must not move: the interface itself, its session and its counters.
fn identity(namespace: &str, interface: &str) -> (String, String, u64) {
    let index = ok(&format!("ip -n {namespace} -o link show dev {interface} | cut -d: -f1"));
    let handshake = ok(&format!("wg show {interface} latest-handshakes | grep -v '\t0$'"));
    let received = ok(&format!("wg show {interface} transfer | awk '{{sum += $2}} END {{print sum}}'"));
    (index, handshake, received.trim().parse().expect("bytes"))
}

#[test]
fn a_change_touches_nothing_else() {
    in_private_copies("apply::a_change_touches_nothing_else", || {
        let before = Traces::now();
        up();
        pings("rdom1", "192.168.5.2");
        let sessions = [identity("rdom1", "wg1"), identity("rdom2", "wg2")];

        write("domains.yaml", &grown());
        sh("rdom plan").ends_with(3);
        sh("rdom apply")
            .ends_with(0)
            .says("add address 10.2.2.2/32 to 2/wg2")
            .says("network domains is as the file says: 3 steps");
        sh("rdom plan").ends_with(0);
        assert_eq!(addresses("rdom2", "wg2"), ["192.168.5.2/24", "10.2.2.2/32"]);
        assert!(ok("ip -n rdom1 route").contains("10.9.0.0/16 dev wg1"));
        assert!(ok("wg show wg1 peers").contains("yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="));
        let after = [identity("rdom1", "wg1"), identity("rdom2", "wg2")];
        for ((index, handshake, received), now) in sessions.iter().zip(&after) {
            assert_eq!((index, handshake), (&now.0, &now.1));
            assert!(now.2 >= *received, "the counters go on: {received}, {}", now.2);
        }
        pings("rdom1", "192.168.5.2");
        sh("rdom apply").ends_with(0).says("nothing to do");
        let json = sh("rdom apply --json").ends_with(0).json();
        assert_eq!(json["steps"].as_array().expect("steps").len(), 0);

        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn many_peers_come_and_go_by_one_apply() {
    in_private_copies("apply::many_peers_come_and_go_by_one_apply", || {
        let before = Traces::now();
        up();
        let peer = |number: u32| {
            let key = STANDARD.encode([&[7; 28][..], &number.to_be_bytes()].concat());
            let allowed = format!("10.{}.{}.0/24", 100 + number / 256, number % 256);
            format!(
                "            p{number}: {{public_key: \"{key}\", endpoint: \"127.0.0.1:{}\", allowed_ips: [{allowed}]}}\n",
                20_000 + number
            )
        };
        // More than are set at once.
        let many: String = (0..1200).map(peer).collect();
        write("many.yaml", &EXAMPLE.replacen("          peers:\n", &format!("          peers:\n{many}"), 1));
        ok("rdom apply -n domains many.yaml");
        sh("rdom plan -n domains many.yaml").ends_with(0);
        assert_eq!(ok("wg show wg1 endpoints | grep -c '127.0.0.1:2'").trim(), "1200");
        pings("rdom1", "192.168.5.2");
        ok("rdom apply");
        sh("rdom plan").ends_with(0);
        assert_eq!(ok("wg show wg1 peers | wc -l").trim(), "1");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_change_is_made_whatever_else_differs() {
    in_private_copies("apply::a_change_is_made_whatever_else_differs", || {
        up();
        write("domains.yaml", &EXAMPLE.replace("[192.168.5.1/24]", "[192.168.5.1/24, 10.1.1.1/32]"));
        ok("ip -n rdom1 address delete 192.168.5.1/24 dev wg1");
        ok("ip -n rdom2 address delete 192.168.5.2/24 dev wg2; rdom apply");
        wait_for("both domains", || sh("rdom plan").status == 0);
        // Who puts back what, the apply or the watch, and in which order, is open.
        let held = addresses("rdom1", "wg1").into_iter().collect::<BTreeSet<_>>();
        assert_eq!(held, BTreeSet::from(["192.168.5.1/24", "10.1.1.1/32"].map(str::to_owned)));
        assert_eq!(addresses("rdom2", "wg2"), ["192.168.5.2/24"]);
        ok("rdom down");
    });
}

#[test]
fn a_renamed_domain_is_another_one() {
    in_private_copies("apply::a_renamed_domain_is_another_one", || {
        let before = Traces::now();
        up();
        let renamed =
            EXAMPLE.replacen("  2:\n", "  blue:\n    rdomain: 2\n", 1).replace("{in: 2,", "{in: blue,");
        write("domains.yaml", &renamed);
        sh("rdom apply")
            .ends_with(0)
            .says("delete domain 2 (rdom2), renamed blue")
            .says("create domain 2 (namespace blue)");
        assert_eq!(ok("ip netns list | cut -d' ' -f1 | sort"), "blue\nrdom1\n");
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_file_that_is_refused_changes_nothing() {
    in_private_copies("apply::a_file_that_is_refused_changes_nothing", || {
        up();
        pings("rdom1", "192.168.5.2");
        ok("ip link add taken0 type bridge");
        let before = Traces::now();
        write("domains.yaml", &EXAMPLE.replacen("listen_port: 7222", "listen_prot: 7222", 1));
        sh("rdom apply").ends_with(2).says("domains.yaml:").says("listen_port");
        signal(supervisor(), Signal::SIGHUP);
        wait_for("the log", || ok("cat /run/rdom/domains/log").contains("nothing is changed"));
        before.is_all_there_is();

        let taken = "  0: {interfaces: {taken0: {bridge: {}}}}\n  3: {}\n  1:\n";
        write("domains.yaml", &grown().replacen("  1:\n", taken, 1));
        sh("rdom apply").ends_with(1).says("domains.yaml:3:").says("taken0").says("as it was before");
        before.is_all_there_is();
        pings("rdom1", "192.168.5.2");

        write("domains.yaml", &grown());
        ok("rdom apply");
        write("domains.yaml", EXAMPLE);
        ok("rdom apply");
        before.is_all_there_is();
        ok("rdom down; ip link delete taken0");
    });
}

#[test]
fn a_hangup_signal_has_the_file_read_again() {
    in_private_copies("apply::a_hangup_signal_has_the_file_read_again", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let up = Background::start("up", "rdom up").waits_until("is up: Ctrl-C takes it down");
        write("domains.yaml", &grown());
        signal(up.pid(), Signal::SIGHUP);
        wait_for("the address", || addresses("rdom2", "wg2").len() == 2);
        let up = up.waits_until("applied again");
        signal(up.pid(), Signal::SIGTERM);
        up.end().ends_with(0);
        before.is_all_there_is();
    });
}

#[test]
fn a_network_that_is_not_up_is_not_applied_to() {
    in_private_copies("apply::a_network_that_is_not_up_is_not_applied_to", || {
        write("domains.yaml", EXAMPLE);
        sh("rdom apply").ends_with(2).says("network domains is not up").says("rdom up -d FILE");
        up();
        write("other.yaml", &EXAMPLE.replacen("7111", "7333", 1));
        sh("rdom apply other.yaml").ends_with(2).says("rdom apply -n domains FILE");
        sh("rdom apply -n domains other.yaml").ends_with(0).says("port 7333");
        pings("rdom2", "192.168.5.1");
        kill_supervisor();
        sh("rdom apply").ends_with(2).says("network domains has no supervisor").says("rdom up -d FILE");
        ok("rdom up -d && rdom down");
    });
}

#[test]
fn a_plan_says_where_it_comes_from_and_what_it_interrupts() {
    in_private_copies("apply::a_plan_says_where_it_comes_from_and_what_it_interrupts", || {
        up();
        let listener = Background::start("listener", "ip netns exec rdom2 nc -l 192.168.5.2 7000");
        wait_for("a listener", || ok("ip netns exec rdom2 ss -H -l -t -n").contains("7000"));
        let caller =
            Background::start("caller", "ip netns exec rdom1 sh -c 'sleep 30 | nc 192.168.5.2 7000'");
        let connections = "ip netns exec rdom2 ss -H -t -n state established";
        wait_for("a connection", || ok(connections).contains("7000"));

        write("domains.yaml", &grown());
        sh("rdom plan").ends_with(3).says("  domains.yaml:16  add address 10.2.2.2/32 to 2/wg2\n");
        let moved = EXAMPLE.replacen("192.168.5.2/24", "192.168.5.3/24", 1).replacen("7222", "7333", 1);
        write("domains.yaml", &moved);
        let planned = sh("rdom plan").ends_with(3);
        let planned = planned
            .says("! not in the file  remove address 192.168.5.2/24 from 2/wg2; interrupts traffic and 1 connected socket\n");
        planned.says("interrupts tunnel 2/wg2\n");
        let json = sh("rdom plan --json").ends_with(3).json();
        assert_eq!(json["steps"][0]["interrupts"]["sockets"], 1, "{json}");
        assert_eq!(json["steps"][0]["line"], serde_json::Value::Null);

        for ended in [listener, caller] {
            signal(ended.pid(), Signal::SIGKILL);
            ended.end();
        }
        ok("rdom down --kill");
    });
}
