//! Routes and route lookups: `RTM_GETROUTE` (rtnetlink(7)).
//!
//! A lookup asks twice: once for the route that matched (`RTM_F_FIB_MATCH`), once for the way that a packet would
//! take. Both headers must be bare, for a strictly checked request is refused with EINVAL if they name a table,
//! protocol, scope or type. Where a route drops the packet the kernel answers with the packet's error, so that
//! route is looked for in a dump.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop, RouteType as Kind,
    RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::super::netlink::{Netlink, NetlinkError};
use super::super::route::{ip, unspecified};
use super::scope::Scope;
use crate::model::{InterfaceName, Prefix};
use crate::status::{NextHop, RouteFacts, RouteType};

/// `RT_TABLE_DEFAULT` and `RT_TABLE_LOCAL` (linux/rtnetlink.h).
const TABLE_DEFAULT: u32 = 253;
const TABLE_LOCAL: u32 = 255;
const TABLE_MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;
/// The lock bit of `RTAX_MTU` (linux/rtnetlink.h).
const LOCK_MTU: u32 = 1 << 2;

/// The metric of the route that ends the search in a VRF's table (Documentation/networking/vrf.rst): nobody's route.
const LAST_METRIC: u32 = 4_278_198_272;

/// Which of a domain's rtables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Its own: the namespace's main and local tables, or that of its VRF device.
    Own,
    /// A further one: the table of this number.
    Further(u32),
}

/// How a packet that is on its way came into a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The interface that it came in by.
    pub by: InterfaceName,
    /// Its source address.
    pub from: IpAddr,
}

/// What a domain has.
pub(super) struct Tables {
    /// The routes of the rtable that was asked for.
    pub(super) own: Vec<RouteFacts>,
    /// The numbers of other tables of the domain that have a route.
    pub(super) others: BTreeSet<u32>,
}

/// The answer to a lookup.
pub(super) struct Found {
    pub(super) matched: RouteFacts,
    pub(super) chosen: Option<NextHop>,
    pub(super) src: Option<IpAddr>,
}

/// The routes of one rtable of a domain.
pub(super) fn dump(route: &mut Netlink, scope: &Scope, which: Which) -> Result<Tables, NetlinkError> {
    let mut tables = Tables { own: Vec::new(), others: BTreeSet::new() };
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut query = RouteMessage::default();
        query.header.address_family = family;
        for answer in route.dump(Message::GetRoute(query))? {
            let Message::NewRoute(message) = answer else { continue };
            // Asked for a family that it does not have, the kernel tells of all others (`rtnl_dump_all`).
            if message.header.address_family == family {
                tables.add(&message, scope, which);
            }
        }
    }
    Ok(tables)
}

impl Tables {
    fn add(&mut self, message: &RouteMessage, scope: &Scope, which: Which) {
        let number = table(message);
        let is_namespaces_own = matches!(number, TABLE_MAIN | TABLE_LOCAL) && !scope.is_guest();
        let is_own = is_namespaces_own || Some(number) == scope.own_table;
        let is_wanted = match which {
            Which::Own => is_own,
            Which::Further(further) => number == further,
        };
        if is_wanted {
            self.own.extend(read(message).filter(|facts| !ends_the_search(facts)));
        }
        let is_named = !matches!(number, 0 | TABLE_DEFAULT | TABLE_MAIN | TABLE_LOCAL);
        if is_named && !is_own && !scope.is_guest() && scope.is_further_table(number) {
            self.others.insert(number);
        }
    }
}

fn ends_the_search(facts: &RouteFacts) -> bool {
    facts.metric == LAST_METRIC && facts.route_type == RouteType::Unreachable && facts.to.length() == 0
}

/// What the kernel would do with a packet to this address; `None` if it knows no way.
///
/// `device` is the VRF device that the domain's sockets are bound to.
pub(super) fn lookup(
    route: &mut Netlink,
    scope: &Scope,
    which: Which,
    device: Option<u32>,
    address: IpAddr,
) -> Result<Option<Found>, NetlinkError> {
    found(route, scope, which, From::Socket { mark: which.mark(), device }, address)
}

/// What the kernel would do with a packet to this address that came in by the interface of this index.
pub(super) fn lookup_of(
    route: &mut Netlink,
    scope: &Scope,
    came: (u32, IpAddr),
    address: IpAddr,
) -> Result<Option<Found>, NetlinkError> {
    found(route, scope, Which::Own, From::Wire { index: came.0, source: came.1 }, address)
}

fn found(
    route: &mut Netlink,
    scope: &Scope,
    which: Which,
    from: From,
    address: IpAddr,
) -> Result<Option<Found>, NetlinkError> {
    match ask(route, from, address, RouteFlags::FibMatch) {
        Ok(Some(matched)) if ends_the_search(&matched) => Ok(None),
        Ok(Some(matched)) => {
            let taken = ask(route, from, address, RouteFlags::empty())?;
            let hop = taken.as_ref().and_then(|taken| taken.hops.first());
            let chosen = matched.hops.iter().find(|known| Some(*known) == hop).or(matched.hops.first());
            Ok(Some(Found { chosen: chosen.cloned(), src: taken.and_then(|taken| taken.src), matched }))
        }
        Ok(None) => Ok(None),
        Err(error) => match error.errno() {
            // The last is for a source that would not be answered by the same way (`rp_filter`).
            Some(Errno::ENETUNREACH | Errno::ESRCH | Errno::EXDEV) => Ok(None),
            Some(Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL) => {
                dropping(route, scope, which, address)
            }
            _ => Err(error),
        },
    }
}

