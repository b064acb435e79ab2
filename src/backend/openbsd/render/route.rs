//! From routes to the words of route(8).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::command::Command;
use super::{Renderer, Waiting};
use crate::backend::{BackendError, Nature};
use crate::model::{Address, DomainId, End, Hop, InterfaceName, Kind, Prefix, Route, RtableId, Target};

/// The priority of a route that names none (net/route.h, `RTP_STATIC`).
pub(in crate::backend::openbsd) const STATIC_PRIORITY: u8 = 8;

/// The largest priority (net/route.h, `RTP_MAX`).
const PRIORITY_MAX: u32 = 63;

/// What OpenBSD has not got of a route, if anything, and what to write instead.
pub(in crate::backend::openbsd) fn limit(route: &Route) -> Option<(&'static str, &'static str)> {
    let metric_fits = (u32::from(STATIC_PRIORITY) + 1..=PRIORITY_MAX).contains(&route.metric);
    if route.metric != Route::default_metric(route.to) && !metric_fits {
        return Some(("a metric other than 9 to 63", "leave it out, or write one of those"));
    }
    match &route.target {
        Target::Unicast { src: Some(_), .. } => {
            Some(("a route with a source address of its own", "leave `src` out; see `route sourceaddr`"))
        }
        Target::Unicast { onlink: true, .. } => {
            Some(("onlink routes", "give the gateway a route of its own"))
        }
        Target::Unicast { via: Some(via), .. } if via.is_ipv6() != route.to.is_ipv6() => {
            Some(("a gateway of the other family", "name one of the route's own family"))
        }
        Target::Multipath { src: Some(_), .. } => {
            Some(("a route with a source address of its own", "leave `src` out; see `route sourceaddr`"))
        }
        Target::Multipath { hops, .. } if hops.iter().any(|hop| hop.via.is_none()) => {
            Some(("a way without a gateway", "name the gateway of each way"))
        }
        Target::Multipath { hops, .. } if hops.iter().any(|hop| hop.weight != 1) => {
            Some(("ways with unlike shares of the flows", "leave `weight` out"))
        }
        Target::Multipath { hops, .. }
            if hops.iter().filter_map(|hop| hop.via).any(|via| via.is_ipv6() != route.to.is_ipv6()) =>
        {
            Some(("a gateway of the other family", "name one of the route's own family"))
        }
        Target::Prohibit => Some(("`prohibit`", "write `type: unreachable`")),
        Target::Unicast { .. } | Target::Multipath { .. } | Target::Blackhole | Target::Unreachable => None,
    }
}

/// Each way of a route by itself: here those are routes of their own.
pub(super) fn ways(route: &Route) -> Vec<Route> {
    let Target::Multipath { hops, .. } = &route.target else { return vec![route.clone()] };
    let way = |hop: &Hop| {
        let target = Target::Unicast { via: hop.via, dev: hop.dev.clone(), src: None, onlink: false };
        Route { target, ..route.clone() }
    };
    hops.iter().map(way).collect()
}

/// Whether a route by this interface is reached by this address of it, so that the kernel removes it with that
/// (rt_ifa_purge, net/route.c).
pub(super) fn depends_on(route: &Route, interface: &InterfaceName, address: Address) -> bool {
    match &route.target {
        Target::Unicast { via: Some(via), dev, .. } => {
            dev == interface && Prefix::containing(address.network).contains(*via)
        }
        Target::Unicast { via: None, dev, .. } => {
            dev == interface && route.to.is_ipv6() == address.network.is_ipv6()
        }
        Target::Blackhole | Target::Unreachable => {
            address.network.ip() == loopback_like(route.to) && *interface == InterfaceName::loopback()
        }
        Target::Multipath { .. } => ways(route).iter().any(|way| depends_on(way, interface, address)),
        Target::Prohibit => false,
    }
}

impl Renderer {
    pub(super) fn add_route(
        &mut self,
        domain: DomainId,
        rtable: RtableId,
        route: &Route,
    ) -> Result<Vec<Command>, BackendError> {
        self.waiting
            .retain(|waiting| (waiting.domain, waiting.rtable, &waiting.route) != (domain, rtable, route));
        self.add_route_from(domain, rtable, route, None)
    }

