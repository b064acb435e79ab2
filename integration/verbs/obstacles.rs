//! What is there already and somebody else's: named, and left as it is.

use crate::copy::in_private_copies;
use crate::world::{
    Background, EXAMPLE, Traces, addresses, is_file, kill_supervisor, ok, pings, sh, udp_ports, up, wait_for,
    write,
};

/// A link between the default domain and domain 1.
const LINK: &str = "
domains:
  0: {interfaces: {v0: {addresses: [10.0.0.1/24]}}}
  1: {interfaces: {v1: {addresses: [10.0.0.2/24]}}}
links:
  - {ends: [0/v0, 1/v1]}
";

#[test]
fn a_namespace_of_the_same_name() {
    in_private_copies("obstacles::a_namespace_of_the_same_name", || {
        write("domains.yaml", EXAMPLE);
        ok("ip netns add rdom2 && ip -n rdom2 link add theirs type veth");
        let before = Traces::now();
        let refused = sh("rdom up -d").ends_with(1);
        let refused = refused.says("a namespace called `rdom2` exists already").says("domains.yaml:11:3");
        refused.says("help: ").says("everything is as it was before");
        before.is_all_there_is();
        ok("ip -n rdom2 link show dev theirs");
        sh("rdom down").ends_with(0).says("nothing is up");
        ok("ip -n rdom2 link show dev theirs");
    });
}

#[test]
fn a_name_that_is_another_namespaces_by_the_time_of_down() {
    in_private_copies("obstacles::a_name_that_is_another_namespaces_by_the_time_of_down", || {
        write("domains.yaml", "defaults: {drift: off}\ndomains: {1: {}, 2: {}, 3: {}}\n");
        ok("rdom up -d");
        ok("umount -l /run/netns/rdom2 && rm /run/netns/rdom2");
        ok("ip netns add rdom2 && ip -n rdom2 link add theirs type veth");
        ok("rdom down");
        assert_eq!(ok("ls /run/netns"), "rdom2\n");
        ok("ip -n rdom2 link show dev theirs && ip netns del rdom2");
        sh("rdom down").ends_with(0).says("nothing is up");
    });
}

#[test]
fn an_interface_of_the_same_name() {
    in_private_copies("obstacles::an_interface_of_the_same_name", || {
        write("link.yaml", LINK);
        ok("ip link add v0 type veth peer name w0 && ip address add 10.9.9.9/24 dev v0");
        let before = Traces::now();
        let refused = sh("rdom up -d link.yaml").ends_with(1);
        refused.says("0/v0: an interface of this name exists already").says("link.yaml:3:20").says("help: ");
        before.is_all_there_is();
    });
}

