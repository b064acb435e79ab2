//! Facts that a kernel could have told, for tests.

use super::facts::{
    AddressFacts, Counters, LinkFacts, LinkKind, NeighbourFacts, NeighbourState, NextHop, RouteFacts,
    RouteType,
};
use crate::model::DomainId;

pub(super) fn domain(number: u32) -> DomainId {
    DomainId::new(number).unwrap()
}

fn link(index: u32, name: &str, kind: LinkKind, flags: u32, addresses: &[&str]) -> LinkFacts {
    let facts = |text: &&str| AddressFacts {
        network: text.parse().unwrap(),
        destination: None,
        broadcast: None,
        flags: 0x80,
    };
    let addresses = addresses.iter().map(facts).collect();
    let (name, mtu) = (name.to_owned(), 1500);
    let counters = Counters::default();
    LinkFacts { index, name, kind, flags, mtu, lladdr: None, alias: None, master: None, counters, addresses }
}

pub(super) fn bare_lo() -> LinkFacts {
    LinkFacts { mtu: 65536, ..link(1, "lo", LinkKind::Loopback, 0x49, &[]) }
}

pub(super) fn lo() -> LinkFacts {
    LinkFacts { mtu: 65536, ..link(1, "lo", LinkKind::Loopback, 0x49, &["127.0.0.1/8", "::1/128"]) }
}

/// A TUN device as Linux has it: point-to-point, and without a broadcast address.
pub(super) fn wg1() -> LinkFacts {
    let kind = LinkKind::Virtual("tun".to_owned());
    LinkFacts { mtu: 1420, ..link(5, "wg1", kind, 0x10d1, &["192.168.5.1/24"]) }
}

pub(super) fn eth0() -> LinkFacts {
    let addresses = ["192.0.2.1/24", "fd00::1/64", "fe80::1/64"];
    let lladdr = Some("02:00:00:00:00:01".to_owned());
    LinkFacts { lladdr, ..link(2, "eth0", LinkKind::Ethernet, 0x1043, &addresses) }
}

pub(super) fn unplugged_eth0() -> LinkFacts {
    LinkFacts { flags: 0x1003, ..eth0() }
}

pub(super) fn eth1() -> LinkFacts {
    LinkFacts { index: 3, name: "eth1".to_owned(), ..eth0() }
}

pub(super) fn facts(route_type: RouteType, to: &str, via: &[&str], index: u32) -> RouteFacts {
    let hop = |via: Option<&&str>| NextHop { via: via.map(|via| via.parse().unwrap()), index };
    let hops = match via {
        [] => vec![hop(None)],
        several => several.iter().map(|via| hop(Some(via))).collect(),
    };
    let to = to.parse().unwrap();
    RouteFacts { route_type, to, hops, src: None, metric: 0, protocol: 2, mtu: None, mtu_locked: false }
}

pub(super) fn wg1_routes() -> Vec<RouteFacts> {
    let src = Some("192.168.5.1".parse().unwrap());
    let with_src = |route| RouteFacts { src, ..route };
    vec![
        with_src(facts(RouteType::Broadcast, "192.168.5.255/32", &[], 5)),
        with_src(facts(RouteType::Local, "192.168.5.1/32", &[], 5)),
        with_src(facts(RouteType::Unicast, "192.168.5.0/24", &[], 5)),
    ]
}

pub(super) fn every_kind() -> Vec<RouteFacts> {
    let by = |protocol, route| RouteFacts { protocol, ..route };
    let metric = |metric, route| RouteFacts { metric, ..route };
    let gone = |route| RouteFacts { hops: vec![], ..route };
    let default = facts(RouteType::Unicast, "0.0.0.0/0", &["192.0.2.254"], 2);
    vec![
        RouteFacts { mtu: Some(1400), mtu_locked: true, ..by(4, default) },
        by(188, facts(RouteType::Unicast, "10.1.0.0/16", &["192.0.2.9"], 2)),
        by(4, facts(RouteType::Unicast, "10.2.0.0/16", &["192.0.2.7", "192.0.2.8"], 2)),
        by(3, facts(RouteType::Unicast, "10.3.0.0/16", &[], 2)),
        gone(by(4, facts(RouteType::Unreachable, "10.66.0.0/16", &[], 0))),
        gone(by(4, facts(RouteType::Blackhole, "10.67.0.1/32", &[], 0))),
        facts(RouteType::Local, "127.0.0.0/8", &[], 1),
        facts(RouteType::Local, "127.0.0.1/32", &[], 1),
        facts(RouteType::Unicast, "192.0.2.0/24", &[], 2),
        facts(RouteType::Local, "192.0.2.1/32", &[], 2),
        facts(RouteType::Broadcast, "192.0.2.255/32", &[], 2),
        metric(256, facts(RouteType::Unicast, "fd00::/64", &[], 2)),
        facts(RouteType::Local, "fd00::1/128", &[], 2),
        metric(256, facts(RouteType::Unicast, "fe80::/64", &[], 2)),
        metric(256, facts(RouteType::Multicast, "ff00::/8", &[], 2)),
    ]
}

pub(super) fn neighbours() -> Vec<NeighbourFacts> {
    let resolved = NeighbourState::Resolved("02:00:00:00:00:fe".to_owned());
    vec![
        NeighbourFacts { address: "192.0.2.254".parse().unwrap(), index: 2, state: resolved },
        NeighbourFacts { address: "192.0.2.8".parse().unwrap(), index: 2, state: NeighbourState::Incomplete },
    ]
}

pub(super) fn two_defaults() -> Vec<RouteFacts> {
    let by_hand = |metric, route| RouteFacts { protocol: 4, metric, ..route };
    vec![
        by_hand(0, facts(RouteType::Unicast, "0.0.0.0/0", &["192.0.2.254"], 2)),
        by_hand(10, facts(RouteType::Unicast, "0.0.0.0/0", &["192.0.2.254"], 3)),
    ]
}
