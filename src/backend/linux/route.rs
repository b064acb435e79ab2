//! Routes: rtnetlink(7) `RTM_*ROUTE` messages, and what is read from them.
//!
//! Routes are told by their protocol numbers, whichever table they are in. IPv6 differs from IPv4: a route without a metric gets 1024, and
//! one that drops its packets hangs on `lo` (net/ipv6/route.c), which says nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteProtocol, RouteScope,
    RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::mark::{self, Whose};
use super::netlink::{Netlink, NetlinkError};
use crate::model::{Hop, InterfaceName, Prefix, Route, Target};

/// The names of a namespace's links by their indexes.
pub(super) type Names = BTreeMap<u32, InterfaceName>;

/// Every route of ours in the socket's namespace, with the number of its table.
pub(super) fn dump(socket: &mut Netlink, names: &Names) -> Result<Vec<(u32, Route)>, NetlinkError> {
    dump_of(socket, names, Whose::Ours)
}

/// Every route of theirs in the socket's namespace, with the number of its table.
pub(super) fn dump_of(
    socket: &mut Netlink,
    names: &Names,
    whose: Whose,
) -> Result<Vec<(u32, Route)>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut query = header_only(family);
        if whose == Whose::Administrators {
            query.header.protocol = RouteProtocol::Unspec;
        }
        let answers = match socket.dump(Message::GetRoute(query)) {
            // A namespace has no table before its first route.
            Err(error) if error.errno() == Some(Errno::ENOENT) => continue,
            // Nor IPv6 routes in a kernel without it.
            Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => continue,
            result => result?,
        };
        routes.extend(answers.iter().filter_map(|answer| of_answer(answer, names, whose)));
    }
    Ok(routes)
}

fn of_answer(answer: &Message, names: &Names, whose: Whose) -> Option<(u32, Route)> {
    match answer {
        Message::NewRoute(message) => read(message, names, whose),
        _ => None,
    }
}

