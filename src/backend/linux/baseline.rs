//! What an interface of somebody else is like, and how it becomes that again after it was lent.
//!
//! A link loses its addresses, its routes, its sysctls and its controller when it changes its namespace, and is down in the
//! other one (net/core/dev.c, `__dev_change_net_namespace`). Addresses and routes are kept as the kernel's own messages: so
//! labels, broadcast addresses, lifetimes, metrics and what else there may be come back without being known here. What
//! the kernel makes of itself comes back with the link: link-local addresses, routes to the networks of its addresses, and
//! what router advertisements tell. Queueing disciplines, filters and what ethtool(8) sets of the driver's are not kept.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::link::{self, Change, Link};
use super::namespace::Namespace;
use super::netlink::{Netlink, NetlinkError};
use super::own_sysctls;
use crate::model::InterfaceName;
use crate::state::InterfaceRecord;

/// `RTA_NH_ID` (linux/rtnetlink.h): a nexthop object goes with its link; the way that it is stands beside it.
const NEXTHOP_ID: u16 = 30;

/// What a link is.
pub(super) fn of(
    namespace: &Namespace,
    socket: &mut Netlink,
    link: &Link,
) -> Result<InterfaceRecord, NetlinkError> {
    let controller = link::dump(socket)?.into_iter().find(|other| Some(other.index) == link.controller);
    Ok(InterfaceRecord {
        alias: link.alias.clone().unwrap_or_default(),
        index: link.index,
        mtu: link.mtu,
        sysctls: own_sysctls::of(namespace, &link.name)?,
        up: link.up,
        controller: controller.map(|controller| controller.name),
        addresses: addresses(socket, link.index)?.iter().map(packed).collect(),
        routes: routes(socket, link.index)?.iter().map(packed).collect(),
    })
}

fn addresses(socket: &mut Netlink, index: u32) -> Result<Vec<AddressMessage>, NetlinkError> {
    let answers = socket.dump(Message::GetAddress(AddressMessage::default()))?;
    let here = answers.into_iter().filter_map(|answer| match answer {
        Message::NewAddress(address) if address.header.index == index => Some(address),
        _ => None,
    });
    Ok(here.filter(is_somebodys).collect())
}

/// IPv6 addresses that are not permanent come from routers (RFC 4862, 5.5.3), link-local ones from the kernel.
fn is_somebodys(address: &AddressMessage) -> bool {
    let flags = address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let is_permanent = flags.is_none_or(|flags| flags.contains(AddressFlags::Permanent));
    address.header.family != AddressFamily::Inet6 || is_permanent
}

fn routes(socket: &mut Netlink, index: u32) -> Result<Vec<RouteMessage>, NetlinkError> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let header = RouteHeader { address_family: family, ..RouteHeader::default() };
        let mut all = RouteMessage::default();
        all.header = header;
        let answers = match socket.dump(Message::GetRoute(all)) {
            // No table before its first route; no IPv6 in a kernel without it.
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EOPNOTSUPP)) => continue,
            result => result?,
        };
        routes.extend(answers.into_iter().filter_map(|answer| match answer {
            // Asked for a family that it does not have, the kernel tells of all others (`rtnl_dump_all`).
            Message::NewRoute(route) if route.header.address_family != family => None,
            Message::NewRoute(route) if is_set_by_hand(&route) && leaves_by(&route, index) => {
                Some(without_state(route))
            }
            _ => None,
        }));
    }
    // Gateways are reached by routes that have none.
    routes
        .sort_by_key(|route| route.attributes.iter().any(|part| matches!(part, RouteAttribute::Gateway(_))));
    Ok(routes)
}

/// By somebody who is not there to set it again, as a routing daemon or the kernel is.
fn is_set_by_hand(route: &RouteMessage) -> bool {
    let RouteHeader { protocol, flags, .. } = route.header;
    !flags.contains(RouteFlags::Cloned)
        && matches!(protocol, RouteProtocol::Boot | RouteProtocol::Static | RouteProtocol::Dhcp)
}

fn leaves_by(route: &RouteMessage, index: u32) -> bool {
    route.attributes.iter().any(|part| matches!(part, RouteAttribute::Oif(by) if *by == index))
}

/// The route as it is asked for: the kernel tells more of it than it takes.
fn without_state(mut route: RouteMessage) -> RouteMessage {
    route.header.flags &= RouteFlags::Onlink;
    route.attributes.retain(|part| match part {
        RouteAttribute::CacheInfo(_) => false,
        RouteAttribute::Other(other) => netlink_packet_core::Nla::kind(other) != NEXTHOP_ID,
        _ => true,
    });
    route
}

/// Makes the link of this index what it was. What of it cannot be any more is told, and left: a gateway may be gone, and
/// an interface at home without a route is better than one that never comes home.
pub(super) fn restore(
    namespace: &Namespace,
    socket: &mut Netlink,
    name: &InterfaceName,
    index: u32,
    record: &InterfaceRecord,
) -> Result<(), NetlinkError> {
    if record.mtu != 0 {
        told(name, "mtu", link::change(socket, index, &[Change::Mtu(record.mtu)]));
    }
    if let Some(controller) =
        record.controller.as_ref().and_then(|name| InterfaceName::new(name.as_str()).ok())
    {
        let found = link::find(socket, &controller)?.map_or(0, |controller| controller.index);
        told(name, "controller", link::change(socket, index, &[Change::Controller(found)]));
    }
    for (place, error) in own_sysctls::restore(namespace, name.as_str(), &record.sysctls)? {
        tracing::warn!(interface = %name, sysctl = place, %error, "not as it was before it was lent");
    }
    for address in record.addresses.iter().filter_map(|packed| address_of(packed, index)) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        told(name, "address", socket.request(Message::NewAddress(address), flags).map(|_| ()));
    }
    link::change(socket, index, &[Change::Up(record.up)])?;
    for route in record.routes.iter().filter_map(|packed| route_of(packed, index)) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        told(name, "route", socket.request(Message::NewRoute(route), flags).map(|_| ()));
    }
    Ok(())
}

fn told(name: &InterfaceName, what: &'static str, done: Result<(), NetlinkError>) {
    match done {
        Err(error) if error.errno() != Some(Errno::EEXIST) => {
            tracing::warn!(interface = %name, what, %error, "not as it was before it was lent");
        }
        Ok(()) | Err(_) => {}
    }
}

fn packed(message: &impl Emitable) -> String {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

fn address_of(packed: &str, index: u32) -> Option<AddressMessage> {
    let bytes = BASE64_STANDARD.decode(packed).ok()?;
    let mut address = AddressMessage::parse(&bytes[..]).ok()?;
    address.header.index = index;
    Some(address)
}

fn route_of(packed: &str, index: u32) -> Option<RouteMessage> {
    let bytes = BASE64_STANDARD.decode(packed).ok()?;
    let mut route = RouteMessage::parse(&bytes[..]).ok()?;
    for part in &mut route.attributes {
        if let RouteAttribute::Oif(by) = part {
            *by = index;
        }
    }
    Some(route)
}
