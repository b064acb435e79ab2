//! Looks at one namespace for an operator: everything in it, ours or not, as the plain values of `status`.
//!
//! Readers take sockets that were opened in the namespace (`Netlink::of`) and change nothing. What they return is
//! what the kernel says, never what a file says; only the domain's number and name come from the caller.

mod addresses;
mod driver;
mod links;
mod neighbours;
mod routes;
mod rules;
mod scope;
mod sockets;
mod uapi;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::netlink::{Netlink, NetlinkError};
use crate::model::{DomainId, DomainName};
use crate::status::{
    Family, InterfaceView, LinkFacts, RdomainView, RouteGet, RouteTable, RuleTable, SocketTable, TunnelView,
};

pub use driver::tunnel_of_driver;
pub use routes::{Arrival, Which};
pub use scope::Scope;
pub use uapi::{UapiError, tunnel_of_stream, tunnel_of_uapi};

/// The links of the namespace with their addresses, in the kernel's order.
pub fn links(route: &mut Netlink) -> Result<Vec<LinkFacts>, NetlinkError> {
    let mut links = links::dump(route)?;
    addresses::dump_into(route, &mut links)?;
    Ok(links)
}

/// `ifconfig`: every interface; `tunnel` finds the state of those that are tunnels.
pub fn interfaces(
    domain: DomainId,
    name: &DomainName,
    scope: &Scope,
    route: &mut Netlink,
    mut tunnel: impl FnMut(&LinkFacts) -> Option<TunnelView>,
) -> Result<Vec<InterfaceView>, NetlinkError> {
    let links = links(route)?;
    let own = links.iter().filter(|link| scope.has_link(link, &links));
    Ok(own.map(|link| InterfaceView::new(domain, name, link, tunnel(link))).collect())
}

/// `route show`: one of the domain's rtables.
pub fn route_table(
    domain: DomainId,
    scope: &Scope,
    which: Which,
    route: &mut Netlink,
) -> Result<RouteTable, NetlinkError> {
    let links = links(route)?;
    let routes = routes::dump(route, scope, which)?;
    let neighbours = match which {
        Which::Own => neighbours::dump(route)?,
        // What hosts on a link are called is known in the domain's own table only.
        Which::Further(_) => Vec::new(),
    };
    let here = |index: u32| links.iter().any(|link| link.index == index && scope.has_link(link, &links));
    let neighbours: Vec<_> = neighbours.into_iter().filter(|neighbour| here(neighbour.index)).collect();
    Ok(RouteTable::new(domain, &routes.own, &neighbours, &links))
}

/// `route get`: the route that a packet to this address would take; `None` if there is none.
pub fn route_get(
    domain: DomainId,
    scope: &Scope,
    which: Which,
    route: &mut Netlink,
    address: IpAddr,
) -> Result<Option<RouteGet>, NetlinkError> {
    let links = links(route)?;
    let device = links.iter().find(|link| scope.is_device(link)).map(|link| link.index);
    let found = routes::lookup(route, scope, which, device, address)?;
    Ok(found.map(|found| {
        RouteGet::new(domain, address, &found.matched, found.chosen.as_ref(), found.src, &links)
    }))
}

/// The route that a packet to this address would take which came in from another host; `None` if there is none.
pub fn route_of(
    domain: DomainId,
    scope: &Scope,
    arrival: &Arrival,
    route: &mut Netlink,
    address: IpAddr,
) -> Result<Option<RouteGet>, NetlinkError> {
    let links = links(route)?;
    let Some(by) = links.iter().find(|link| link.name == arrival.by.as_str()) else { return Ok(None) };
    let found = routes::lookup_of(route, scope, (by.index, arrival.from), address)?;
    Ok(found.map(|found| {
        RouteGet::new(domain, address, &found.matched, found.chosen.as_ref(), found.src, &links)
    }))
}

/// The rules of a family in the domain's namespace.
pub fn rules(domain: DomainId, family: Family, route: &mut Netlink) -> Result<RuleTable, NetlinkError> {
    Ok(RuleTable { domain: domain.number(), rules: rules::dump(route, family)? })
}

/// `netstat -ln`: the listening sockets; `route` tells the names of interfaces.
pub fn socket_table(
    domain: DomainId,
    scope: &Scope,
    diag: &mut Netlink,
    route: &mut Netlink,
) -> Result<SocketTable, NetlinkError> {
    let links = links::dump(route)?;
    Ok(SocketTable::new(domain, sockets::dump(diag, scope, &links)?))
}

/// The local addresses of the connected sockets of the domain, one a socket.
pub fn connected(
    scope: &Scope,
    diag: &mut Netlink,
    route: &mut Netlink,
) -> Result<Vec<IpAddr>, NetlinkError> {
    let links = links::dump(route)?;
    sockets::connected(diag, scope, &links)
}

/// `netstat -R`: the interfaces and rtables of the domain.
pub fn rdomain(
    domain: DomainId,
    name: &DomainName,
    scope: &Scope,
    route: &mut Netlink,
) -> Result<RdomainView, NetlinkError> {
    let links = links::dump(route)?;
    let own = links.iter().filter(|link| scope.has_link(link, &links));
    let interfaces = own.map(|link| link.name.clone()).collect();
    let others: BTreeSet<u32> = routes::dump(route, scope, Which::Own)?.others;
    Ok(RdomainView::new(domain, name.to_string(), interfaces, &others))
}
