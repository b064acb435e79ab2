//! `route get`: which route a packet to an address would take, as route(8) prints the kernel's answer.
//!
//! The numbers under `use`, `mtu` and `expire` are 0 where the route has none: Linux counts no uses.

use std::fmt;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::{LinkFacts, NextHop, RouteFacts};
use super::prefix::{destination, scoped};
use super::route::{RouteFlag, RouteRow};
use super::route_map;
use crate::model::DomainId;

/// The route that a packet to an address would take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteGet {
    /// The number of the domain.
    pub domain: u32,
    /// The address that was asked for.
    pub route_to: IpAddr,
    /// The source address that the packet would have.
    pub if_address: Option<IpAddr>,
    /// The route.
    pub route: RouteRow,
}

impl RouteGet {
    /// The answer for an address: the route that matched, the way that was chosen, and the source address.
    pub fn new(
        domain: DomainId,
        route_to: IpAddr,
        matched: &RouteFacts,
        chosen: Option<&NextHop>,
        if_address: Option<IpAddr>,
        links: &[LinkFacts],
    ) -> Self {
        let route = route_map::row(matched, chosen, links);
        Self { domain: domain.number(), route_to, if_address, route }
    }

    /// Whether packets go somewhere by it: whether it is not one that drops them.
    pub fn leads_somewhere(&self) -> bool {
        !matches!(self.route.route_type.as_str(), "blackhole" | "unreachable" | "prohibit")
    }

    /// Whether the address is one of the domain's own.
    pub fn is_local(&self) -> bool {
        self.route.flags.contains(&RouteFlag::Local)
    }

    /// What it says, in one line.
    pub fn sentence(&self) -> String {
        let Self { route_to, route, .. } = self;
        let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
        match (self.leads_somewhere(), self.is_local()) {
            (false, _) => format!("{route_to} is dropped by {} ({})", route.to, route.route_type),
            (true, true) => format!("{route_to} is an address of its own, on {}", route.dev),
            (true, false) => format!("{route_to} goes by {}{via} dev {}", route.to, route.dev),
        }
    }
}

impl fmt::Display for RouteGet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = &self.route;
        let dev = Some(route.dev.as_str());
        writeln!(f, "   route to: {}", scoped(self.route_to, dev))?;
        writeln!(f, "destination: {}", to(route))?;
        if !route.flags.contains(&RouteFlag::Host) {
            writeln!(f, "       mask: {}", mask(route))?;
        }
        if route.flags.contains(&RouteFlag::Gateway) {
            writeln!(f, "    gateway: {}", route.gateway)?;
        }
        writeln!(f, "  interface: {}", route.dev)?;
        if let Some(address) = self.if_address {
            writeln!(f, " if address: {}", scoped(address, dev))?;
        }
        writeln!(f, "   priority: {} ({})", route.priority, priority_word(route.priority))?;
        writeln!(f, "      flags: <{}>", words(route))?;
        writeln!(f, "     use       mtu    expire")?;
        let lock = if route.mtu_locked { 'L' } else { ' ' };
        writeln!(f, "{:>8}  {:>8}{lock} {:>8} ", 0, route.mtu.unwrap_or(0), 0)
    }
}

/// The destination without its length, which the mask says.
fn to(route: &RouteRow) -> String {
    match route.to.is_default() {
        true => destination(route.to, None),
        false => scoped(route.to.address(), Some(&route.dev)),
    }
}

fn mask(route: &RouteRow) -> String {
    match route.to.is_default() {
        true => "default".to_owned(),
        false => route.to.mask().to_string(),
    }
}

/// The class of a priority (`RTP_*`, net/route.h); empty for those that have no name.
fn priority_word(priority: u32) -> &'static str {
    match priority {
        4 => "connected",
        8 => "static",
        28 => "eigrp",
        32 => "ospf",
        36 => "isis",
        40 => "rip",
        48 => "bgp",
        56 => "default",
        _ => "",
    }
}

/// The flags in words, and `DONE`, which is the kernel's word for having answered.
fn words(route: &RouteRow) -> String {
    let is_before_done = |flag: &&RouteFlag| **flag < RouteFlag::Cloning;
    let before = route.flags.iter().filter(is_before_done).map(|flag| flag.word());
    let after = route.flags.iter().filter(|flag| !is_before_done(flag)).map(|flag| flag.word());
    before.chain(["DONE"]).chain(after).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::super::facts::RouteType;
    use super::super::samples::*;
    use super::*;

    fn answer(address: &str, matched: &RouteFacts, src: &str) -> String {
        let links = [lo(), eth0(), wg1()];
        let (address, src) = (address.parse().unwrap(), src.parse().ok());
        RouteGet::new(domain(1), address, matched, matched.hops.first(), src, &links).to_string()
    }

    #[test]
    fn a_default_route_by_a_gateway() {
        let default =
            RouteFacts { protocol: 4, ..facts(RouteType::Unicast, "0.0.0.0/0", &["192.0.2.254"], 2) };
        assert_eq!(
            answer("203.0.113.7", &default, "192.0.2.1"),
            "   route to: 203.0.113.7
destination: default
       mask: default
    gateway: 192.0.2.254
  interface: eth0
 if address: 192.0.2.1
   priority: 8 (static)
      flags: <UP,GATEWAY,DONE,STATIC>
     use       mtu    expire
       0         0         0 
"
        );
    }

    #[test]
    fn a_host_on_a_tunnel_is_reached_by_its_network() {
        let text = answer("192.168.5.2", &wg1_routes()[2], "192.168.5.1");
        let expected = "   route to: 192.168.5.2
destination: 192.168.5.0
       mask: 255.255.255.0
  interface: wg1
 if address: 192.168.5.1
   priority: 4 (connected)
      flags: <UP,DONE,CLONING,CONNECTED>
";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn an_own_address_is_local_and_has_no_mask() {
        let text = answer("192.168.5.1", &wg1_routes()[1], "192.168.5.1");
        assert!(text.contains("   priority: 1 ()\n      flags: <UP,HOST,DONE,LOCAL>\n"), "{text}");
        assert!(!text.contains("mask"), "{text}");
    }
}
