//! Routes that somebody asked for. Connected, local and broadcast ones follow from addresses and are the kernel's.

use std::fmt;
use std::net::IpAddr;

use super::name::InterfaceName;
use super::prefix::Prefix;

/// A route of a domain's own rtable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub to: Prefix,
    /// The lower wins. The kernel's own default (0 for IPv4, 1024 for IPv6) where the file gives none.
    pub metric: u32,
    /// What becomes of a packet.
    pub target: Target,
}

/// What becomes of a packet that matches a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// It leaves by an interface.
    Unicast {
        /// The gateway, if not straight onto the link.
        via: Option<IpAddr>,
        /// The interface; that of the gateway's connected network where the file gives none.
        dev: InterfaceName,
        /// The preferred source address.
        src: Option<IpAddr>,
        /// Whether the gateway is taken to be on the link though no address says so.
        onlink: bool,
    },
    /// It leaves by one of several ways, each flow by its own.
    Multipath {
        /// The ways.
        hops: Vec<Hop>,
        /// The preferred source address.
        src: Option<IpAddr>,
    },
    /// It is dropped in silence.
    Blackhole,
    /// It is dropped; the sender hears "host unreachable".
    Unreachable,
    /// It is dropped; the sender hears "administratively prohibited".
    Prohibit,
}

/// One way of several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The gateway, if not straight onto the link.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: InterfaceName,
    /// Its share of the flows, 1 to 256.
    pub weight: u16,
}

impl Route {
    /// The same with its ways in the order of their gateways, for a kernel that keeps none.
    pub fn with_sorted_ways(mut self) -> Self {
        if let Target::Multipath { hops, .. } = &mut self.target {
            hops.sort_by(|one, other| (one.via, &one.dev).cmp(&(other.via, &other.dev)));
        }
        self
    }

    /// The metric that the kernel gives to a route that names none (IP6_RT_PRIO_USER, net/ip6_fib.h).
    pub fn default_metric(to: Prefix) -> u32 {
        if to.is_ipv6() { 1024 } else { 0 }
    }

    /// Whether it says that an address is on the link of this interface.
    pub fn leads_straight_to(&self, address: IpAddr, by: &InterfaceName) -> bool {
        let straight = matches!(&self.target, Target::Unicast { via: None, dev, .. } if dev == by);
        straight && self.to.contains(address)
    }

    /// Whether packets go to a gateway first.
    pub fn has_gateway(&self) -> bool {
        match &self.target {
            Target::Unicast { via, .. } => via.is_some(),
            Target::Multipath { hops, .. } => hops.iter().any(|hop| hop.via.is_some()),
            Target::Blackhole | Target::Unreachable | Target::Prohibit => false,
        }
    }

    /// The interfaces that it leaves by: with one of them gone, so is the route.
    pub fn devices(&self) -> impl Iterator<Item = &InterfaceName> {
        let (one, several) = match &self.target {
            Target::Unicast { dev, .. } => (Some(dev), &[][..]),
            Target::Multipath { hops, .. } => (None, hops.as_slice()),
            Target::Blackhole | Target::Unreachable | Target::Prohibit => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(|hop| &hop.dev))
    }

    /// The source address that it names.
    pub fn source(&self) -> Option<IpAddr> {
        match &self.target {
            Target::Unicast { src, .. } | Target::Multipath { src, .. } => *src,
            Target::Blackhole | Target::Unreachable | Target::Prohibit => None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Blackhole => write!(f, "blackhole {}", Destination(self.to))?,
            Target::Unreachable => write!(f, "unreachable {}", Destination(self.to))?,
            Target::Prohibit => write!(f, "prohibit {}", Destination(self.to))?,
            Target::Multipath { hops, src } => {
                write!(f, "{}", Destination(self.to))?;
                src.iter().try_for_each(|src| write!(f, " src {src}"))?;
                hops.iter().try_for_each(|hop| write!(f, " nexthop{hop}"))?;
            }
            Target::Unicast { via, dev, src, onlink } => {
                write!(f, "{}", Destination(self.to))?;
                via.iter().try_for_each(|via| write!(f, " via {via}"))?;
                write!(f, " dev {dev}")?;
                src.iter().try_for_each(|src| write!(f, " src {src}"))?;
                f.write_str(if *onlink { " onlink" } else { "" })?;
            }
        }
        match self.metric == Self::default_metric(self.to) {
            true => Ok(()),
            false => write!(f, " metric {}", self.metric),
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.via.iter().try_for_each(|via| write!(f, " via {via}"))?;
        write!(f, " dev {} weight {}", self.dev, self.weight)
    }
}

/// A prefix as ip-route(8) prints a destination.
struct Destination(Prefix);

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.is_default(), self.0.is_ipv6()) {
            (true, false) => f.write_str("default"),
            (true, true) => f.write_str("default (IPv6)"),
            (false, _) => self.0.fmt(f),
        }
    }
}
