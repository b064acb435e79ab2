//! Linux routes in OpenBSD's words (net/route.h of both). What is a mapping, not a fact:
//!
//! - flags: `C` and `n` for a network of an own address, `l` and `b` for the kernel's local table, `R` for
//!   unreachable, prohibit and throw, `B` for blackhole, `S` for what no routing daemon or redirect made,
//!   `P` for several ways to one destination, `L` and `c` for a neighbour, `h` for one that is a gateway;
//! - `L` on a local route: always with Ethernet; on a tunnel only while the domain's loopback has no address of the
//!   family (p2p_rtrequest of sys/net/if.c);
//! - gateway: an own address for connected and broadcast routes, the link address or the interface's name for local
//!   ones, and for routes that drop 127.0.0.1 or ::1 on `lo`, where OpenBSD has them;
//! - a host route that the kernel made beside the local one of the same own address (IPv6 has it for /128) is left out:
//!   the local table is asked first, so no packet ever meets it;
//! - priority: 1 local, 3 neighbour, 4 connected, 32 to 56 for routing daemons, else 8, or the metric if it is not the
//!   kernel's default.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::facts::{LinkFacts, NeighbourFacts, NeighbourState, NextHop, RouteFacts, RouteType};
use super::prefix::scoped;
use super::route::{RouteFlag, RouteRow};
use crate::model::{Prefix, Route};

const PRIORITY_LOCAL: u32 = 1;
const PRIORITY_NEIGHBOUR: u32 = 3;
const PRIORITY_CONNECTED: u32 = 4;
const PRIORITY_STATIC: u32 = 8;

/// A row for each route and gateway and each neighbour, unordered.
pub(super) fn rows(
    routes: &[RouteFacts],
    neighbours: &[NeighbourFacts],
    links: &[LinkFacts],
) -> Vec<RouteRow> {
    let seen = routes.iter().filter(|route| !is_hidden(route, routes));
    let mut rows: Vec<RouteRow> = seen.flat_map(|route| route_rows(route, links)).collect();
    mark_multipath(&mut rows);
    let gateways: BTreeSet<IpAddr> = rows.iter().filter_map(|row| row.via).collect();
    rows.extend(neighbours.iter().filter_map(|neighbour| neighbour_row(neighbour, &gateways, links)));
    rows
}

/// The row of a route by one of its ways.
pub(super) fn row(route: &RouteFacts, hop: Option<&NextHop>, links: &[LinkFacts]) -> RouteRow {
    let link = hop.and_then(|hop| links.iter().find(|link| link.index == hop.index));
    let via = hop.and_then(|hop| hop.via);
    let drops = is_dropped(route.route_type);
    RouteRow {
        to: route.to,
        route_type: route.route_type.word().to_owned(),
        gateway: if drops { loopback_of(route.to).to_string() } else { gateway(route, via, link) },
        via,
        dev: if drops { "lo".to_owned() } else { name_of(link, hop) },
        src: route.src,
        metric: route.metric,
        protocol: protocol_word(route.protocol),
        flags: flags(route, via, link, links),
        priority: priority(route, via),
        mtu: route.mtu,
        mtu_locked: route.mtu_locked,
    }
}

/// The word of ip-route(8) for `RTPROT_*` (linux/rtnetlink.h), `rdom` for our own, else the number.
fn protocol_word(protocol: u8) -> String {
    let word = match protocol {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        9 => "ra",
        11 => "zebra",
        12 => "bird",
        16 => "dhcp",
        42 => "babel",
        114 => "rdom",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        number => return number.to_string(),
    };
    word.to_owned()
}

fn route_rows(route: &RouteFacts, links: &[LinkFacts]) -> Vec<RouteRow> {
    match is_dropped(route.route_type) || route.hops.is_empty() {
        true => vec![row(route, None, links)],
        false => route.hops.iter().map(|hop| row(route, Some(hop), links)).collect(),
    }
}

