use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;
use crate::model::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source(path: &Path) -> Source {
    let source = Source::new(Path::new(path.file_name().unwrap()), fs::read_to_string(path).unwrap());
    Source { reader: Some(beside), ..source }
}

/// A file that another one names, from the directory of bad ones or of examples.
fn beside(path: &Path) -> std::io::Result<String> {
    let places = ["src/spec/bad", "examples"].map(|place| root().join(place).join(path));
    fs::read_to_string(places.iter().find(|path| path.exists()).unwrap_or(&places[0]))
}

fn domain(number: u32) -> DomainId {
    DomainId::new(number).unwrap()
}

fn end(number: u32, interface: &str) -> End {
    End { domain: domain(number), interface: InterfaceName::new(interface).unwrap() }
}

#[test]
fn the_manual_page_lowers() {
    let lowered = read(&source(&root().join("domains.yaml"))).unwrap_or_else(|error| panic!("{error}"));
    assert!(lowered.warnings.is_empty(), "{}", lowered.warnings);
    let network = &lowered.network;
    assert_eq!(network.name.as_str(), "domains");
    assert_eq!(network.domains.keys().map(|id| id.number()).collect::<Vec<_>>(), [0, 1, 2]);
    let (at, wg1) = network.tunnels().next().unwrap();
    let (key, peer) = wg1.peers.first_key_value().unwrap();
    assert_eq!((at, wg1.listen_port, wg1.underlay), (end(1, "wg1"), Some(7111), DomainId::DEFAULT));
    assert_eq!((key, &wg1.key), (&Key::Of(end(2, "wg2")), &Key::Of(end(1, "wg1"))));
    assert_eq!(peer.endpoint.as_ref().unwrap().to_string(), "127.0.0.1");
    assert_eq!(peer.allowed_ips, ["192.168.5.2/32".parse().unwrap()].into());
    let names: Vec<&str> = lowered.tests.iter().map(|test| test.name.as_str()).collect();
    assert_eq!(
        names[2..],
        ["0: ping 192.168.5.2 is unreachable", "0: socket udp/7111", "1: no socket udp/7111"]
    );
    let peer = Object::Peer(end(1, "wg1"), "unheard of".into());
    assert_eq!(lowered.origins.place(&peer).map(|place| (place.line, place.column)), Some((5, 7)));
}

/// One file for each diagnostic, the rendered text beside it. `UPDATE_GOLDEN=1` writes the texts anew.
#[test]
fn bad_input_is_explained() {
    let mut wrong = Vec::new();
    let cases = yaml_files(&root().join("src/spec/bad"));
    for case in &cases {
        let rendered = match read(&source(case)) {
            Ok(lowered) => lowered.warnings.and(lowered.notes).to_string(),
            Err(diagnostics) => diagnostics.to_string(),
        };
        assert!(!rendered.is_empty(), "nothing is wrong with {}", case.display());
        let golden = case.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, format!("{rendered}\n")).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != format!("{rendered}\n") {
            wrong.push(format!("{}:\n{rendered}", case.display()));
        }
    }
    assert!(cases.len() > 50, "{} cases", cases.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

#[test]
fn every_example_lowers_in_silence_and_tests_itself() {
    let examples = yaml_files(&root().join("examples"));
    assert!(examples.len() >= 9, "{examples:?}");
    for example in examples {
        let lowered = read(&source(&example)).unwrap_or_else(|error| panic!("{error}"));
        assert!(lowered.warnings.is_empty(), "{}", lowered.warnings);
        assert!(!lowered.tests.is_empty(), "{} asserts nothing", example.display());
    }
}

fn lower(text: &str) -> Lowered {
    read(&Source::new(Path::new("/etc/rdom/test.yaml"), text.to_owned()))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn interface<'a>(lowered: &'a Lowered, at: &End) -> &'a Interface {
    lowered.network.interface(at).unwrap_or_else(|| panic!("no {at}"))
}

fn addresses(interface: &Interface) -> Vec<String> {
    interface.addresses.iter().map(Address::to_string).collect()
}

