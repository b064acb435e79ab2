//! The OpenBSD words, and `--json`, against what ip(8) and ss(8) say.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::copy::in_private_copies;
use crate::world::{Background, json, ok, sh, signal, up, wait_for};

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value:#}"))
}

/// Destination, interface and kind of each route as `ip -j route` has them, lengths written out.
fn routes_of_ip(namespace: &str) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for (option, length) in [("-4", 32), ("-6", 128)] {
        for route in list(&json(&format!("ip -n {namespace} {option} -j route show table all"))) {
            let mut to =
                text(route, "dst").replace("default", if length == 32 { "0.0.0.0/0" } else { "::/0" });
            if !to.contains('/') {
                to = format!("{to}/{length}");
            }
            let kind = route["type"].as_str().unwrap_or("unicast").to_owned();
            // OpenBSD hangs routes that drop on the loopback.
            let dev = route["dev"].as_str().unwrap_or("lo").to_owned();
            found.insert((to, dev, kind));
        }
    }
    found
}

fn routes_of_rdom(domain: &str) -> BTreeSet<(String, String, String)> {
    let seen = json(&format!("rdom route -T{domain} show --json"));
    list(&seen["routes"])
        .iter()
        .map(|route| (text(route, "to"), text(route, "dev"), text(route, "type")))
        .collect()
}

#[test]
fn route_show_has_the_kernels_routes() {
    in_private_copies("views::route_show_has_the_kernels_routes", || {
        up();
        ok("ip -n rdom1 route add 10.8.0.0/16 via 192.168.5.77");
        ok("ip -n rdom1 route add default dev wg1 metric 7");
        ok("ip -n rdom1 route add blackhole 10.9.0.0/16");
        let (ours, theirs) = (routes_of_rdom("1"), routes_of_ip("rdom1"));
        // OpenBSD shows no copy of a host's own address beside the one that is local to it.
        let told_once = |route: &&(String, String, String)| route.0.ends_with("/128") && route.2 == "unicast";
        let missing: Vec<_> = theirs.difference(&ours).filter(|route| !told_once(route)).collect();
        assert!(missing.is_empty(), "missing {missing:?}");
        let invented: Vec<_> = ours.difference(&theirs).collect();
        assert!(invented.is_empty(), "invented {invented:?}");

        let shown = ok("rdom route -T1 show");
        for row in [["10.8/16", "192.168.5.77", "UGS"], ["default", "192.168.5.1", "US"]] {
            let has = |line: &str| {
                row.iter().all(|word| line.split_whitespace().any(|column| column.starts_with(word)))
            };
            assert!(shown.lines().any(has), "{row:?} is not in\n{shown}");
        }
        assert_eq!(ok("rdom route -n -T rdom1 show"), shown);
        assert_eq!(ok("rdom netstat -rn -T1"), shown);
        assert!(!ok("rdom route -T1 show -inet").contains("Internet6:"));
        assert!(!ok("rdom route -T1 show -inet6").contains("Internet:"));
        ok("rdom down");
    });
}

#[test]
fn route_get_takes_the_way_that_a_packet_takes() {
    in_private_copies("views::route_get_takes_the_way_that_a_packet_takes", || {
        up();
        ok("ip -n rdom1 route add 10.8.0.0/16 via 192.168.5.77");
        for to in ["192.168.5.2", "10.8.1.1", "127.0.0.1", "192.168.5.1"] {
            let ours = json(&format!("rdom route -T1 get {to} --json"));
            let theirs = json(&format!("ip netns exec rdom1 ip -j route get {to}"));
            assert_eq!(ours["route_to"], to);
            assert_eq!(ours["if_address"], theirs[0]["prefsrc"], "{ours:#}{theirs:#}");
            let via = theirs[0]["gateway"].as_str();
            assert!(via.is_none_or(|via| ours["route"]["gateway"] == via), "{ours:#}{theirs:#}");
        }
        let shown = ok("rdom route -T1 get 10.8.1.1");
        assert!(shown.contains("gateway: 192.168.5.77") && shown.contains("interface: wg1"), "{shown}");
        sh("rdom route -T1 get 8.8.8.8").ends_with(1).says("8.8.8.8: not in table");
        sh("rdom route -T9 get 8.8.8.8").ends_with(1).says("routing table 9: No such file or directory");
        sh("rdom route -T1 get nonsense").ends_with(2).says("nonsense");
        ok("rdom down");
    });
}

#[test]
fn netstat_has_the_kernels_sockets() {
    in_private_copies("views::netstat_has_the_kernels_sockets", || {
        up();
        let tcp = Background::start("tcp", "ip netns exec rdom2 nc -l -p 8080");
        let udp = Background::start("udp", "ip netns exec rdom2 nc -u -l 192.168.5.2 5353");
        wait_for("two sockets", || ok("ip netns exec rdom2 ss -H -n -l -t -u").lines().count() == 2);
        for (domain, prefix) in [("0", ""), ("1", "ip netns exec rdom1 "), ("2", "ip netns exec rdom2 ")] {
            let theirs: BTreeSet<_> = ok(&format!("{prefix}ss -H -n -l -t; {prefix}ss -H -n -l -u"))
                .lines()
                .map(|line| line.split_whitespace().nth(3).expect("a local address").replace("*:", "[::]:"))
                .collect();
            let seen = json(&format!("rdom netstat -ln -T{domain} --json"));
            let ours: BTreeSet<_> =
                list(&seen["sockets"]).iter().map(|socket| text(socket, "local")).collect();
            assert_eq!(ours, theirs, "domain {domain}");
        }
        let shown = ok("rdom netstat -ln");
        assert_eq!(shown.matches("*.7111 ").count(), 2, "{shown}");
        assert_eq!(ok("rdom netstat -ln -T1"), "");
        assert!(ok("rdom netstat -ln -T2").contains("192.168.5.2.5353"));
        for program in [tcp, udp] {
            signal(program.pid(), Signal::SIGKILL);
            program.end().ends_with(137);
        }
        ok("rdom down");
    });
}