/// Whether it is a connected host route to an own address.
fn is_hidden(route: &RouteFacts, routes: &[RouteFacts]) -> bool {
    let is_local = |other: &RouteFacts| other.route_type == RouteType::Local && other.to == route.to;
    route.to.is_host() && is_connected(route, None) && !has_gateway(route) && routes.iter().any(is_local)
}

fn has_gateway(route: &RouteFacts) -> bool {
    route.hops.iter().any(|hop| hop.via.is_some())
}

fn mark_multipath(rows: &mut [RouteRow]) {
    let mut ways = BTreeMap::<_, usize>::new();
    for row in rows.iter().filter(|row| row.route_type == RouteType::Unicast.word()) {
        *ways.entry((row.to, row.metric, row.priority, scope(row))).or_default() += 1;
    }
    for row in rows {
        if ways.get(&(row.to, row.metric, row.priority, scope(row))).is_some_and(|&count| count > 1) {
            row.flags.insert(RouteFlag::Multipath);
        }
    }
}

/// A link-local prefix is another one on each interface.
fn scope(row: &RouteRow) -> Option<String> {
    scoped(row.to.address(), Some(&row.dev)).contains('%').then(|| row.dev.clone())
}

fn neighbour_row(
    neighbour: &NeighbourFacts,
    gateways: &BTreeSet<IpAddr>,
    links: &[LinkFacts],
) -> Option<RouteRow> {
    let link = links.iter().find(|link| link.index == neighbour.index)?;
    let mut flags = BTreeSet::from([RouteFlag::Up, RouteFlag::Host, RouteFlag::Llinfo, RouteFlag::Cloned]);
    if gateways.contains(&neighbour.address) {
        flags.insert(RouteFlag::Cached);
    }
    Some(RouteRow {
        to: Prefix::host(neighbour.address),
        route_type: "neighbour".to_owned(),
        gateway: match &neighbour.state {
            NeighbourState::Incomplete => format!("link#{}", neighbour.index),
            NeighbourState::Resolved(lladdr) => lladdr.clone(),
        },
        via: None,
        dev: link.name.clone(),
        src: None,
        metric: 0,
        protocol: protocol_word(2),
        flags,
        priority: PRIORITY_NEIGHBOUR,
        mtu: None,
        mtu_locked: false,
    })
}

fn flags(
    route: &RouteFacts,
    via: Option<IpAddr>,
    link: Option<&LinkFacts>,
    links: &[LinkFacts],
) -> BTreeSet<RouteFlag> {
    let mut flags = own_flags(route, via);
    let is_unicast = route.route_type == RouteType::Unicast;
    if !is_unicast || link.is_some_and(LinkFacts::is_running) {
        flags.insert(RouteFlag::Up);
    }
    if route.to.is_host() {
        flags.insert(RouteFlag::Host);
        flags.remove(&RouteFlag::Cloning);
    }
    if (is_unicast || is_dropped(route.route_type)) && !is_connected(route, via) {
        flags.extend(origin(route.protocol));
    }
    if flags.contains(&RouteFlag::Local) && has_link_flag(route.to, link, links) {
        flags.insert(RouteFlag::Llinfo);
    }
    flags
}

/// The flags that its type alone gives to a route.
fn own_flags(route: &RouteFacts, via: Option<IpAddr>) -> BTreeSet<RouteFlag> {
    match route.route_type {
        RouteType::Unicast if is_connected(route, via) => {
            BTreeSet::from([RouteFlag::Connected, RouteFlag::Cloning])
        }
        RouteType::Unicast if via.is_some() => BTreeSet::from([RouteFlag::Gateway]),
        RouteType::Unicast => BTreeSet::new(),
        RouteType::Local | RouteType::Anycast => BTreeSet::from([RouteFlag::Local]),
        RouteType::Broadcast => BTreeSet::from([RouteFlag::Broadcast]),
        RouteType::Multicast => BTreeSet::from([RouteFlag::Multicast]),
        RouteType::Blackhole => BTreeSet::from([RouteFlag::Gateway, RouteFlag::Blackhole]),
        RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw => {
            BTreeSet::from([RouteFlag::Gateway, RouteFlag::Reject])
        }
    }
}