#[test]
fn a_network_is_called_after_its_file() {
    let called = |path: &str| Source::new(Path::new(path), String::new()).network.to_string();
    for (path, name) in
        [("/a/b.yaml", "b"), ("-", "network"), ("x y.yml", "x-y"), ("default.yaml", "network")]
    {
        assert_eq!(called(path), name, "{path}");
    }
    for (text, name) in [
        ("{name: blue, domains: {}}", "blue"),
        ("domains: {1: {lo: {addresses: []}}}\nlinks: []\nname: 'blue'", "blue"),
        ("domains: {1: {sysctls: {net.ipv4.ip_forward: 1}}}", "test"),
        ("&a domains: {&b 7: {}, red: {rdomain: 8}}\nname: green", "green"),
    ] {
        let source = Source::new(Path::new("/etc/rdom/test.yaml"), text.to_owned());
        assert_eq!((lower(text).network.name.as_str(), source.name().as_str()), (name, name), "{text}");
    }
}

#[test]
fn every_domain_but_0_has_a_loopback() {
    let lowered = lower("domains: {1: {}, 2: {lo: {addresses: []}}, 3: {lo: {addresses: [127.0.0.53/8]}}}");
    assert!(lowered.network.domains[&DomainId::DEFAULT].interfaces.is_empty());
    let of = |number| addresses(interface(&lowered, &end(number, "lo")));
    assert_eq!(of(1), ["127.0.0.1/8", "::1/128"]);
    assert_eq!(of(2), [""; 0]);
    assert_eq!(of(3), ["127.0.0.53/8"]);
    assert_eq!(interface(&lowered, &end(2, "lo")).kind, Kind::Loopback);
    let named = lower("domains: {0: {lo: {addresses: [10.0.0.1/32]}}}");
    assert_eq!(interface(&named, &end(0, "lo")).kind, Kind::Existing);
}

#[test]
fn a_peer_of_the_file_needs_nothing_said() {
    let lowered = lower(
        "defaults: {engine: userspace}
domains:
  blue: {rdomain: 1, interfaces: {wg0: {addresses: [10.0.0.1/24, 'fd00::1/64'], wireguard: {peers: {2/wg0: {}}}}}}
  2: {interfaces: {wg0: {addresses: [10.0.0.2/24], wireguard: {engine: kernel, peers: {blue/wg0: {}}}}}}",
    );
    let tunnel = interface(&lowered, &end(2, "wg0")).wireguard().unwrap();
    let peer = &tunnel.peers[&Key::Of(end(1, "wg0"))];
    assert_eq!(
        (peer.name.as_deref(), tunnel.listen_port, tunnel.engine),
        (Some("blue/wg0"), None, Engine::Kernel)
    );
    assert_eq!(peer.endpoint.as_ref().map(ToString::to_string).as_deref(), Some("127.0.0.1"));
    let allowed: Vec<String> = peer.allowed_ips.iter().map(Prefix::to_string).collect();
    assert_eq!(allowed, ["10.0.0.1/32", "fd00::1/128"]);
    assert_eq!(interface(&lowered, &end(1, "wg0")).wireguard().unwrap().engine, Engine::Userspace);
}

#[test]
fn an_endpoint_is_not_guessed_across_underlays() {
    let lowered = lower(
        "domains:
  1: {interfaces: {wg0: {addresses: [10.0.0.1/24], wireguard: {peers: {2/wg0: {}}}}}}
  2: {interfaces: {wg0: {addresses: [10.0.0.2/24], wireguard: {underlay: 3, peers: {1/wg0: {endpoint: host.example}}}}}}
  3: {}",
    );
    let tunnel = interface(&lowered, &end(1, "wg0")).wireguard().unwrap();
    assert_eq!(tunnel.peers[&Key::Of(end(2, "wg0"))].endpoint, None);
    let tunnel = interface(&lowered, &end(2, "wg0")).wireguard().unwrap();
    assert_eq!(tunnel.underlay, domain(3));
    let host = Host::Name("host.example".into());
    assert_eq!(tunnel.peers[&Key::Of(end(1, "wg0"))].endpoint, Some(Endpoint { host, port: None }));
}