#[test]
fn netstat_knows_every_rdomain() {
    in_private_copies("views::netstat_knows_every_rdomain", || {
        up();
        ok("ip -n rdom2 link add theirs type veth peer name other");
        let seen = json("rdom netstat -R --json");
        for (number, prefix) in [(0, "ip"), (1, "ip -n rdom1"), (2, "ip -n rdom2")] {
            let theirs = json(&format!("{prefix} -j link"));
            let names = |value: &Value| -> BTreeSet<String> {
                list(value).iter().map(|link| text(link, "ifname")).collect()
            };
            let ours = &seen[number]["interfaces"];
            let ours: BTreeSet<_> =
                list(ours).iter().map(|name| name.as_str().expect("a name").to_owned()).collect();
            assert_eq!(ours, names(&theirs));
            assert_eq!(seen[number]["domain"], number);
        }
        let shown = ok("rdom netstat -R");
        assert!(shown.contains("Rdomain 1\n  Interfaces: lo wg1\n  Routing table: 1\n"), "{shown}");
        ok("rdom down");
    });
}

#[test]
fn ifconfig_has_the_kernels_interfaces() {
    in_private_copies("views::ifconfig_has_the_kernels_interfaces", || {
        up();
        let seen = json("rdom ifconfig --json");
        for (number, prefix) in [(0, "ip"), (1, "ip -n rdom1"), (2, "ip -n rdom2")] {
            let theirs = json(&format!("{prefix} -j address"));
            let ours: Vec<_> = list(&seen).iter().filter(|interface| interface["domain"] == number).collect();
            assert_eq!(ours.len(), list(&theirs).len());
            for (ours, theirs) in ours.iter().zip(list(&theirs)) {
                assert_eq!(ours["name"], theirs["ifname"]);
                assert_eq!(ours["index"], theirs["ifindex"]);
                assert_eq!(ours["mtu"], theirs["mtu"]);
                let own = |value: &Value| format!("{}/{}", text(value, "local"), value["prefixlen"]);
                let theirs: Vec<_> = list(&theirs["addr_info"]).iter().map(own).collect();
                let ours: Vec<_> =
                    list(&ours["addresses"]).iter().map(|value| text(value, "address")).collect();
                assert_eq!(ours, theirs);
            }
        }
        let key = ok("wg show wg1 public-key");
        let shown = ok("rdom ifconfig wg1");
        assert!(shown.starts_with("wg1: flags=") && shown.contains(" rdomain 1 mtu 1420\n"), "{shown}");
        for line in [&format!("\twgpubkey {key}"), "\twgport 7111\n", "\t\twgaip 192.168.5.2/32\n"] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
        assert_eq!(ok("rdom ifconfig 1/wg1"), shown);
        assert_eq!(sh("rdom ifconfig wg9").ends_with(1).err, "wg9: no such interface\n");
        ok("rdom down");
    });
}

#[test]
fn status_says_what_wg_says() {
    in_private_copies("views::status_says_what_wg_says", || {
        up();
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        let seen = json("rdom status --json");
        let wg1 = &seen["domains"][1]["interfaces"][1];
        assert_eq!(wg1["name"], "wg1");
        let (tunnel, peer) = (&wg1["tunnel"], &wg1["tunnel"]["peers"][0]);
        assert_eq!(tunnel["engine"], "userspace");
        assert_eq!(tunnel["sockets_in"], serde_json::json!([0]));
        let transfer = ok("wg show wg1 transfer");
        let words: Vec<_> = transfer.split_whitespace().collect();
        assert_eq!(peer["public_key"], words[0]);
        assert_eq!(
            (peer["rx_bytes"].to_string(), peer["tx_bytes"].to_string()),
            (words[1].into(), words[2].into())
        );
        assert_eq!(peer["name"], "wg2");
        assert!(peer["last_handshake_secs_ago"].as_u64().is_some_and(|secs| secs < 60), "{peer:#}");
        sh("rdom status").ends_with(0).says("1/wg1").says("userspace");
        ok("rdom down");
    });
}

#[test]
fn nobody_needs_to_read_to_the_end_and_colours_are_for_terminals() {
    in_private_copies("views::nobody_needs_to_read_to_the_end_and_colours_are_for_terminals", || {
        up();
        for verb in
            ["ifconfig", "netstat -R", "netstat -ln", "route -T1 show", "status", "status --json", "check"]
        {
            let shown = sh(&format!("rdom {verb} | true")).ends_with(0);
            assert_eq!(shown.err, "", "rdom {verb}");
        }
        let bad = sh("echo domains: {x: 3} | rdom check -").ends_with(2);
        assert!(!bad.err.contains('\x1b'), "{bad:#?}");
        ok("rdom down");
    });
}
