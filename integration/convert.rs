//! Other people's words against the kernel: what a script of ours makes is what `rdom up` makes, and a file of
//! wg-quick(8) is the same tunnel for wg-quick and for us. ip(8) and wg(8) are the judges.

mod capability;

#[expect(dead_code, reason = "wg-quick(8) and scripts of ip(8) want to be root")]
mod copy;

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "verbs/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use capability::lacks;
use copy::in_roots_copy;
use serde_json::Value;
use world::{json, ok, sh, wait_for, write};

/// What every kernel makes by itself, and what takes WireGuard and kinds of interfaces that some kernels lack.
const PLAIN: [&str; 4] = ["multipath", "router-chain", "rtables", "switch"];
const OF_KINDS: [&str; 2] = ["../domains", "kinds"];

#[test]
fn the_script_of_an_example_makes_what_up_makes() {
    in_roots_copy("the_script_of_an_example_makes_what_up_makes", || {
        let whole = !["wireguard", "dummy", "vlan", "macvlan", "vxlan"].into_iter().any(lacks);
        let names: &[&str] = if whole { &OF_KINDS } else { &PLAIN };
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        names.iter().for_each(|name| the_script_makes_what_up_makes(&examples.join(format!("{name}.yaml"))));
    });
}

/// What a script set up goes over to a file: what that makes is the same.
#[test]
fn what_a_script_has_set_up_goes_over_to_a_file() {
    in_roots_copy("what_a_script_has_set_up_goes_over_to_a_file", || {
        let whole = !["wireguard", "dummy", "vlan", "macvlan", "vxlan"].into_iter().any(lacks);
        let names: &[&str] = if whole { &OF_KINDS } else { &PLAIN };
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        for name in names {
            let text = fs::read_to_string(examples.join(format!("{name}.yaml"))).expect("an example");
            write("net.yaml", &format!("{text}\ndefaults: {}\n", usual(&text)));
            ok("rdom up -d net.yaml && rdom down");
            ok("rdom export net.yaml > net.sh && sh net.sh up");
            let before = seen();
            ok("rm -rf keys");
            imported(usual(&text));
            assert_eq!(seen(), before, "an import touches nothing");
            ok("sh net.sh down && rdom up -d taken.yaml");
            let different: Vec<_> = before.symmetric_difference(&seen()).cloned().collect();
            assert!(different.is_empty(), "{name}: {different:#?}");
            ok("rdom plan taken.yaml && rdom down");
        }
    });
}

/// What stands now, as `taken.yaml`; that file, and what was told.
fn imported(defaults: &str) -> String {
    ok("rdom --network taken import --live > taken.yaml 2> told");
    ok(&format!("echo 'defaults: {defaults}' >> taken.yaml; cat told taken.yaml"))
}

/// By hand: names of the administrator's own, a switch, rules, a further table.
const BY_HAND: &str = "\
set -e
ip netns add green
ip netns add rdom7
ip link add g0 netns green type veth peer name r0 netns rdom7
for at in 'green g0 10.1.0.1/24 fd01::1/64' 'rdom7 r0 10.1.0.2/24 fd01::2/64'; do
    set -- $at
    ip -n $1 link set lo up
    ip -n $1 address add $3 dev $2
    ip -n $1 address add $4 dev $2 nodad
    ip -n $1 link set $2 mtu 1400 up
done
ip link add h0 type veth peer name g1 netns green
ip address add 10.2.0.1/30 dev h0
ip link set h0 up
ip -n green link set g1 up
ip -n green link add br0 type bridge
ip -n green link set g1 master br0
ip -n green address add 10.2.0.2/30 dev br0
ip -n green link set br0 up
ip netns exec green sysctl -qw net.ipv4.ip_forward=1
ip -n green route add default via 10.2.0.1
ip -n green route add blackhole 10.66.0.0/16
ip -n green route add 10.7.0.0/16 via 10.1.0.2 table 77
ip -n green rule add fwmark 7 lookup 77 priority 100
ip -n green -6 rule add fwmark 7 lookup 77 priority 100
ip route add 10.3.0.0/16 via 10.2.0.2
";