#[test]
fn secrets_are_paths_beside_the_file() {
    let lowered = lower(
        "domains:
  1:
    interfaces:
      wg0:
        addresses: [10.0.0.1/24]
        wireguard:
          private_key_file: blue.key
          peers:
            laptop:
              public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
              preshared_key_file: /run/credentials/psk
              allowed_ips: [10.0.0.9]
              persistent_keepalive: 25",
    );
    let psk = SecretName::PresharedKey(end(1, "wg0"), "laptop".into());
    let expected = [
        (SecretName::PrivateKey(end(1, "wg0")), "/etc/rdom/blue.key".into()),
        (psk.clone(), "/run/credentials/psk".into()),
    ];
    assert_eq!(lowered.secrets, expected.into());
    let (key, peer) =
        interface(&lowered, &end(1, "wg0")).wireguard().unwrap().peers.first_key_value().unwrap();
    assert_eq!(key.to_string(), "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=");
    assert_eq!((peer.preshared_key.clone(), peer.persistent_keepalive_secs), (Some(Preshared::Of(psk)), 25));
    assert_eq!(peer.endpoint, None);
}

#[test]
fn links_make_their_ends_and_bridges_take_them() {
    let lowered = lower(
        "domains:
  1: {interfaces: {eth0: {addresses: [10.0.0.1/24, 'fd00::1/64'], dad: true, mtu: 9000}}}
  2: {interfaces: {br0: {bridge: {ports: [p1]}, up: false}}}
links: [{ends: [1/eth0, 2/p1]}, {ends: [1/eth1, 0/veth1]}]",
    );
    let eth0 = interface(&lowered, &end(1, "eth0"));
    assert_eq!(eth0.kind, Kind::Veth { peer: end(2, "p1") });
    let detected: Vec<bool> = eth0.addresses.iter().map(|address| address.duplicate_detection).collect();
    assert_eq!((eth0.mtu, detected), (Some(9000), vec![false, true]));
    let port = interface(&lowered, &end(2, "p1"));
    assert_eq!(port.controller.as_ref().map(InterfaceName::as_str), Some("br0"));
    assert!(!interface(&lowered, &end(2, "br0")).up);
    assert_eq!(interface(&lowered, &end(0, "veth1")).kind, Kind::Veth { peer: end(1, "eth1") });
    let place = lowered.origins.place(&Object::Interface(end(0, "veth1"))).unwrap();
    assert_eq!((place.line, place.column), (4, 49));
}

