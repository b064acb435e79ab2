//! Properties of wg(4), rows 44 to 50, with the kernel's engine where there is one, so in the guest, and else with ours.

use super::{no_copies, seen, tunnels};
use crate::capability::lacks;

/// Keys of nobody here, in their order of value.
const STRANGERS: [&str; 2] =
    ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="];

/// `key NUMBER` is the public key of tunnel wgNUMBER of domain NUMBER; `answers FROM TO` whether one ping is.
const WORDS: &str = r#"
    key() { "$RDOM" exec $1 wg show wg$1 public-key; }
    answers() { "$RDOM" exec $1 ping -c 1 -W "$2" 192.168.5.$3 > /dev/null 2>&1 && echo answered || echo silent; }
"#;

/// What a script says of two tunnels in two domains, and whether the kernel's engine runs them. Nobody puts back what it
/// changes.
fn said_of(change: impl Fn(String) -> String, script: &str) -> Option<(String, bool)> {
    if no_copies() || lacks("tun") || lacks("wg") {
        return None;
    }
    let by_kernel = !lacks("wireguard");
    let engine = if by_kernel { "kernel" } else { "userspace" };
    let network = format!("defaults: {{drift: off, engine: {engine}}}\n{}", tunnels(1, 2));
    Some((seen(&change(network), &format!("{WORDS}{script}")), by_kernel))
}

/// As it says of the tunnels as they are.
fn said(script: &str) -> Option<String> {
    said_of(|network| network, script).map(|(said, _)| said)
}

/// 44: by wg(8) a prefix moves, in silence, to the peer that got it last.
#[test]
fn a_prefix_moves_to_the_peer_that_got_it_last() {
    let [one, other] = STRANGERS;
    let script = format!(
        r#"set() {{ "$RDOM" exec 1 wg set wg1 peer "$1" allowed-ips 10.9.0.0/16; }}
        set {one}; set {other}
        "$RDOM" exec 1 wg show wg1 allowed-ips | grep -e {one} -e {other} | sort"#
    );
    let Some(said) = said(&script) else { return };
    assert_eq!(said, format!("{one}\t(none)\n{other}\t10.9.0.0/16\n"));
}

/// 45: peers and their prefixes stand in order of value, in whatever order they came.
#[test]
fn peers_and_prefixes_stand_in_order_of_value() {
    let [one, other] = STRANGERS;
    let script = format!(
        r#"for key in {other} {one}; do "$RDOM" exec 1 wg set wg1 peer $key; done
        "$RDOM" exec 1 wg set wg1 peer {one} allowed-ips 10.9.0.0/16,10.8.0.0/16,10.7.0.0/16
        "$RDOM" ifconfig wg1 | awk '$1 == "wgpeer" || $1 == "wgaip" && $2 ~ /^10/ {{print $2}}' | grep -v "$(key 2)""#
    );
    let Some(said) = said(&script) else { return };
    assert_eq!(said, format!("{one}\n10.7.0.0/16\n10.8.0.0/16\n10.9.0.0/16\n{other}\n"));
}

/// 46: an interface is never its own peer.
#[test]
fn a_peer_with_the_interfaces_own_key_is_ignored() {
    let script = r#"
        "$RDOM" exec 1 wg set wg1 peer "$(key 1)" allowed-ips 10.9.0.0/16
        "$RDOM" exec 1 wg show wg1 peers | grep -c .
        "$RDOM" exec 1 wg show wg1 peers | grep -cF "$(key 2)""#;
    let Some(said) = said(script) else { return };
    assert_eq!(said, "1\n1\n");
}

/// 47: a name is looked up where the tunnel's sockets are; a peer without an endpoint is answered, and known from then on.
#[test]
fn a_peer_without_an_endpoint_is_answered_and_then_known() {
    let by_name = |network: String| network.replace("1/wg1: {}", "1/wg1: {endpoint: localhost}");
    let script = r#"
        key=$(key 2)
        "$RDOM" exec 1 wg set wg1 peer "$key" remove
        "$RDOM" exec 1 wg set wg1 peer "$key" allowed-ips 192.168.5.2/32
        answers 1 1 2; answers 2 20 1; answers 1 20 2
        "$RDOM" exec 1 wg show wg1 endpoints | grep -c 127.0.0.1:"#;
    let Some((said, _)) = said_of(by_name, script) else { return };
    assert_eq!(said, "silent\nanswered\nanswered\n1\n");
}

/// 49: keepalives that are set while the interface is down begin when it goes up: a session without a packet of anybody.
#[test]
fn keepalives_that_are_set_while_it_is_down_begin_when_it_goes_up() {
    let script = r#"
        "$RDOM" exec 1 ip link set wg1 down
        "$RDOM" exec 1 wg set wg1 peer "$(key 2)" persistent-keepalive 1
        "$RDOM" exec 2 wg show wg2 latest-handshakes | cut -f2
        "$RDOM" exec 1 ip link set wg1 up
        until "$RDOM" exec 2 wg show wg2 latest-handshakes | grep -qv '\b0$'; do sleep 0.1; done
        "$RDOM" exec 1 wg show wg1 persistent-keepalive | cut -f2"#;
    let Some(said) = said(script) else { return };
    assert_eq!(said, "0\n1\n");
}

/// 50: nothing is sent where no peer is, and nothing is taken from a source that is not the sender's.
#[test]
fn the_longest_prefix_decides_where_to_and_where_from() {
    let script = r#"
        answers 2 20 1
        received() { "$RDOM" exec 1 awk '/wg1:/ {print $3}' /proc/net/dev; }
        sent() { "$RDOM" exec 1 wg show wg1 transfer | cut -f3; }
        "$RDOM" exec 2 ip address add 10.7.7.7/32 dev wg2
        before=$(received)
        "$RDOM" exec 2 ping -I 10.7.7.7 -c 2 -i 0.2 -W 1 192.168.5.1 > /dev/null 2>&1 || echo dropped
        echo $(( $(received) - before ))
        before=$(sent)
        "$RDOM" exec 1 ping -c 1 -W 1 192.168.5.9 2>&1 | grep -o 'Required key not available' || true
        echo $(( $(sent) - before ))"#;
    let Some((said, by_kernel)) = said_of(|network| network, script) else { return };
    let refused = if by_kernel { "Required key not available\n" } else { "" };
    assert_eq!(said, format!("answered\ndropped\n0\n{refused}0\n"));
}
