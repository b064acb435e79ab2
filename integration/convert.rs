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
use world::{json, ok, write};

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

fn the_script_makes_what_up_makes(file: &Path) {
    let (before, text) = (seen(), fs::read_to_string(file).expect("an example"));
    let usual =
        if text.contains("wireguard") { "{isolation: netns, engine: kernel}" } else { "{isolation: netns}" };
    write("net.yaml", &format!("{text}\ndefaults: {usual}\n"));
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