    /// Adds it; one straight onto a link by this address of the interface, else by the first of its family.
    pub(super) fn add_route_from(
        &self,
        domain: DomainId,
        rtable: RtableId,
        route: &Route,
        own: Option<Address>,
    ) -> Result<Vec<Command>, BackendError> {
        ways(route).iter().map(|way| self.add_way(domain, rtable, route, way, own)).collect()
    }

    fn add_way(
        &self,
        domain: DomainId,
        rtable: RtableId,
        route: &Route,
        way: &Route,
        own: Option<Address>,
    ) -> Result<Command, BackendError> {
        let mut command = Command::route(rtable.number()).with("add");
        if route.to.is_ipv6() {
            command = command.with("-inet6");
        }
        if way != route {
            command = command.with("-mpath");
        }
        if route.metric != Route::default_metric(route.to) {
            command = command.with("-priority").with(route.metric);
        }
        command = command.with("-label").with(self.mark.text());
        self.by(command.with(destination(route.to)), domain, way, own)
    }

    /// Nothing for one that has gone with an address and not come back.
    pub(super) fn remove_route(
        &mut self,
        domain: DomainId,
        rtable: RtableId,
        route: &Route,
    ) -> Result<Vec<Command>, BackendError> {
        let this = Waiting { domain, rtable, route: route.clone() };
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == this) {
            self.waiting.remove(at);
            return Ok(Vec::new());
        }
        self.delete_route(domain, rtable, route)
    }

    pub(super) fn delete_route(
        &self,
        domain: DomainId,
        rtable: RtableId,
        route: &Route,
    ) -> Result<Vec<Command>, BackendError> {
        ways(route).iter().map(|way| self.delete_way(domain, rtable, way)).collect()
    }

    fn delete_way(&self, domain: DomainId, rtable: RtableId, route: &Route) -> Result<Command, BackendError> {
        let mut command = Command::route(rtable.number()).with("delete");
        if route.to.is_ipv6() {
            command = command.with("-inet6");
        }
        if route.metric != Route::default_metric(route.to) {
            command = command.with("-priority").with(route.metric);
        }
        let command = command.with(destination(route.to));
        match &route.target {
            Target::Unicast { via: Some(via), .. } => Ok(command.with(via)),
            // Its gateway is whichever own address it was given.
            Target::Unicast { via: None, .. } => Ok(command),
            Target::Multipath { .. } | Target::Blackhole | Target::Unreachable | Target::Prohibit => {
                self.by(command, domain, route, None)
            }
        }
    }

    fn by(
        &self,
        command: Command,
        domain: DomainId,
        route: &Route,
        own: Option<Address>,
    ) -> Result<Command, BackendError> {
        if let Some((what, instead)) = limit(route) {
            let error = BackendError::new(format!("OpenBSD has not got {what}: {route}")).help(instead);
            return Err(BackendError { nature: Nature::Unsupported, ..error });
        }
        Ok(match &route.target {
            Target::Unicast { via: Some(via), .. } => command.with(via),
            Target::Unicast { via: None, dev, .. } => {
                let at = End { domain, interface: dev.clone() };
                let first = own.or_else(|| self.address_like(&at, route.to));
                let Some(own) = first else {
                    let error = BackendError::new(format!("{at} has no address that {route} could leave by"));
                    return Err(error.help("OpenBSD names an interface by its address: give it one"));
                };
                command.with("-iface").with(own.network.ip())
            }
            Target::Blackhole => command.with(loopback_like(route.to)).with("-blackhole"),
            Target::Unreachable | Target::Prohibit => command.with(loopback_like(route.to)).with("-reject"),
            Target::Multipath { .. } => command,
        })
    }

    fn address_like(&self, at: &End, to: Prefix) -> Option<Address> {
        let held = self.interface(at).filter(|held| held.kind != Kind::Existing)?;
        held.addresses.iter().copied().find(|own| own.network.is_ipv6() == to.is_ipv6())
    }
}

fn loopback_like(to: Prefix) -> IpAddr {
    if to.is_ipv6() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() }
}

fn destination(to: Prefix) -> String {
    if to.is_default() { "default".to_owned() } else { to.to_string() }
}