/// The flag that says who made a route.
fn origin(protocol: u8) -> Option<RouteFlag> {
    match protocol {
        1 => Some(RouteFlag::Dynamic),
        _ if daemon_priority(protocol).is_some() => None,
        _ => Some(RouteFlag::Static),
    }
}

fn has_link_flag(to: Prefix, link: Option<&LinkFacts>, links: &[LinkFacts]) -> bool {
    match link {
        None => false,
        Some(link) if link.is_loopback() => false,
        Some(link) if link.lladdr.is_some() => true,
        Some(_) => !links.iter().any(|other| other.is_loopback() && other.address_like(to).is_some()),
    }
}

fn gateway(route: &RouteFacts, via: Option<IpAddr>, link: Option<&LinkFacts>) -> String {
    let Some(link) = link else { return "link#0".to_owned() };
    if let Some(via) = via {
        return scoped(via, Some(&link.name));
    }
    match route.route_type {
        RouteType::Local | RouteType::Anycast if link.is_loopback() => match route.to.is_host() {
            true => scoped(route.to.address(), Some(&link.name)),
            false => own_address(route, link),
        },
        RouteType::Local | RouteType::Anycast => link.lladdr.clone().unwrap_or_else(|| link.name.clone()),
        RouteType::Unicast
        | RouteType::Broadcast
        | RouteType::Multicast
        | RouteType::Blackhole
        | RouteType::Unreachable
        | RouteType::Prohibit
        | RouteType::Throw => own_address(route, link),
    }
}

/// The address that packets to this destination leave with.
fn own_address(route: &RouteFacts, link: &LinkFacts) -> String {
    let inside = || link.addresses.iter().map(|own| own.network.ip()).find(|&ip| route.to.contains(ip));
    let address = route.src.or_else(inside).or_else(|| link.address_like(route.to));
    address.map_or_else(|| format!("link#{}", link.index), |address| scoped(address, Some(&link.name)))
}

fn name_of(link: Option<&LinkFacts>, hop: Option<&NextHop>) -> String {
    match (link, hop) {
        (Some(link), _) => link.name.clone(),
        (None, Some(hop)) => format!("link#{}", hop.index),
        (None, None) => "-".to_owned(),
    }
}

fn priority(route: &RouteFacts, via: Option<IpAddr>) -> u32 {
    match route.route_type {
        RouteType::Local | RouteType::Anycast | RouteType::Broadcast => PRIORITY_LOCAL,
        RouteType::Multicast => PRIORITY_CONNECTED,
        RouteType::Unicast if is_connected(route, via) => PRIORITY_CONNECTED,
        RouteType::Unicast
        | RouteType::Blackhole
        | RouteType::Unreachable
        | RouteType::Prohibit
        | RouteType::Throw => match daemon_priority(route.protocol) {
            Some(priority) => priority,
            None if is_default_metric(route) => PRIORITY_STATIC,
            None => route.metric,
        },
    }
}

/// The priority that OpenBSD gives to the routes of a routing daemon (`RTP_*`, net/route.h).
fn daemon_priority(protocol: u8) -> Option<u32> {
    match protocol {
        192 => Some(28),
        188 => Some(32),
        187 => Some(36),
        189 => Some(40),
        186 => Some(48),
        8 | 10..=15 | 17 | 18 | 42 => Some(56),
        _ => None,
    }
}

fn is_default_metric(route: &RouteFacts) -> bool {
    route.metric == 0 || route.metric == Route::default_metric(route.to)
}

fn is_dropped(route_type: RouteType) -> bool {
    match route_type {
        RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw => true,
        RouteType::Unicast
        | RouteType::Local
        | RouteType::Broadcast
        | RouteType::Multicast
        | RouteType::Anycast => false,
    }
}

/// Whether the kernel made it for the network of an address.
fn is_connected(route: &RouteFacts, via: Option<IpAddr>) -> bool {
    route.route_type == RouteType::Unicast && via.is_none() && matches!(route.protocol, 2 | 9)
}

fn loopback_of(to: Prefix) -> IpAddr {
    match to.is_ipv6() {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    }
}