/// Where a packet comes from.
#[derive(Clone, Copy)]
enum From {
    /// A socket that was born with these.
    Socket { mark: Option<u32>, device: Option<u32> },
    /// Another host, by this interface.
    Wire { index: u32, source: IpAddr },
}

impl From {
    fn attributes(self) -> Vec<RouteAttribute> {
        match self {
            From::Socket { mark, device } => {
                mark.map(RouteAttribute::Mark).into_iter().chain(device.map(RouteAttribute::Oif)).collect()
            }
            From::Wire { index, source } => {
                vec![RouteAttribute::Iif(index), RouteAttribute::Source(source.into())]
            }
        }
    }
}

impl Which {
    /// The mark that the sockets of its programs have.
    fn mark(self) -> Option<u32> {
        match self {
            Which::Own => None,
            Which::Further(number) => Some(number),
        }
    }
}

fn ask(
    route: &mut Netlink,
    from: From,
    address: IpAddr,
    flags: RouteFlags,
) -> Result<Option<RouteFacts>, NetlinkError> {
    let mut query = RouteMessage::default();
    let host = Prefix::host(address);
    query.header.address_family = if host.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    query.header.destination_prefix_length = host.length();
    query.header.flags = flags;
    query.attributes.push(RouteAttribute::Destination(address.into()));
    if let From::Wire { .. } = from {
        query.header.source_prefix_length = host.length();
    }
    query.attributes.extend(from.attributes());
    let answers = route.request(Message::GetRoute(query), 0)?;
    Ok(answers.iter().find_map(|answer| match answer {
        Message::NewRoute(message) => read(message),
        _ => None,
    }))
}

/// The longest of the routes that drop packets to this address.
fn dropping(
    route: &mut Netlink,
    scope: &Scope,
    which: Which,
    address: IpAddr,
) -> Result<Option<Found>, NetlinkError> {
    let drops = |facts: &RouteFacts| match facts.route_type {
        RouteType::Blackhole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw => true,
        RouteType::Unicast
        | RouteType::Local
        | RouteType::Broadcast
        | RouteType::Multicast
        | RouteType::Anycast => false,
    };
    let own = dump(route, scope, which)?.own.into_iter();
    let matching = own.filter(|facts| drops(facts) && facts.to.contains(address));
    let longest = matching.max_by_key(|facts| (facts.to.length(), std::cmp::Reverse(facts.metric)));
    Ok(longest.map(|matched| Found { matched, chosen: None, src: None }))
}

fn table(message: &RouteMessage) -> u32 {
    let wide = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    wide.unwrap_or(u32::from(message.header.table))
}

/// A route from the kernel's message; `None` for a type that is no route of a host.
fn read(message: &RouteMessage) -> Option<RouteFacts> {
    let header = &message.header;
    let mut facts = RouteFacts {
        route_type: route_type(header.kind)?,
        to: Prefix::host(unspecified(header.address_family)?),
        hops: Vec::new(),
        src: None,
        metric: 0,
        protocol: header.protocol.into(),
        mtu: None,
        mtu_locked: false,
    };
    let (mut destination, mut index) = (facts.to.address(), None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::PrefSource(address) => facts.src = ip(address),
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Priority(metric) => facts.metric = *metric,
            RouteAttribute::Metrics(metrics) => read_metrics(&mut facts, metrics),
            RouteAttribute::MultiPath(hops) => facts.hops = hops.iter().map(next_hop).collect(),
            _ => {}
        }
    }
    facts.hops.extend(index.map(|index| NextHop { via: gateway(&message.attributes), index }));
    facts.to = Prefix::containing(IpNetwork::new(destination, header.destination_prefix_length).ok()?);
    Some(facts)
}

fn read_metrics(facts: &mut RouteFacts, metrics: &[RouteMetric]) {
    for metric in metrics {
        match metric {
            RouteMetric::Mtu(bytes) => facts.mtu = Some(*bytes),
            RouteMetric::Lock(bits) => facts.mtu_locked = bits & LOCK_MTU != 0,
            _ => {}
        }
    }
}

fn next_hop(hop: &RouteNextHop) -> NextHop {
    NextHop { via: gateway(&hop.attributes), index: hop.interface_index }
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

fn route_type(kind: Kind) -> Option<RouteType> {
    match kind {
        Kind::Unicast => Some(RouteType::Unicast),
        Kind::Local => Some(RouteType::Local),
        Kind::Broadcast => Some(RouteType::Broadcast),
        Kind::Anycast => Some(RouteType::Anycast),
        Kind::Multicast => Some(RouteType::Multicast),
        Kind::BlackHole => Some(RouteType::Blackhole),
        Kind::Unreachable => Some(RouteType::Unreachable),
        Kind::Prohibit => Some(RouteType::Prohibit),
        Kind::Throw => Some(RouteType::Throw),
        _ => None,
    }
}
