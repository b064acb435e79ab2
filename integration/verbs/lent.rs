//! Interfaces that are lent to a domain, and given back as they were. ip(8) and /proc/sys tell what they were.
//!
//! The interface is one end of a veth that the test makes; its other end is in a namespace of somebody else.

use serde_json::Value;

use crate::copy::in_private_copies;
use crate::world::{Traces, json, kill_supervisor, ok, pings, sh, wait_for, write};

const FILE: &str = "name: n
defaults: {isolation: netns}
domains:
  blue:
    rdomain: 1
    interfaces:
      lan0: {physical: nic0, mtu: 1300, addresses: [10.9.0.1/24]}
    routes: [{to: default, via: 10.9.0.2}]
";

/// An interface with all that can be lost.
fn plug_in() {
    ok("ip netns add far
        ip link add nic0 type veth peer name wire netns far
        ip -n far address add 10.9.0.2/24 dev wire && ip -n far link set wire up
        ip -n far address add 10.8.0.2/24 dev wire
        ip link set nic0 alias uplink mtu 1400 up
        ip address add 10.8.0.1/24 broadcast + dev nic0 label nic0:one
        ip address add 10.8.0.9/24 dev nic0 && ip address add fd00:8::1/64 dev nic0 nodad
        ip route add default via 10.8.0.2 metric 7
        ip route add 10.77.0.0/16 dev nic0 proto static table 77
        ip -6 route add fd00:77::/64 via fd00:8::2 metric 9
        echo 2 >/proc/sys/net/ipv4/conf/nic0/rp_filter
        echo 70 >/proc/sys/net/ipv4/neigh/nic0/gc_stale_time
        echo 0 >/proc/sys/net/ipv6/conf/nic0/accept_ra");
}

fn unplug() {
    ok("ip link delete nic0 && ip netns delete far");
}

/// Everything that there is to tell of the interface where it is at home.
fn at_home() -> [Value; 5] {
    let of_ip = ["-d link show nic0", "address show nic0", "route show table all", "-6 route show table all"];
    let [link, addresses, routes, routes6] = of_ip.map(|words| json(&format!("ip -j {words}")));
    let sysctls = "cd /proc/sys/net; cat ipv4/conf/nic0/rp_filter ipv4/neigh/nic0/gc_stale_time ipv6/conf/nic0/accept_ra";
    [link, addresses, routes, routes6, ok(sysctls).into()]
}

/// A carrier takes a moment to show.
#[track_caller]
fn is_home_as(before: &[Value; 5]) {
    for _ in 0..500 {
        if at_home() == *before {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(at_home(), *before);
}

/// Runs the test with the interface at home, and holds what is left against what was.
fn with_interface(name: &'static str, test: fn(&[Value; 5])) {
    in_private_copies(name, || {
        ok("mkdir -p /run/netns");
        plug_in();
        wait_for("a carrier", || json("ip -j link show nic0")[0]["operstate"] == "UP");
        wait_for("addresses", || !ok("ip -6 address show nic0").contains("tentative"));
        let (before, traces) = (at_home(), Traces::now());
        write("n.yaml", FILE);
        test(&before);
        is_home_as(&before);
        traces.is_all_there_is();
        unplug();
    });
}

#[test]
fn an_interface_is_lent_and_comes_back_as_it_was() {
    with_interface("lent::an_interface_is_lent_and_comes_back_as_it_was", |_| {
        sh("rdom plan n.yaml").ends_with(3).says("lend 0/nic0 to domain 1 as lan0");
        ok("rdom up -d n.yaml");
        sh("ip link show nic0").ends_with(1);
        let lent = json("ip -n blue -j link show lan0");
        assert_eq!((&lent[0]["mtu"], &lent[0]["ifalias"]), (&1300.into(), &"rdom-lent:n/nic0".into()));
        pings("blue", "10.9.0.2");
        sh("rdom plan n.yaml").ends_with(0).says("nothing to do");
        ok("rdom down");
    });
}

#[test]
fn what_the_host_loses_by_lending_is_said_before() {
    with_interface("lent::what_the_host_loses_by_lending_is_said_before", |_| {
        let route = "the default route of domain 0 goes with nic0";
        let plan = sh("rdom plan n.yaml").ends_with(3);
        assert!(
            plan.out.lines().any(|line| line.starts_with("! ") && line.contains("lend 0/nic0")),
            "{plan:#?}"
        );
        plan.says(&format!("! {route}"));
        let session = "SSH_CONNECTION='10.8.0.2 50000 10.8.0.1 22'";
        let cut = "this SSH session, from 10.8.0.2, comes by nic0";
        sh(&format!("{session} rdom up -d n.yaml"))
            .ends_with(1)
            .says(&format!("not lent: {cut}"))
            .says("--cut-off");
        sh("ip link show nic0").ends_with(0);
        sh("SSH_CONNECTION='127.0.0.1 50000 127.0.0.1 22' rdom up -d n.yaml").ends_with(0).says(route);
        write("less.yaml", "name: n\ndomains:\n  blue: {rdomain: 1}\n");
        ok("rdom apply less.yaml");
        sh(&format!("{session} rdom apply n.yaml")).ends_with(1).says(cut);
        sh(&format!("{session} rdom apply --cut-off n.yaml")).ends_with(0).says(cut);
        // Lent by now, it cannot be lost any more.
        let again = sh(&format!("{session} rdom apply n.yaml")).ends_with(0);
        assert_eq!(again.err, "");
        ok("rdom down");
    });
}

#[test]
fn a_file_that_lends_it_no_more_gives_it_back() {
    with_interface("lent::a_file_that_lends_it_no_more_gives_it_back", |before| {
        ok("rdom up -d n.yaml");
        write("less.yaml", "name: n\ndomains:\n  blue: {rdomain: 1}\n");
        sh("rdom plan less.yaml").ends_with(3).says("return 1/lan0 as 0/nic0");
        ok("rdom apply less.yaml");
        is_home_as(before);
        ok("rdom apply n.yaml && rdom apply less.yaml");
        is_home_as(before);
        ok("rdom down");
    });
}

#[test]
fn what_fails_afterwards_gives_it_back() {
    with_interface("lent::what_fails_afterwards_gives_it_back", |before| {
        write("n.yaml", &(FILE.to_owned() + "    sysctls: {net.ipv4.nonsense: 1}\n"));
        sh("rdom up -d n.yaml").ends_with(1);
        is_home_as(before);
        write("n.yaml", &FILE.replace("nic0", "nic7"));
        sh("rdom up -d n.yaml").ends_with(1).says("cannot lend 0/nic7: there is no such interface");
        write(
            "n.yaml",
            &FILE
                .replace("lan0:", "\"lan0\":")
                .replace("domains:", "domains:\n  0: {interfaces: {lan0: {bridge: {}}}}"),
        );
        ok("rdom up -d n.yaml && rdom down");
    });
}

#[test]
fn it_has_its_index_again_though_that_was_taken_elsewhere() {
    with_interface("lent::it_has_its_index_again_though_that_was_taken_elsewhere", |before| {
        write("less.yaml", "name: n\ndefaults: {isolation: netns}\ndomains:\n  blue: {rdomain: 1}\n");
        ok("rdom up -d less.yaml");
        let index = &before[0][0]["ifindex"];
        ok(&format!("ip -n blue link add taken index {index} type bridge"));
        ok("rdom apply n.yaml");
        assert_ne!(json("ip -n blue -j link show lan0")[0]["ifindex"], *index);
        ok("rdom apply less.yaml");
        is_home_as(before);
        ok("rdom down");
    });
}

#[test]
fn after_the_end_of_its_supervisor_it_is_given_back() {
    with_interface("lent::after_the_end_of_its_supervisor_it_is_given_back", |before| {
        ok("rdom up -d n.yaml");
        kill_supervisor();
        sh("rdom plan n.yaml").ends_with(0);
        ok("rdom down -n n && rdom down -n n");
        is_home_as(before);
        // Whoever is killed at any moment leaves it where the next one finds it.
        for millis in (0..60).step_by(8) {
            sh(&format!("rdom up n.yaml & sleep 0.{millis:03}; kill -9 $!; wait $!"));
            ok("rdom up -d n.yaml");
            pings("blue", "10.9.0.2");
            sh(&format!("rdom down -n n & sleep 0.{:03}; kill -9 $!; wait $!", millis / 3));
            ok("rdom down -n n");
            is_home_as(before);
        }
    });
}

#[test]
fn who_moves_or_renames_it_is_answered() {
    with_interface("lent::who_moves_or_renames_it_is_answered", |_| {
        ok("rdom up -d n.yaml");
        let is_lent = || {
            let lent = sh("ip -n blue -br address show lan0");
            lent.status == 0 && lent.out.contains("10.9.0.1/24") && sh("rdom plan n.yaml").status == 0
        };
        for change in [
            "ip -n blue link set lan0 down && ip -n blue link set lan0 name mine",
            "ip -n blue link set lan0 netns $$",
            "ip -n blue link set lan0 netns $$ name nic0",
            "ip -n blue link set lan0 netns $$ name another",
        ] {
            ok(change);
            wait_for(change, is_lent);
            pings("blue", "10.9.0.2");
        }
        ok("rdom down");
    });
}

#[test]
fn down_gives_back_what_somebody_moved_home() {
    with_interface("lent::down_gives_back_what_somebody_moved_home", |_| {
        ok("rdom up -d n.yaml");
        kill_supervisor();
        ok("ip -n blue link set lan0 netns $$ name mine && ip netns delete blue");
        ok("rdom down -n n");
    });
}

#[test]
fn it_does_not_come_back_over_another_of_its_name() {
    with_interface("lent::it_does_not_come_back_over_another_of_its_name", |_| {
        ok("rdom up -d n.yaml");
        kill_supervisor();
        ok("ip link add nic0 type bridge");
        let down = sh("rdom down -n n");
        down.ends_with(1).says("0/nic0 is another interface");
        sh("ip -n blue link show lan0").ends_with(0);
        ok("ip link delete nic0 && rdom down -n n");
    });
}

#[test]
fn a_second_name_of_an_interface_is_no_name_to_lend_it_by() {
    with_interface("lent::a_second_name_of_an_interface_is_no_name_to_lend_it_by", |_| {
        ok("ip link property add dev nic0 altname enp7s0");
        let text = |kind: &str| format!("name: n\ndomains: {{1: {{interfaces: {{{kind}}}}}}}\n");
        for (kind, said) in [
            ("lan0: {physical: enp7s0}", "write nic0 instead"),
            ("enp7s0: {physical: {}}", "write nic0 instead"),
            ("enp7s0: {physical: nic0}", "enp7s0 is a second name of it"),
        ] {
            write("n.yaml", &text(kind));
            sh("rdom up -d n.yaml").ends_with(1).says(said).says("everything is as it was before");
            assert!(ok("ip link show nic0").contains(",UP,"), "{kind}");
        }
        write("n.yaml", "name: n\ndomains: {0: {interfaces: {enp7s0: {addresses: [10.7.0.1/24]}}}, 1: {}}\n");
        sh("rdom up -d n.yaml").ends_with(1).says("write nic0 instead");
        write("n.yaml", FILE);
        ok("rdom up -d n.yaml && rdom down && ip link property del dev nic0 altname enp7s0");
    });
}
