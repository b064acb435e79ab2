//! A host with two uplinks: its peer is reached by one of them, and then by the other.
//!
//! ```text
//!                 +-- u1 192.0.2.2 ----- 192.0.2.1 ------+
//! namespace a: wga|                                      |r, b: wgb at 203.0.113.1
//!                 +-- u2 198.51.100.2 -- 198.51.100.1 ---+
//! ```
//!
//! The provider at the other end takes no packet whose source address is of the other uplink (rp_filter), as real ones
//! do not.

use std::time::{Duration, Instant};

use super::world::{OURS, Topology, dump, in_private_copy, ping, run};

/// Without looking at routes it takes 15 seconds until the address is given up.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn a_tunnel_goes_on_by_the_other_uplink() {
    in_private_copy("roaming::a_tunnel_goes_on_by_the_other_uplink", || {
        let topology = Topology::between(OURS, OURS);
        add_uplinks(&topology);
        assert!(ping("a", "10.9.0.2"));
        assert_eq!(dump("wgb").endpoint, "192.0.2.2:1111");

        run("ip -n a route replace default via 198.51.100.1");
        assert_goes_on("198.51.100.2:1111", "after another default route");
        run("ip -n a route replace default via 192.0.2.1");
        assert_goes_on("192.0.2.2:1111", "and back");

        run("ip -n a route add default via 198.51.100.1 metric 100");
        run("ip -n a link set u1 down");
        assert_goes_on("198.51.100.2:1111", "after the first uplink went down");
    });
}

/// The same address is kept while the way to the peer stays, whatever else changes.
#[test]
fn a_peer_is_still_answered_from_the_address_that_it_spoke_to() {
    in_private_copy("roaming::a_peer_is_still_answered_from_the_address_that_it_spoke_to", || {
        let topology = Topology::between(OURS, OURS);
        add_uplinks(&topology);
        run("ip -n a address add 192.0.2.3/24 dev u1");
        let peer = &topology.public_keys[0];
        run(&format!("wg set wgb peer {peer} endpoint 192.0.2.3:1111"));
        assert!(ping("b", "10.9.0.1"));
        assert_eq!(dump("wgb").endpoint, "192.0.2.3:1111");

        run("ip -n a route add 10.77.0.0/16 via 198.51.100.1");
        run("ip -n a link set u2 down");
        std::thread::sleep(Duration::from_secs(1));
        assert!(ping("a", "10.9.0.2"));
        assert_eq!(dump("wgb").endpoint, "192.0.2.3:1111");
    });
}

/// A host whose rules send by each uplink what comes from its address: the default route is another one's.
#[test]
fn a_rule_that_looks_at_the_address_keeps_it() {
    in_private_copy("roaming::a_rule_that_looks_at_the_address_keeps_it", || {
        let topology = Topology::between(OURS, OURS);
        add_uplinks(&topology);
        run("ip -n a rule add from 198.51.100.2 lookup 100");
        run("ip -n a route add default via 198.51.100.1 table 100");
        run("ip -n b route add 198.51.100.2/32 dev u2 src 203.0.113.1");
        let peer = &topology.public_keys[0];
        run(&format!("wg set wgb peer {peer} endpoint 198.51.100.2:1111"));
        assert!(ping("b", "10.9.0.1"));
        assert_eq!(dump("wga").endpoint, "203.0.113.1:2222");

        run("ip -n a route add 10.77.0.0/16 via 192.0.2.1");
        std::thread::sleep(Duration::from_secs(1));
        assert!(ping("a", "10.9.0.2"));
        assert_eq!(dump("wgb").endpoint, "198.51.100.2:1111");
    });
}

/// Gives both namespaces the second way to each other.
pub(super) fn add_uplinks(topology: &Topology) {
    for (name, near, far) in [("u1", "192.0.2.2", "192.0.2.1"), ("u2", "198.51.100.2", "198.51.100.1")] {
        run(&format!("ip -n a link add {name} type veth peer name {name} netns b"));
        run(&format!("ip -n a address add {near}/24 dev {name} && ip -n a link set {name} up"));
        run(&format!("ip -n b address add {far}/24 dev {name} && ip -n b link set {name} up"));
    }
    run("ip -n b address add 203.0.113.1/32 dev lo");
    run("nsenter --net=/run/netns/b sysctl -qw net.ipv4.conf.all.rp_filter=1");
    run("ip -n a route add default via 192.0.2.1");
    let peer = &topology.public_keys[1];
    run(&format!("wg set wga peer {peer} endpoint 203.0.113.1:2222"));
}

fn assert_goes_on(endpoint: &str, when: &str) {
    let start = Instant::now();
    while dump("wgb").endpoint != endpoint {
        ping("a", "10.9.0.2");
        assert!(start.elapsed() < SOON, "{when} the tunnel stands still: {}", dump("wgb").endpoint);
    }
    assert!(ping("a", "10.9.0.2"), "{when}");
}