#[test]
fn what_lacks_before_the_first_step_leaves_no_file() {
    in_private_copies("obstacles::what_lacks_before_the_first_step_leaves_no_file", || {
        let before = Traces::now();
        write("domains.yaml", "domains: {1: {services: {web: {command: [no-such-program]}}}}\n");
        sh("rdom up -d").ends_with(4).says("no-such-program");
        before.is_all_there_is();
        sh("rdom up").ends_with(4).says("no-such-program");
        before.is_all_there_is();
        // What stands already keeps what it needs.
        up();
        kill_supervisor();
        write("domains.yaml", "domains: {1: {services: {web: {command: [no-such-program]}}}}\n");
        sh("rdom up -d").ends_with(4);
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_port_that_is_taken() {
    in_private_copies("obstacles::a_port_that_is_taken", || {
        write("domains.yaml", EXAMPLE);
        for family in ["-4", "-6"] {
            let squatter = Background::start("nc", &format!("nc {family} -u -l -p 7222"));
            wait_for("the squatter", || udp_ports("default") == [7222]);
            let before = Traces::now();
            let refused = sh("rdom up -d").ends_with(1).says("7222").says("Address already in use");
            let refused = refused.says("domains.yaml:13:7").says("everything is as it was before");
            refused.says(&format!("process {} (nc", squatter.pid()));
            before.is_all_there_is();
            crate::world::signal(squatter.pid(), nix::sys::signal::Signal::SIGKILL);
            squatter.end();
        }
        ok("rdom up -d");
        ok("rdom down");
    });
}

#[test]
fn a_file_in_the_place_of_a_socket_for_wg() {
    in_private_copies("obstacles::a_file_in_the_place_of_a_socket_for_wg", || {
        write("/run/wireguard/wg1.sock", "theirs");
        up();
        assert_eq!(ok("cat /run/wireguard/wg1.sock"), "theirs");
        assert_eq!(ok("rdom exec 1 wg show wg1 listen-port"), "7111\n");
        assert_eq!(ok("wg show rdom1.wg1 listen-port"), "7111\n");
        assert_eq!(ok("wg show wg2 listen-port"), "7222\n");
        ok("rdom down");
        assert_eq!(ok("cat /run/wireguard/wg1.sock"), "theirs");
        assert!(!is_file("/run/wireguard/rdom1.wg1.sock") && !is_file("/run/wireguard/wg2.sock"));
    });
}

#[test]
fn addresses_and_routes_of_others_in_a_domain_of_ours() {
    in_private_copies("obstacles::addresses_and_routes_of_others_in_a_domain_of_ours", || {
        let before = Traces::now();
        write("link.yaml", LINK);
        ok("rdom up -d link.yaml");
        ok("ip -n rdom1 address add 10.9.9.9/24 dev v1");
        ok("ip -n rdom1 route add 10.88.0.0/16 via 10.0.0.1 proto bird");
        ok("ip -n rdom1 route add 10.99.0.0/16 via 10.0.0.1");
        ok("ip -n rdom1 link add theirs type veth");
        sh("rdom plan link.yaml").ends_with(0).says("nothing to do");

        kill_supervisor();
        ok("ip -n rdom1 address del 10.0.0.2/24 dev v1");
        let planned = sh("rdom plan link.yaml").ends_with(3);
        assert_eq!(planned.out, "  link.yaml:4  add address 10.0.0.2/24 to 1/v1\n");
        ok("rdom up -d link.yaml");
        assert_eq!(addresses("rdom1", "v1"), ["10.9.9.9/24", "10.0.0.2/24"]);
        let routes = ok("ip -n rdom1 route");
        assert!(routes.contains("10.9.9.0/24"), "{routes}");
        ok("ip -n rdom1 link show dev theirs");
        pings("rdom1", "10.0.0.1");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_second_run_keeps_routes_of_others() {
    in_private_copies("obstacles::a_second_run_keeps_routes_of_others", || {
        write("link.yaml", LINK);
        ok("rdom up -d link.yaml");
        ok("ip -n rdom1 route add 10.88.0.0/16 via 10.0.0.1 proto bird");
        ok("ip -n rdom1 route add 10.99.0.0/16 via 10.0.0.1");
        ok("ip route add 10.77.0.0/16 via 10.0.0.2");
        kill_supervisor();
        let routed = LINK.to_owned() + "";
        write(
            "link.yaml",
            &routed
                .replace("[10.0.0.2/24]}}", "[10.0.0.2/24]}}, routes: [{to: 10.66.0.0/16, via: 10.0.0.1}]"),
        );
        ok("rdom up -d link.yaml");
        let routes = ok("ip -n rdom1 route show");
        for kept in
            ["10.88.0.0/16 via 10.0.0.1 dev v1 proto bird", "10.99.0.0/16 via 10.0.0.1", "10.66.0.0/16"]
        {
            assert!(routes.contains(kept), "{kept} is not in {routes}");
        }
        assert!(ok("ip route show").contains("10.77.0.0/16"));
        ok("rdom down");
    });
}

#[test]
fn of_two_networks_that_come_up_at_once_not_both_have_a_number() {
    in_private_copies("obstacles::of_two_networks_that_come_up_at_once_not_both_have_a_number", || {
        let before = Traces::now();
        write("first.yaml", "domains: {blue: {rdomain: 2}}\n");
        write("second.yaml", "domains: {red: {rdomain: 2}}\n");
        for _ in 0..5 {
            let ran = sh("rdom up -d first.yaml & rdom up -d second.yaml; wait").says("domain 2 is network");
            let names = ok("ip netns list");
            assert!(!names.contains("blue") || !names.contains("red"), "{names} {ran:?}");
            ok("rdom down -n first; rdom down -n second");
        }
        before.is_all_there_is();
    });
}

#[test]
fn a_number_that_another_network_has_is_refused_with_its_name() {
    in_private_copies("obstacles::a_number_that_another_network_has_is_refused_with_its_name", || {
        let before = Traces::now();
        write("first.yaml", "domains: {1: {}, 2: {}}\n");
        ok("rdom up -d first.yaml");
        write("second.yaml", "domains: {blue: {rdomain: 2}, 3: {}}\n");
        let refused = sh("rdom up -d second.yaml").ends_with(1).says("domain 2 is network first's already");
        assert!(!ok("ip netns list").contains("blue"), "{refused:?}");
        write("second.yaml", "domains: {blue: {rdomain: 4}, 3: {}}\n");
        ok("rdom up -d second.yaml");
        write("second.yaml", "domains: {blue: {rdomain: 4}, 3: {rtables: {1: {}}}}\n");
        sh("rdom apply second.yaml").ends_with(1).says("rtable 1 is network first's already");

        // A network that was killed has its numbers still; one that is down has not.
        ok("kill -9 $(cat /run/rdom/first/lock)");
        write("third.yaml", "domains: {1: {}}\n");
        sh("rdom up -d third.yaml").ends_with(1).says("domain 1 is network first's already");
        ok("rdom down -n first && rdom up -d third.yaml");
        ok("rdom down -n second && rdom down -n third");
        before.is_all_there_is();
    });
}