/// A route from the kernel's message; `None` if it is not theirs or of no kind that we make.
pub(super) fn read(message: &RouteMessage, names: &Names, whose: Whose) -> Option<(u32, Route)> {
    let header = &message.header;
    if !whose.has(header.protocol) || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut table = header.table.into();
    let mut destination = unspecified(header.address_family)?;
    let (mut via, mut dev, mut src, mut metric, mut hops) = (None, None, None, 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => via = gateway_of(attribute),
            RouteAttribute::MultiPath(several) => hops = Some(several),
            RouteAttribute::PrefSource(address) => src = ip(address),
            RouteAttribute::Oif(index) => dev = names.get(index).cloned(),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    let to = Prefix::containing(IpNetwork::new(destination, header.destination_prefix_length).ok()?);
    let target = match (header.kind, hops) {
        (RouteType::Unicast, Some(hops)) => {
            let hops = hops.iter().map(|hop| read_hop(hop, names)).collect::<Option<_>>()?;
            Target::Multipath { hops, src }
        }
        (RouteType::Unicast, None) => {
            Target::Unicast { via, dev: dev?, src, onlink: header.flags.contains(RouteFlags::Onlink) }
        }
        (RouteType::BlackHole, _) => Target::Blackhole,
        (RouteType::Unreachable, _) => Target::Unreachable,
        (RouteType::Prohibit, _) => Target::Prohibit,
        _ => return None,
    };
    Some((table, Route { to, metric, target }))
}

fn read_hop(hop: &RouteNextHop, names: &Names) -> Option<Hop> {
    let dev = names.get(&hop.interface_index)?.clone();
    let via = hop.attributes.iter().find_map(gateway_of);
    Some(Hop { via, dev, weight: u16::from(hop.hops) + 1 })
}

fn gateway_of(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// Adds a route of ours to a table; `names` has the interfaces that it names.
pub(super) fn add(
    socket: &mut Netlink,
    table: u32,
    route: &Route,
    names: &Names,
) -> Result<(), NetlinkError> {
    let mut message = message(table, route, names);
    message.header.scope = match route.target {
        Target::Unicast { via: None, .. } => RouteScope::Link,
        Target::Unicast { .. } | Target::Multipath { .. } => RouteScope::Universe,
        Target::Blackhole | Target::Unreachable | Target::Prohibit => RouteScope::Universe,
    };
    socket.request(Message::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

/// Removes a route of ours from a table.
pub(super) fn remove(
    socket: &mut Netlink,
    table: u32,
    route: &Route,
    names: &Names,
) -> Result<(), NetlinkError> {
    let mut message = message(table, route, names);
    message.header.scope = RouteScope::NoWhere;
    socket.request(Message::DelRoute(message), 0).map(|_| ())
}

fn message(table: u32, route: &Route, names: &Names) -> RouteMessage {
    let index = |dev| names.iter().find(|(_, name)| *name == dev).map_or(0, |(&index, _)| index);
    let family = if route.to.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let mut message = header_only(family);
    message.header.destination_prefix_length = route.to.length();
    message.attributes.push(RouteAttribute::Table(table));
    if !route.to.is_default() {
        message.attributes.push(RouteAttribute::Destination(route.to.address().into()));
    }
    if route.metric != 0 {
        message.attributes.push(RouteAttribute::Priority(route.metric));
    }
    message.header.kind = match &route.target {
        Target::Blackhole => RouteType::BlackHole,
        Target::Unreachable => RouteType::Unreachable,
        Target::Prohibit => RouteType::Prohibit,
        Target::Multipath { hops, src } => {
            let hops = hops.iter().map(|hop| next_hop(route.to, hop, index(&hop.dev)));
            message.attributes.push(RouteAttribute::MultiPath(hops.collect()));
            message.attributes.extend(src.map(|src| RouteAttribute::PrefSource(src.into())));
            RouteType::Unicast
        }
        Target::Unicast { via, dev, src, onlink } => {
            message.attributes.push(RouteAttribute::Oif(index(dev)));
            message.attributes.extend(via.map(|via| gateway(route.to, via)));
            message.attributes.extend(src.map(|src| RouteAttribute::PrefSource(src.into())));
            message.header.flags.set(RouteFlags::Onlink, *onlink);
            RouteType::Unicast
        }
    };
    message
}

fn next_hop(to: Prefix, hop: &Hop, index: u32) -> RouteNextHop {
    let mut message = RouteNextHop::default();
    message.interface_index = index;
    message.hops = hop.weight.clamp(1, 256).wrapping_sub(1) as u8;
    message.attributes.extend(hop.via.map(|via| gateway(to, via)));
    message
}

fn gateway(to: Prefix, via: IpAddr) -> RouteAttribute {
    match via {
        _ if via.is_ipv6() == to.is_ipv6() => RouteAttribute::Gateway(via.into()),
        IpAddr::V4(via) => RouteAttribute::Via(RouteVia::Inet(via)),
        IpAddr::V6(via) => RouteAttribute::Via(RouteVia::Inet6(via)),
    }
}

/// Our routes of every table: what a dump asks for, and what every route starts from.
fn header_only(family: AddressFamily) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.protocol = RouteProtocol::Other(mark::PROTOCOL);
    message
}

pub(super) fn unspecified(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(IpAddr::from([0; 4])),
        AddressFamily::Inet6 => Some(IpAddr::from([0; 16])),
        _ => None,
    }
}

pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};

    use super::*;

    fn wire(message: &RouteMessage) -> RouteMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        RouteMessage::parse(&bytes[..]).unwrap()
    }

    fn names() -> BTreeMap<u32, InterfaceName> {
        BTreeMap::from([(4, InterfaceName::new("veth0").unwrap())])
    }

    fn unicast(via: Option<&str>, src: Option<&str>, onlink: bool) -> Target {
        let ip = |text: &str| text.parse().unwrap();
        Target::Unicast { via: via.map(ip), dev: names()[&4].clone(), src: src.map(ip), onlink }
    }

    fn several(hops: &[(Option<&str>, u16)]) -> Target {
        let hop = |&(via, weight): &(Option<&str>, u16)| Hop {
            via: via.map(|text| text.parse().unwrap()),
            dev: names()[&4].clone(),
            weight,
        };
        Target::Multipath { hops: hops.iter().map(hop).collect(), src: None }
    }

    fn route(to: &str, metric: u32, target: Target) -> Route {
        Route { to: to.parse().unwrap(), metric, target }
    }

    #[test]
    fn what_is_added_is_read_back() {
        let routes = [
            route("0.0.0.0/0", 0, unicast(Some("10.0.0.1"), None, false)),
            route("10.9.0.0/16", 50, unicast(None, Some("10.0.0.2"), false)),
            route("10.8.0.0/16", 0, unicast(Some("172.16.0.1"), None, true)),
            route("10.7.0.0/16", 0, unicast(Some("fe80::1"), None, false)),
            route("::/0", 1024, unicast(Some("fe80::1"), None, false)),
            route("fd00:9::/48", 7, Target::Unreachable),
            route("10.6.0.0/16", 0, Target::Blackhole),
            route("10.5.0.0/16", 0, Target::Prohibit),
            route("10.4.0.0/16", 0, several(&[(Some("10.0.0.1"), 1), (Some("fe80::1"), 256), (None, 2)])),
            route("fd00:8::/48", 7, several(&[(Some("fe80::1"), 1), (Some("fe80::2"), 1)])),
        ];
        for route in routes {
            for table in [254, 300] {
                let read = read(&wire(&message(table, &route, &names())), &names(), Whose::Ours);
                assert_eq!(read, Some((table, route.clone())));
            }
        }
    }

    #[test]
    fn routes_of_others_are_left_out() {
        let ours = route("10.6.0.0/16", 0, Target::Blackhole);
        let mut foreign = message(254, &ours, &names());
        foreign.header.protocol = RouteProtocol::Static;
        let mut local = message(254, &ours, &names());
        local.header.kind = RouteType::Local;
        for message in [foreign, local] {
            assert_eq!(read(&wire(&message), &names(), Whose::Ours), None, "{message:?}");
        }
    }

    /// `blackhole 10.6.0.0/16` and `unreachable fd03::/48` as Linux 6.18 dumped them.
    #[test]
    fn recorded_routes_are_read() {
        let blackhole: &[u8] =
            &[2, 16, 0, 0, 254, 114, 0, 6, 0, 0, 0, 0, 8, 0, 15, 0, 254, 0, 0, 0, 8, 0, 1, 0, 10, 6, 0, 0];
        // It hangs on `lo`, which says nothing, and has a metric that nobody gave it.
        let unreachable: &[u8] = &[
            10, 48, 0, 0, 254, 114, 0, 7, 0, 0, 0, 0, 8, 0, 15, 0, 254, 0, 0, 0, 20, 0, 1, 0, 253, 3, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 6, 0, 0, 4, 0, 0, 8, 0, 4, 0, 1, 0, 0, 0, 36, 0, 12, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 20, 0, 0, 0, 0, 0,
        ];
        let routes = [blackhole, unreachable]
            .map(|bytes| read(&RouteMessage::parse(bytes).unwrap(), &names(), Whose::Ours));
        assert_eq!(routes[0], Some((254, route("10.6.0.0/16", 0, Target::Blackhole))));
        assert_eq!(routes[1], Some((254, route("fd03::/48", 1024, Target::Unreachable))));
    }
}
