//! `rdom import` of shell scripts: the manual page's means what `domains.yaml` means, and our own what they came from.

use std::path::Path;

use rdomain::convert::{import, yaml};
use rdomain::model::{DomainName, Network, NetworkName};
use rdomain::spec::{self, Source};

use super::golden::{MANUAL, file};

fn imported(script: &str) -> (Network, String) {
    let host = import::script(script).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(host.remarks, []);
    let (text, by_hand) = yaml::yaml(&host, "test");
    assert_eq!(by_hand, [""; 0]);
    let lowered = spec::read(&Source::new(Path::new("test.yaml"), text.clone()));
    (lowered.unwrap_or_else(|errors| panic!("{errors}\n{text}")).network, text)
}

/// The same but for what a script has no words for: the names of domains and of the network.
fn nameless(mut network: Network) -> Network {
    network.name = NetworkName::new("test").unwrap();
    for (&id, domain) in &mut network.domains {
        domain.name = DomainName::of_number(id);
    }
    network
}

#[test]
fn the_manual_pages_script_means_what_the_demo_means() {
    let (network, text) = imported(MANUAL);
    assert_eq!(nameless(network), nameless(file("domains.yaml")));
    assert!(
        text.ends_with("tests:\n  - {in: 1, ping: 192.168.5.2}\n  - {in: 2, ping: 192.168.5.1}\n"),
        "{text}"
    );
}

#[test]
fn a_plan_that_is_imported_means_what_it_came_from() {
    for (script, yaml) in [
        (include_str!("../golden/domains.openbsd"), "domains.yaml"),
        (include_str!("../golden/openbsd.openbsd"), "examples/openbsd.yaml"),
    ] {
        assert_eq!(nameless(imported(script).0), nameless(file(yaml)));
    }
}

/// Keys that stand in the script do not get into the file.
#[test]
fn secrets_stay_where_they_are() {
    let key = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
    let script = format!(
        "ifconfig wg0 wgkey {key} rdomain 4\n\
         ifconfig wg0 wgpeer P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8= wgpsk {key} wgdescr 'site b' \\\n\
           wgendpoint vpn.example.org 51820 wgpka 25 wgaip 10.0.0.0/8\n\
         ifconfig wg0 inet 10.0.0.1\n\
         route -T4 add default 10.0.0.2\n\
         sysctl net.inet.ip.forwarding=1\n"
    );
    let host = import::script(&script).unwrap();
    let (text, by_hand) = yaml::yaml(&host, "test");
    assert!(!text.contains(key), "{text}");
    assert_eq!(by_hand.len(), 2, "{by_hand:?}");
    let expected = "\
  4:
    interfaces:
      wg0:
        addresses: [10.0.0.1/8]
        wireguard:
          listen_port: auto
          private_key_file: wg0.key
          peers:
            site-b: {public_key: \"P8Ij+K/McBqRKe29qRtriBjP/Zo0jKjSsN3bIOeDkw8=\", endpoint: \"vpn.example.org:51820\", allowed_ips: [10.0.0.0/8], preshared_key_file: wg0-site-b.psk, persistent_keepalive: 25}
    routes:
      - {to: default, via: 10.0.0.2}
    sysctls: {net.ipv4.ip_forward: 1}
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
