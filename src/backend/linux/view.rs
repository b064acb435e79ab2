//! Looks at one namespace for an operator: everything in it, ours or not, as the plain values of `status`.
//!
//! Readers take sockets that were opened in the namespace (`Netlink::of`) and change nothing. What they return is
//! what the kernel says, never what a file says; only the domain's number and name come from the caller.

mod addresses;
mod driver;
mod links;
mod neighbours;
mod routes;
mod sockets;
mod uapi;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::netlink::{Netlink, NetlinkError};
use crate::model::{DomainId, DomainName};
use crate::status::{InterfaceView, LinkFacts, RdomainView, RouteGet, RouteTable, SocketTable, TunnelView};

pub use driver::tunnel_of_driver;
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
    route: &mut Netlink,
    mut tunnel: impl FnMut(&LinkFacts) -> Option<TunnelView>,
) -> Result<Vec<InterfaceView>, NetlinkError> {
    let links = links(route)?;
    Ok(links.iter().map(|link| InterfaceView::new(domain, name, link, tunnel(link))).collect())
}

/// `route show`: the domain's own rtable, which is the namespace's main and local tables.
pub fn route_table(domain: DomainId, route: &mut Netlink) -> Result<RouteTable, NetlinkError> {
    let links = links(route)?;
    let routes = routes::dump(route)?;
    let neighbours = neighbours::dump(route)?;
    Ok(RouteTable::new(domain, &routes.own, &neighbours, &links))
}

/// `route get`: the route that a packet to this address would take; `None` if there is none.
pub fn route_get(
    domain: DomainId,
    route: &mut Netlink,
    address: IpAddr,
) -> Result<Option<RouteGet>, NetlinkError> {
    let links = links(route)?;
    let found = routes::lookup(route, address)?;
    Ok(found.map(|found| {
        RouteGet::new(domain, address, &found.matched, found.chosen.as_ref(), found.src, &links)
    }))
}

/// `netstat -ln`: the listening sockets; `route` tells the names of interfaces.
pub fn socket_table(
    domain: DomainId,
    diag: &mut Netlink,
    route: &mut Netlink,
) -> Result<SocketTable, NetlinkError> {
    let links = links::dump(route)?;
    Ok(SocketTable::new(domain, sockets::dump(diag, &links)?))
}

/// `netstat -R`: the interfaces and rtables of the domain.
pub fn rdomain(
    domain: DomainId,
    name: &DomainName,
    route: &mut Netlink,
) -> Result<RdomainView, NetlinkError> {
    let interfaces = links::dump(route)?.into_iter().map(|link| link.name).collect();
    let others: BTreeSet<u32> = routes::dump(route)?.others;
    Ok(RdomainView::new(domain, name.to_string(), interfaces, &others))
}