/// Nothing of it is missing; what comes in addition is what every domain has: ::1 as an address with its route, and
/// the end of a further table.
#[test]
fn what_was_typed_goes_over_to_a_file() {
    in_roots_copy("what_was_typed_goes_over_to_a_file", || {
        write("hand.sh", BY_HAND);
        ok("sh hand.sh");
        let before = seen();
        // A routing daemon's, and what belongs to no domain.
        ok("ip -n rdom7 route add 10.9.0.0/16 proto bird via 10.1.0.1");
        ok("ip link add b0 type veth peer name b1");
        let told = imported("{isolation: netns}");
        for words in ["green:", "rdomain: 1", "  7:", "- {to: 10.3.0.0/16, via: 10.2.0.2, dev: h0}"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("10.9.0.0") && !told.contains("b0"), "{told}");
        // What stands is somebody else's.
        sh("rdom up -d taken.yaml").ends_with(1).says("green");
        ok("ip link del b0; ip netns del green; ip netns del rdom7");
        ok("for i in $(seq 200); do ip link show h0 >/dev/null 2>&1 || exit 0; sleep 0.05; done; exit 1");
        ok("rdom up -d taken.yaml");
        let after = seen();
        assert_eq!(before.difference(&after).collect::<Vec<_>>(), [""; 0], "{told}");
        let more = |told: &&String| !told.contains("::1") && !told.contains("\"77\"");
        assert_eq!(after.difference(&before).filter(more).collect::<Vec<_>>(), [""; 0]);
        ok("rdom plan taken.yaml && rdom down");
    });
}

/// A VRF of the default domain's namespace, with one end of a cable in it.
const VRF: &str = "\
set -e
ip link set lo up
ip netns add green
ip link add blue type vrf table 10
ip link set blue up
ip link add p0 type veth peer name e0 netns green
ip link set p0 master blue up
ip address add 10.5.0.1/24 dev p0
ip route add 10.6.0.0/16 via 10.5.0.2 table 10
ip -n green link set lo up
ip -n green link set e0 up
ip -n green address add 10.5.0.2/24 dev e0
";