#[test]
fn names_that_a_shared_namespace_has_twice_are_the_kernels_everywhere() {
    let text = "defaults: {isolation: vrf}
domains:
  1: {interfaces: {eth0: {addresses: [10.0.0.1/24]}, wg0: {addresses: [10.1.0.1/24], wireguard: {peers: {2/wg0: {}}}}}}
  2:
    interfaces:
      eth0: {addresses: [10.0.0.2/24]}
      eth0.7: {vlan: {parent: eth0, id: 7}}
      wg0: {addresses: [10.1.0.2/24], wireguard: {private_key_file: k, peers: {1/wg0: {preshared_key_file: p}}}}
      br0: {bridge: {ports: [port]}}
      port: {dummy: {}}
    routes: [{to: 10.9.0.0/16, via: 10.0.0.1}, {to: 10.8.0.0/16, nexthops: [{via: 10.0.0.1}, {via: 10.0.0.9}]}]
    rtables: {20: {routes: [{to: default, dev: wg0}]}}
    rules: [{iif: eth0, rtable: 20}]
    sysctls: {net.ipv4.conf.eth0.rp_filter: 2}
  3: {isolation: netns, interfaces: {eth0: {dummy: {}}, port: {dummy: {}}}}
links: [{ends: [1/eth0, 2/eth0]}]
tests:
  - {in: 2, handshake: wg0, peer: 1/wg0}
  - {in: 2, route: 10.9.0.1, dev: eth0}
steps: [{cut: 2/eth0}]
";
    let source = Source::new(Path::new("/etc/rdom/shared.yaml"), text.to_owned());
    let lowered = read(&source).unwrap();
    let names = |id| lowered.network.domains[&domain(id)].interfaces.keys().map(InterfaceName::as_str);
    assert_eq!(names(1).collect::<Vec<_>>(), ["eth0", "lo", "wg0"]);
    assert_eq!(names(2).collect::<Vec<_>>(), ["br0", "eth0-2", "eth0.7", "lo", "port", "wg0-2"]);
    assert_eq!(names(3).collect::<Vec<_>>(), ["eth0", "lo", "port"]);
    // Nothing of domain 2 goes by a name that is domain 1's, but for what leads there.
    let two = format!("{:?}", lowered.network.domains[&domain(2)]);
    for name in ["eth0", "wg0"] {
        let leads_there = format!("DomainId(1), interface: InterfaceName(\"{name}\")");
        assert!(!two.replace(&leads_there, "").contains(&format!("\"{name}\"")), "{two}");
    }
    assert!(two.contains("net.ipv4.conf.eth0-2.rp_filter"), "{two}");
    let eth0 = interface(&lowered, &end(1, "eth0"));
    assert_eq!(eth0.kind, Kind::Veth { peer: end(2, "eth0-2") });
    let tunnel = interface(&lowered, &end(1, "wg0")).wireguard().unwrap();
    assert!(tunnel.peers.contains_key(&Key::Of(end(2, "wg0-2"))));
    let tunnel = interface(&lowered, &end(2, "wg0-2")).wireguard().unwrap();
    let psk = SecretName::PresharedKey(end(2, "wg0-2"), "1/wg0".into());
    assert_eq!(tunnel.peers[&Key::Of(end(1, "wg0"))].preshared_key, Some(Preshared::Of(psk.clone())));
    assert!(
        [SecretName::PrivateKey(end(2, "wg0-2")), psk].iter().all(|name| lowered.secrets.contains_key(name))
    );
    let place = lowered.origins.own_place(&Object::Interface(end(2, "wg0-2"))).unwrap();
    assert_eq!((place.line, place.column), (8, 7));
    // Tests say it as the file does, and look at the kernel's.
    assert_eq!(lowered.tests[0].name, "2: handshake of wg0 with 1/wg0");
    let asserted: Vec<_> = lowered.tests.iter().map(|test| test.assertion.to_string()).collect();
    assert_eq!(asserted, ["handshake of wg0-2 with 1/wg0", "route to 10.9.0.1 dev eth0-2"]);
    assert!(
        matches!(&lowered.steps[..], [Turn::Act(Act { action: crate::spec::Action::Cut(at), .. })] if *at == end(2, "eth0-2"))
    );
}

#[test]
fn routes_find_their_interface_and_their_metric() {
    let lowered = lower(
        "domains:
  0: {routes: [{to: 10.9.0.0/16, via: 192.0.2.1, dev: uplink0}]}
  1:
    interfaces:
      wg0: {addresses: [10.0.0.1/8, 'fd00::1/64'], wireguard: {}}
      wg1: {addresses: [10.1.0.1/16], wireguard: {}}
    routes:
      - {to: default, via: 10.1.0.254, src: 10.0.0.1}
      - {to: default, via: 'fd00::254'}
      - {to: 192.0.2.1/32, dev: wg1}
      - {to: 198.51.100.0/24, via: 192.0.2.1, metric: 7}
      - {to: 203.0.113.0/24, via: 172.16.0.1, dev: wg0, onlink: true}
      - {to: 'fd01::/16', type: prohibit, metric: 0}
    sysctls: {net.ipv4.ip_local_port_range: '1024  65000', net.ipv4.conf.eth0/7.rp_filter: 0}",
    );
    let shown =
        |number| lowered.network.domains[&domain(number)].routes.iter().map(Route::to_string).collect();
    let shown: [Vec<String>; 2] = [shown(0), shown(1)];
    assert_eq!(shown[0], ["10.9.0.0/16 via 192.0.2.1 dev uplink0"]);
    assert_eq!(
        shown[1],
        [
            "default via 10.1.0.254 dev wg1 src 10.0.0.1",
            "192.0.2.1/32 dev wg1",
            "198.51.100.0/24 via 192.0.2.1 dev wg1 metric 7",
            "203.0.113.0/24 via 172.16.0.1 dev wg0 onlink",
            "default (IPv6) via fd00::254 dev wg0",
            "prohibit fd01::/16",
        ]
    );
    let sysctls: Vec<&str> =
        lowered.network.domains[&domain(1)].sysctls.values().map(String::as_str).collect();
    assert_eq!(sysctls, ["0", "1024 65000"]);
}

