use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::model::{Bindings, Capabilities};
use crate::plan::bind;
use crate::spec::{Source, read};

fn script_of(text: &str) -> String {
    let source = Source::new(Path::new("net.yaml"), text.to_owned());
    let lowered = read(&source).unwrap_or_else(|errors| panic!("{errors}"));
    let capabilities = Capabilities { kernel_wireguard: true, ..Capabilities::PLAIN };
    let network = bind(&lowered.network, &Bindings::default(), &capabilities);
    script(&network, KeyFiles { named: &BTreeMap::new(), directory: Path::new("/keys") })
}

#[test]
fn the_manual_pages_example_is_what_a_person_would_type() {
    insta::assert_snapshot!(script_of(include_str!("../../../domains.yaml")), @r#"
        #!/bin/sh
        # Network net: `sh net.sh up` makes it, `sh net.sh down` removes it. As root.
        set -e
        case ${1:-} in
        up)
            (umask 077; mkdir -p /keys)
            [ -e /keys/1-wg1 ] || (umask 077; wg genkey >/keys/1-wg1)
            [ -e /keys/2-wg2 ] || (umask 077; wg genkey >/keys/2-wg2)
            ip netns add rdom1
            ip netns add rdom2
            ip link add name wg1 netns rdom1 type wireguard
            ip netns exec rdom1 wg set wg1 listen-port 7111 private-key /keys/1-wg1
            ip link add name wg2 netns rdom2 type wireguard
            ip netns exec rdom2 wg set wg2 listen-port 7222 private-key /keys/2-wg2
            ip -n rdom1 address add 127.0.0.1/8 dev lo
            ip -n rdom1 address add ::1/128 dev lo nodad
            ip -n rdom1 address add 192.168.5.1/24 dev wg1
            ip netns exec rdom1 wg set wg1 peer "$(wg pubkey </keys/2-wg2)" endpoint 127.0.0.1:7222 allowed-ips 192.168.5.2/32
            ip -n rdom2 address add 127.0.0.1/8 dev lo
            ip -n rdom2 address add ::1/128 dev lo nodad
            ip -n rdom2 address add 192.168.5.2/24 dev wg2
            ip netns exec rdom2 wg set wg2 peer "$(wg pubkey </keys/1-wg1)" endpoint 127.0.0.1:7111 allowed-ips 192.168.5.1/32
            ip -n rdom1 link set dev lo up
            ip -n rdom1 link set dev wg1 up
            ip -n rdom2 link set dev lo up
            ip -n rdom2 link set dev wg2 up
            ;;
        down)
            ip netns delete rdom1
            ip netns delete rdom2
            ;;
        *)
            echo "usage: sh $0 up|down" >&2
            exit 2
            ;;
        esac
    "#);
}

#[test]
fn words_are_quoted_for_the_shell() {
    assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
    assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    assert_eq!(quoted("[::1]:7"), "'[::1]:7'");
    assert_eq!(quoted(""), "''");
}