#[test]
fn a_vrf_goes_over_to_a_file() {
    in_roots_copy("a_vrf_goes_over_to_a_file", || {
        if lacks("vrf") {
            return;
        }
        write("vrf.sh", VRF);
        ok("sh vrf.sh");
        // Each line less who made it; a kernel says more of a table than was typed.
        let own = || {
            let text = ok("ip route show table 10 && ip -br -4 address show dev p0");
            text.replace("proto 114 ", "").lines().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let before = own();
        let told = imported("{isolation: netns}");
        assert!(
            told.contains("blue:") && told.contains("rdomain: 10") && told.contains("isolation: vrf"),
            "{told}"
        );
        ok("ip netns del green; ip link del blue; ip link del p0 2>/dev/null || true");
        ok("rdom up -d taken.yaml");
        let after = own();
        assert_eq!(before.difference(&after).collect::<Vec<_>>(), [""; 0], "{told}\n{after:#?}");
        ok("rdom exec blue ping -c 1 -W 5 10.5.0.2");
        ok("rdom plan taken.yaml && rdom down");
    });
}

/// A namespace whose interfaces are all in one VRF, as people give their routers a table of their own.
const ROUTER: &str = "\
set -e
ip netns add far
ip netns add router
ip -n router link set lo up
ip -n router link add red type vrf table 30
ip -n router link set red up
ip -n router route add table 30 unreachable default metric 4278198272
ip -n router link add br0 type bridge
ip -n router link set br0 master red up
ip link add e0 netns router type veth peer name f0 netns far
ip -n router link set e0 master br0 up
ip -n router address add 10.5.0.1/24 dev br0
ip -n router route add 10.6.0.0/16 via 10.5.0.2 table 30
ip -n far link set lo up
ip -n far link set f0 up
ip -n far address add 10.5.0.2/24 dev f0
";

#[test]
fn a_namespace_that_is_a_vrf_goes_over_to_a_file() {
    in_roots_copy("a_namespace_that_is_a_vrf_goes_over_to_a_file", || {
        if lacks("vrf") {
            return;
        }
        write("router.sh", ROUTER);
        ok("sh router.sh");
        wait_for("the carrier", || sh("ip -n router -br link show dev br0 | grep -w UP").status == 0);
        let own = || {
            let text = ok("ip -n router -4 route show table 30; ip -n router -br -4 address show dev br0");
            text.replace("proto 114 ", "")
                .replace("linkdown ", "")
                .lines()
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        let before = own();
        let told = imported("{}");
        for words in ["router:", "rdomain: 30", "isolation: netns+vrf", "{ports: [e0]}", "isolation: netns\n"]
        {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("4278198272") && !told.contains("left out"), "{told}");
        ok("ip netns del far; ip netns del router");
        ok("rdom up -d taken.yaml");
        assert_eq!(own(), before, "{told}");
        ok("rdom exec router ping -c 1 -W 5 10.5.0.2");
        ok("rdom plan taken.yaml && rdom down");
        // Two in one namespace are no domain's.
        ok("sh router.sh && ip -n router link add other type vrf table 31");
        let told = imported("{}");
        assert!(told.contains("left out: namespace router: VRF red, with what is in it"), "{told}");
        assert!(!told.contains("e0") && !told.contains("10.5.0.1"), "{told}");
    });
}

/// What this program made says who made it: the plan of its import is empty, tunnels in user space and all.
#[test]
fn a_network_of_ours_is_what_its_import_asks_for() {
    in_roots_copy("a_network_of_ours_is_what_its_import_asks_for", || {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut names = vec!["../domains", "dual-stack", "hub-and-spoke", "nested", "switch", "rtables"];
        if !["dummy", "vlan", "macvlan", "vxlan"].into_iter().any(lacks) {
            names.push("kinds");
        }
        for name in names {
            let text = fs::read_to_string(examples.join(format!("{name}.yaml"))).expect("an example");
            write("net.yaml", &format!("{text}\ndefaults: {{engine: userspace}}\n"));
            ok("rdom up -d net.yaml && rm -rf keys");
            let told = ok("rdom import --live > taken.yaml 2> told; cat told taken.yaml");
            assert!(!told.contains("left out"), "{name}: {told}");
            let planned = sh("rdom plan taken.yaml");
            assert_eq!(planned.status, 0, "{name}: {planned:#?}\n{told}");
            ok("rdom down");
        }
    });
}

/// Half of a rule would be another rule.
#[test]
fn a_rule_that_a_file_has_no_words_for_is_told_and_left_out() {
    in_roots_copy("a_rule_that_a_file_has_no_words_for_is_told_and_left_out", || {
        let rules = [
            "not fwmark 7 table 100",
            "from all lookup main suppress_prefixlength 0",
            "from 10.9.0.0/16 ipproto tcp dport 80 lookup 100",
            "from 10.9.0.0/16 tos 0x10 lookup 100",
            "to 10.9.0.0/16 oif lo lookup 100",
            "from 10.9.0.0/16 prohibit",
            "from 10.9.0.0/16 lookup local",
        ];
        ok("ip netns add green && ip -n green rule add from 10.8.0.0/16 lookup 100 priority 49");
        for (rule, priority) in rules.iter().zip(50..) {
            ok(&format!("ip -n green rule add {rule} priority {priority}"));
        }
        let told = imported("{}");
        for priority in 50..50 + rules.len() {
            assert!(told.contains(&format!("left out: domain 1: rule of priority {priority}: ")), "{told}");
            assert!(!told.contains(&format!("priority: {priority}")), "{told}");
        }
        assert!(told.contains("{from: 10.8.0.0/16, rtable: 100, priority: 49}"), "{told}");
        assert!(!told.contains("rule of priority 49"), "{told}");
    });
}

/// A tunnel in user space whose sockets are in the default domain, with a secret.
#[test]
fn a_tunnel_of_wireguard_go_goes_over_to_a_file() {
    in_roots_copy("a_tunnel_of_wireguard_go_goes_over_to_a_file", || {
        if ["wireguard-go", "wg"].into_iter().any(lacks) {
            return;
        }
        ok("mkdir -p /run/wireguard && ip link set lo up && ip netns add green && wireguard-go wg1");
        wait_for("the engine", || sh("ip link show wg1 && wg show wg1").status == 0);
        ok("wg genkey > key; wg genpsk > psk; wg genkey | wg pubkey > peer");
        ok("ip link set wg1 netns green && ip -n green address add 10.8.0.1/24 dev wg1");
        ok("ip -n green link set lo up && ip -n green link set wg1 up");
        ok("wg set wg1 listen-port 7111 private-key key peer $(cat peer) preshared-key psk \
            endpoint 127.0.0.1:7222 persistent-keepalive 25 allowed-ips 10.8.0.2/32,fd00::/8");
        let sorted = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let before = sorted(ok("wg showconf wg1"));
        ok("wg set wg1 fwmark 7");
        let told = imported("{isolation: netns}");
        assert!(
            told.contains("engine: userspace") && told.contains("private_key_file: keys/1-wg1.key"),
            "{told}"
        );
        assert!(told.contains("left out: 1/wg1: the mark 0x7 of its encrypted packets"), "{told}");
        let secrets = ok("cat key psk");
        assert!(secrets.lines().all(|secret| !told.contains(secret)));
        assert_eq!(ok("stat -c %a keys/* | sort -u"), "600\n");
        ok("ip netns del green; rm -f /run/wireguard/wg1.sock");
        wait_for("the end of wireguard-go", || !ok("ss -Hlun").contains(":7111 "));
        ok("rdom up -d taken.yaml");
        assert_eq!(sorted(ok("rdom wg showconf green/wg1")), before);
        assert!(ok("ss -Hlun").contains(":7111 "), "the sockets are in the default domain");
        ok("rdom plan taken.yaml && rdom down");
    });
}

fn the_script_makes_what_up_makes(file: &Path) {
    let (before, text) = (seen(), fs::read_to_string(file).expect("an example"));
    write("net.yaml", &format!("{text}\ndefaults: {}\n", usual(&text)));
    // Ports and keys that the file leaves open are made by the first `up`.
    ok("rdom up -d net.yaml && rdom down");
    ok("rdom export net.yaml > net.sh && sh net.sh up");
    let by_script = seen();
    ok("sh net.sh down");
    assert_eq!(seen(), before, "after the script of {}", file.display());
    ok("rdom up -d net.yaml");
    let by_us = seen();
    let different: Vec<_> = by_script.symmetric_difference(&by_us).collect();
    assert!(different.is_empty(), "{}: {different:#?}", file.display());
    ok("rdom down");
}

/// What the file's domains and tunnels are, as a script's are.
fn usual(text: &str) -> &'static str {
    if text.contains("wireguard") { "{isolation: netns, engine: kernel}" } else { "{isolation: netns}" }
}

/// What there is in every namespace, as ip(8) and wg(8) tell it, without what says who made it.
fn seen() -> BTreeSet<String> {
    let names = ok("ip netns list");
    let names = names.lines().filter_map(|line| line.split_whitespace().next());
    let places = std::iter::once(String::new()).chain(names.map(|name| format!("-n {name}")));
    places.flat_map(|place| seen_at(&place)).collect()
}

fn seen_at(place: &str) -> Vec<String> {
    let mut found = Vec::new();
    for interface in items(json(&format!("ip {place} -j address"))) {
        let up = items(interface["flags"].clone()).iter().any(|flag| flag == "UP");
        found.push(format!("{place}: {} mtu {} up {up}", interface["ifname"], interface["mtu"]));
        for address in items(interface["addr_info"].clone()) {
            let told = format!("{}/{} on {}", address["local"], address["prefixlen"], interface["ifname"]);
            found.push(format!("{place}: {told}"));
        }
    }
    for words in ["-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule"] {
        for mut object in items(json(&format!("ip {place} -j {words}"))) {
            let fields = object.as_object_mut().expect("an object");
            ["protocol", "flags"].iter().for_each(|field| drop(fields.remove(*field)));
            found.push(format!("{place} {words}: {object}"));
        }
    }
    // Addresses of the link's own follow from its random Ethernet address; groups come when the link does.
    found.retain(|told| !told.contains("fe80:") && !told.contains("ff00:"));
    found.extend(tunnels_at(place));
    found
}

fn tunnels_at(place: &str) -> Option<String> {
    let inside = place.strip_prefix("-n ").map_or(String::new(), |name| format!("ip netns exec {name} "));
    let told = ok(&format!("for i in $({inside}wg show interfaces); do {inside}wg showconf $i; done"));
    let lines: BTreeSet<_> = told.lines().collect();
    (!lines.is_empty()).then(|| format!("{place}: {lines:?}"))
}

fn items(list: Value) -> Vec<Value> {
    let Value::Array(items) = list else { return Vec::new() };
    // A listing of addresses begins with an empty object for each interface that has none.
    items.into_iter().filter(|item| item.as_object().is_none_or(|object| !object.is_empty())).collect()
}

const QUICK: &str = "\
[Interface]
PrivateKey = KEY
ListenPort = 51821
Address = 10.7.0.2/24, fd07::2/64
MTU = 1400

[Peer]
# office
PublicKey = PEER
PresharedKey = SHARED
AllowedIPs = 10.7.0.1/32, 10.8.0.0/16, fd08::/32
Endpoint = 127.0.0.1:51999
PersistentKeepalive = 25
";

#[test]
fn a_file_of_wg_quick_becomes_the_same_tunnel() {
    in_roots_copy("a_file_of_wg_quick_becomes_the_same_tunnel", || {
        if ["wg-quick", "wireguard-go"].into_iter().any(lacks) {
            return;
        }
        let mut text = QUICK.to_owned();
        for word in ["KEY", "SHARED"] {
            text = text.replacen(&format!("= {word}"), &format!("= {}", ok("wg genkey").trim()), 1);
        }
        text = text.replacen("= PEER", &format!("= {}", ok("wg genkey | wg pubkey").trim()), 1);
        write("vpn0.conf", &text);
        ok("chmod 600 vpn0.conf");

        ok("wg-quick up ./vpn0.conf");
        let theirs = tunnel("", "vpn0");
        ok("wg-quick down ./vpn0.conf");

        ok(
            "rdom import vpn0.conf > vpn.yaml && echo 'defaults: {isolation: netns}' >> vpn.yaml && rdom up -d vpn.yaml",
        );
        assert_eq!(tunnel("ip netns exec vpn0 ", "vpn0"), theirs);
        assert_eq!(ok("stat -c %a keys/*"), "600\n600\n");

        // And back again.
        ok(
            "mkdir back && rdom export vpn.yaml --format wg-quick > back/vpn0.conf && chmod 600 back/vpn0.conf",
        );
        ok("rdom down && wg-quick up ./back/vpn0.conf");
        assert_eq!(tunnel("", "vpn0"), theirs);
        ok("wg-quick down ./back/vpn0.conf");

        // And with its secrets in it, for another machine.
        assert_eq!(ok("rdom export vpn.yaml --format wg-quick --to away"), "away/vpn0.conf\n");
        assert_eq!(
            ok("stat -c %a away/vpn0.conf; rdom export vpn.yaml --format wg-quick --to away"),
            "600\n"
        );
        ok("rm -r keys && wg-quick up ./away/vpn0.conf");
        assert_eq!(tunnel("", "vpn0"), theirs);
        ok("wg-quick down ./away/vpn0.conf && echo >> away/vpn0.conf");
        let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hub-and-spoke.yaml");
        let written = ok(&format!("rdom export {} --format wg-quick --to hub", hub.display()));
        assert_eq!(written, "hub/alpha/wg0.conf\nhub/beta/wg0.conf\nhub/gamma/wg0.conf\nhub/hub/wg0.conf\n");
    });
}

/// Configuration, size, addresses and routes of a tunnel.
fn tunnel(inside: &str, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    found.extend(ok(&format!("{inside}wg showconf {name}")).lines().map(str::to_owned));
    for interface in items(json(&format!("{inside}ip -j address show dev {name}"))) {
        found.insert(format!("mtu {}", interface["mtu"]));
        let addresses = items(interface["addr_info"].clone()).into_iter().filter(|a| a["scope"] == "global");
        found.extend(addresses.map(|address| format!("{}/{}", address["local"], address["prefixlen"])));
    }
    for family in ["-4", "-6"] {
        let routes = items(json(&format!("{inside}ip {family} -j route show dev {name}")));
        found.extend(routes.into_iter().map(|route| format!("{} {}", route["dst"], route["metric"])));
    }
    found.retain(|told| !told.contains("fe80:") && !told.contains("FwMark"));
    found
}
