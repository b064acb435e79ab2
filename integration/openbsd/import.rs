//! `rdom import` of shell scripts: the manual page's means what `domains.yaml` means, and our own what they came from.

use std::path::Path;

use rdomain::convert::openbsd::import::{self, Settled};
use rdomain::model::{DomainName, Kind, Network, NetworkName};
use rdomain::spec::{self, Source};

use super::golden::{MANUAL, file};

fn settled(script: &str) -> Settled {
    let host = import::script(script).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(host.remarks, []);
    let settled = host.settle(NetworkName::new("test").unwrap());
    assert_eq!(settled.lost, [""; 0]);
    settled
}

/// By way of the file that it is written as.
fn imported(script: &str) -> Network {
    let settled = settled(script);
    assert!(settled.secrets.is_empty() && settled.files.is_empty());
    let text = spec::write(&settled.network, &settled.files);
    let lowered = spec::read(&Source::new(Path::new("test.yaml"), text.clone()));
    lowered.unwrap_or_else(|errors| panic!("{errors}\n{text}")).network
}

/// The same but for what a script has no words for: the names of domains, peers and the network.
fn nameless(mut network: Network) -> Network {
    network.name = NetworkName::new("test").unwrap();
    for (&id, domain) in &mut network.domains {
        domain.name = DomainName::of_number(id);
        for held in domain.interfaces.values_mut() {
            let Kind::WireGuard(tunnel) = &mut held.kind else { continue };
            tunnel.peers.values_mut().for_each(|peer| peer.name = None);
        }
    }
    network
}

#[test]
fn the_manual_pages_script_means_what_the_demo_means() {
    assert_eq!(nameless(imported(MANUAL)), nameless(file("domains.yaml")));
    let reaches = settled(MANUAL).reaches;
    let reaches: Vec<String> = reaches.iter().map(|(domain, ip)| format!("{domain} {ip}")).collect();
    assert_eq!(reaches, ["1 192.168.5.2", "2 192.168.5.1"]);
}

#[test]
fn a_plan_that_is_imported_means_what_it_came_from() {
    for (script, yaml) in [
        (include_str!("../golden/domains.openbsd"), "domains.yaml"),
        (include_str!("../golden/openbsd.openbsd"), "examples/openbsd.yaml"),
    ] {
        assert_eq!(nameless(imported(script)), nameless(file(yaml)));
    }
}

/// Keys that stand in the script get into files of their own, and are named.
#[test]
fn secrets_are_put_into_files() {
    let key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    let script = format!(
        "ifconfig wg0 wgkey {key} rdomain 4\n\
         ifconfig wg0 wgpeer P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8= wgpsk `cat b.psk` wgdescr 'site b' \\\n\
           wgendpoint vpn.example.org 51820 wgpka 25 wgaip 10.0.0.0/8\n\
         ifconfig wg0 inet 10.0.0.1\n\
         route -T4 add default 10.0.0.2\n\
         sysctl net.inet.ip.forwarding=1\n"
    );
    let mut settled = settled(&script);
    let held: Vec<_> =
        settled.secrets.values().map(|file| (file.name.to_str(), file.text.as_str())).collect();
    assert_eq!(held, [(Some("wg0.key"), key)]);
    let named = settled.secrets.iter().map(|(name, file)| (name.clone(), file.name.clone()));
    settled.files.extend(named);
    let text = spec::write(&settled.network, &settled.files);
    assert!(!text.contains(key), "{text}");
    let expected = "\
domains:
  4:
    interfaces:
      wg0:
        addresses: [10.0.0.1/8]
        wireguard:
          private_key_file: wg0.key
          peers:
            site-b: {public_key: P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=, preshared_key_file: b.psk, endpoint: \"vpn.example.org:51820\", allowed_ips: [10.0.0.0/8], persistent_keepalive: 25}
    routes:
      - {to: default, via: 10.0.0.2, dev: wg0}
    sysctls:
      net.ipv4.ip_forward: 1
";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn what_is_not_understood_is_told_by_line() {
    let errors = import::script("ifconfig wg1 rdomain 256\npfctl -e\nroute -T1 monitor\n").unwrap_err();
    let told: Vec<String> = errors.iter().map(|error| format!("{}: {error}", error.line)).collect();
    assert_eq!(
        told,
        [
            "1: ifconfig: rdomain 256: too large",
            "2: pfctl: neither ifconfig(8) nor route(8)",
            "3: route monitor: neither `add` nor `delete`",
        ]
    );
    let lost = import::script("ifconfig wg1 10.0.0.1/24\nifconfig wg1 rdomain 1\n").unwrap();
    assert_eq!(lost.remarks[0].to_string(), "wg1 loses its addresses by moving to rdomain 1");
}