#[test]
fn isolations_are_the_domains_own_or_the_default() {
    let lowered = lower("{defaults: {isolation: vrf}, domains: {0: {}, 1: {}, 2: {isolation: netns+vrf}}}");
    let isolations: Vec<String> =
        lowered.network.domains.values().map(|domain| domain.isolation.to_string()).collect();
    assert_eq!(isolations, ["netns", "vrf", "netns+vrf"]);
    assert_eq!(lower("domains: {1: {}}").network.domains[&domain(1)].isolation, Isolation::Auto);
    assert!(lowered.warnings.is_empty() && lowered.notes.errors() == 0 && !lowered.notes.is_empty());
}

#[test]
fn a_tunnel_over_a_vrf_has_the_engine_that_can() {
    let lowered = lower(
        "domains:
  1: {isolation: vrf}
  2: {interfaces: {wg0: {addresses: [10.0.0.1/24], wireguard: {underlay: 1}}}}",
    );
    assert_eq!(interface(&lowered, &end(2, "wg0")).wireguard().unwrap().engine, Engine::Userspace);
}

#[test]
fn kinds_stand_on_their_parents() {
    let lowered = lower(
        "domains:
  1:
    interfaces:
      d0: {dummy: {}}
      v7: {vlan: {parent: d0, id: 7}}
      m0: {macvlan: {parent: 0/eth0}}
      vx0: {vxlan: {id: 42, underlay: 2, local: 10.0.0.1, remote: 10.0.0.2}}
  2: {}",
    );
    assert_eq!(interface(&lowered, &end(1, "d0")).kind, Kind::Dummy);
    assert_eq!(interface(&lowered, &end(1, "v7")).kind, Kind::Vlan { parent: end(1, "d0"), id: 7 });
    assert_eq!(interface(&lowered, &end(1, "m0")).kind, Kind::Macvlan { parent: end(0, "eth0") });
    assert_eq!(interface(&lowered, &end(0, "eth0")).kind, Kind::Existing);
    let Kind::Vxlan(vxlan) = &interface(&lowered, &end(1, "vx0")).kind else { panic!() };
    assert_eq!((vxlan.id, vxlan.underlay, vxlan.port), (42, domain(2), 4789));
    assert_eq!(vxlan.remote, Some("10.0.0.2".parse().unwrap()));
}

#[test]
fn rtables_have_routes_and_rules_ask_for_them() {
    let lowered = lower(
        "domains:
  blue:
    rdomain: 1
    interfaces: {wg0: {addresses: [10.0.0.1/24, 'fd00::1/64'], wireguard: {}}}
    routes: [{to: default, nexthops: [{via: 10.0.0.254}, {via: 'fd00::254', weight: 3}]}]
    rtables:
      10: {routes: [{to: default, via: 10.0.0.253}, {to: 10.9.0.0/16, via: 'fd00::253'}]}
      20: {}
    rules:
      - {fwmark: 0x7/0xff, rtable: 10}
      - {uid: 1000-1999, iif: lo, rtable: blue, priority: 50}
      - {from: 10.0.0.0/24, to: 10.9.0.0/16, uid: 7, rtable: 20}",
    );
    let blue = &lowered.network.domains[&domain(1)];
    let routes = |number: u32| -> Vec<String> {
        blue.rtables[&RtableId::new(number).unwrap()].iter().map(Route::to_string).collect()
    };
    let own: Vec<String> = blue.routes.iter().map(Route::to_string).collect();
    let ways = "nexthop via 10.0.0.254 dev wg0 weight 1 nexthop via fd00::254 dev wg0 weight 3";
    assert_eq!(own, [format!("default {ways}")]);
    assert_eq!(routes(10), ["default via 10.0.0.253 dev wg0", "10.9.0.0/16 via fd00::253 dev wg0"]);
    assert_eq!(routes(20), [""; 0]);
    let rules: Vec<String> = blue.rules.iter().map(Rule::to_string).collect();
    assert_eq!(
        rules,
        [
            "50: iif lo uid 1000-1999 rtable 1",
            "100: fwmark 0x7/0xff rtable 10",
            "101: from 10.0.0.0/24 to 10.9.0.0/16 uid 7-7 rtable 20",
        ]
    );
    let place = |object| lowered.origins.place(&object).map(|place| place.line);
    assert_eq!(place(Object::Rule(domain(1), 101)), Some(12));
    let route = Object::Route(domain(1), RtableId::new(10).unwrap(), "0.0.0.0/0".parse().unwrap(), 0);
    assert_eq!(place(route), Some(7));
}

#[test]
fn tests_mean_what_they_say() {
    let lowered = lower(
        "domains: {blue: {rdomain: 1}}
tests:
  - {in: blue, tcp: '[fd00::1]:80', expect: refused, within: 250ms}
  - {in: 1, exec: [sh, -c, 'exit 3'], status: 3, stdout: hello, name: a shell}",
    );
    let [tcp, exec] = &lowered.tests[..] else { panic!("{:?}", lowered.tests) };
    let to = "[fd00::1]:80".parse().unwrap();
    assert_eq!(tcp.assertion, Assertion::Tcp { to, serve: None, expect: Connection::Refused });
    assert_eq!((tcp.inside, tcp.time().as_millis()), (Some(domain(1)), 250));
    assert_eq!((tcp.name.as_str(), exec.name.as_str()), ("blue: tcp [fd00::1]:80 is refused", "a shell"));
    let command = ["sh", "-c", "exit 3"].map(String::from).into();
    assert_eq!(exec.assertion, Assertion::Exec { command, status: 3, stdout: Some("hello".into()) });
    assert_eq!(exec.place.line, 4);
}

#[test]
fn anchors_are_copies() {
    let lowered = lower(
        "domains:
  1: {sysctls: &forward {net.ipv4.ip_forward: 1}}
  2: {sysctls: *forward}",
    );
    assert_eq!(lowered.network.domains[&domain(1)].sysctls, lowered.network.domains[&domain(2)].sysctls);
}

/// Texts that are nearly right: an example with a stretch of it cut, doubled or replaced.
fn nearly_right() -> impl Strategy<Value = String> {
    let examples: Vec<String> = yaml_files(&root().join("examples"))
        .into_iter()
        .chain(yaml_files(&root().join("src/spec/bad")))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let piece = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,4}",
        prop::sample::select(vec![
            "",
            "{",
            "}",
            "[",
            "]",
            ": ",
            "- ",
            "\n",
            "\n  ",
            "&a ",
            "*a",
            "!t ",
            "null",
            "~",
            "'",
            "\"",
            "#",
            "|",
            "? ",
            "<<: ",
            "0",
            "-1",
            "99999999999999999999",
            "::1",
            "ä",
            "\u{feff}",
            "\t",
            "\r\n",
            "---\n",
            "...\n",
        ])
        .prop_map(String::from),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, piece), 1..6);
    (prop::sample::select(examples), edits).prop_map(|(mut text, edits)| {
        for (at, length, piece) in edits {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let stop = text.floor_char_boundary((start + length).min(text.len()));
            text.replace_range(start..stop, &piece);
        }
        text
    })
}

/// Whatever the text: no panic, every place inside of it, and an error if there is no network.
fn check_total(text: &str) {
    let diagnostics = match read(&Source::new(Path::new("x.yaml"), text.to_owned())) {
        Ok(lowered) => lowered.warnings,
        Err(diagnostics) => {
            assert!(diagnostics.errors() > 0);
            diagnostics
        }
    };
    for place in diagnostics.iter().filter_map(|diagnostic| diagnostic.place) {
        assert!(text.get(place.start..place.end).is_some(), "{place:?} of {text:?}");
        let line = text[..place.start].matches('\n').count() + 1;
        assert!(
            place.line == line || text.contains(['\r', '\u{feff}']),
            "{place:?}, line {line} of {text:?}"
        );
    }
    assert!(diagnostics.to_string().contains("x.yaml") || diagnostics.is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        check_total(&text);
    }

    #[test]
    fn no_mistake_makes_it_panic(text in nearly_right()) {
        check_total(&text);
    }
}
