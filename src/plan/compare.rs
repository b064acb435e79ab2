//! Which objects of two networks are the same one, and what is left of the observed ones once the rest has gone.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{
    Domain, DomainId, End, Interface, InterfaceName, Kind, Network, Peer, Route, RtableId, SysctlName,
    Target, WireGuard,
};

/// Two networks side by side.
pub(super) struct Comparison<'a> {
    pub(super) desired: &'a Network,
    pub(super) observed: &'a Network,
    domains: BTreeSet<DomainId>,
    interfaces: BTreeSet<End>,
}

/// What becomes of a route when interfaces and addresses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Stays,
    /// The kernel removes it: with its interface, when that goes down, and with the address that is its source.
    Vanishes,
    /// The kernel would keep it without one of its ways: it is removed before.
    MustGo,
}

/// How many interfaces an interface of a network stands on, one on the other.
pub(super) fn depth(network: &Network, at: &End) -> usize {
    let parent = |at: &End| network.interface(at).and_then(|interface| interface.kind.parent());
    let mut beneath = Vec::new();
    let mut next = parent(at);
    // What stands on something out of sight is observed as standing on itself.
    while let Some(at) = next.filter(|at| !beneath.contains(at)) {
        beneath.push(at);
        next = parent(at);
    }
    beneath.len()
}

/// Whether two peers of the same key are the same: all but what the file calls them.
pub(super) fn same_peer(wanted: &Peer, seen: &Peer) -> bool {
    let Peer { name: _, endpoint, allowed_ips, preshared_key, persistent_keepalive_secs } = wanted;
    endpoint.as_ref().is_none_or(|endpoint| seen.endpoint.as_ref() == Some(endpoint))
        && (allowed_ips, preshared_key, persistent_keepalive_secs)
            == (&seen.allowed_ips, &seen.preshared_key, &seen.persistent_keepalive_secs)
}

/// An interface straight after its making.
fn newborn(wanted: &Interface) -> Interface {
    let kind = match &wanted.kind {
        Kind::WireGuard(tunnel) => {
            let WireGuard { engine, underlay, listen_port, ref key, peers: _ } = *tunnel;
            let (key, peers) = (key.clone(), BTreeMap::new());
            Kind::WireGuard(WireGuard { engine, underlay, listen_port, key, peers })
        }
        kind => kind.clone(),
    };
    Interface { mtu: kind.default_mtu(), up: false, ..Interface::new(kind) }
}

impl<'a> Comparison<'a> {
    pub(super) fn new(desired: &'a Network, observed: &'a Network) -> Self {
        let mut compared = Self { desired, observed, domains: BTreeSet::new(), interfaces: BTreeSet::new() };
        compared.domains = desired.domains.keys().copied().filter(|id| compared.same_domain(*id)).collect();
        let places = desired.interfaces().map(|(at, _)| at);
        compared.interfaces = places.filter(|at| compared.same_interface(at)).collect();
        compared
    }

    pub(super) fn keeps_domain(&self, id: DomainId) -> bool {
        id.is_default() || self.domains.contains(&id)
    }

    pub(super) fn keeps_interface(&self, at: &End) -> bool {
        self.interfaces.contains(at)
    }

    /// The domains that stay, as wanted and as seen.
    pub(super) fn kept_domains(&self) -> impl Iterator<Item = (DomainId, &'a Domain, &'a Domain)> {
        let (desired, observed) = (self.desired, self.observed);
        let ids = self.domains.iter().copied();
        ids.filter_map(|id| Some((id, desired.domains.get(&id)?, observed.domains.get(&id)?)))
    }

    /// The interfaces that stay, as wanted and as seen; those of others that hold something of ours as well.
    pub(super) fn kept_interfaces(&self) -> Vec<(End, Cow<'a, Interface>, &'a Interface)> {
        let kept = self.observed.interfaces().filter_map(|(at, seen)| match self.desired.interface(&at) {
            Some(wanted) if self.keeps_interface(&at) => Some((at, Cow::Borrowed(wanted), seen)),
            None if seen.kind == Kind::Existing => {
                Some((at, Cow::Owned(Interface::new(Kind::Existing)), seen))
            }
            Some(_) | None => None,
        });
        kept.collect()
    }

    /// What an interface is like when all that goes has gone and it has been made if it was not there.
    pub(super) fn interface_before(&self, at: &End, wanted: &Interface) -> Cow<'a, Interface> {
        let Some(seen) = self.kept(at) else { return Cow::Owned(newborn(wanted)) };
        let mut before = Cow::Borrowed(seen);
        if self.controller_of(at, seen) != seen.controller.as_ref() {
            before.to_mut().controller = None;
        }
        if seen.up && !wanted.up {
            before.to_mut().addresses.retain(|address| address.network.is_ipv4());
        }
        before
    }

    /// Whether an interface is up then.
    pub(super) fn is_up_before(&self, at: &End) -> bool {
        self.kept(at).is_some_and(|seen| seen.up)
    }

    /// An interface that stays, as seen.
    fn kept(&self, at: &End) -> Option<&'a Interface> {
        self.observed.interface(at).filter(|_| self.keeps_interface(at))
    }

    /// What an interface is still a port or member of when all that goes has gone.
    pub(super) fn controller_of<'i>(&self, at: &End, seen: &'i Interface) -> Option<&'i InterfaceName> {
        let stays = |controller: &&InterfaceName| {
            self.keeps_interface(&End { domain: at.domain, interface: (*controller).clone() })
        };
        seen.controller.as_ref().filter(stays)
    }

    /// The routes of an rtable that are there before anything is done.
    pub(super) fn routes_before(&self, domain: DomainId, rtable: RtableId) -> Option<&'a BTreeSet<Route>> {
        let seen = self.observed.domains.get(&domain).filter(|_| self.keeps_domain(domain))?;
        seen.tables(domain).find(|(id, _)| *id == rtable).map(|(_, routes)| routes)
    }

    /// What becomes of a route when all that goes has gone.
    pub(super) fn fate(&self, domain: DomainId, route: &Route) -> Fate {
        let devices_stay = route.devices().all(|dev| self.device_stays(domain, dev));
        let loses_source = |dev: &InterfaceName| {
            let at = End { domain, interface: dev.clone() };
            route.source().is_some_and(|source| self.loses_address(&at, source))
        };
        if devices_stay && !route.devices().any(loses_source) {
            return Fate::Stays;
        }
        match route.target {
            Target::Multipath { .. } => Fate::MustGo,
            Target::Unicast { .. } | Target::Blackhole | Target::Unreachable | Target::Prohibit => {
                Fate::Vanishes
            }
        }
    }

    /// Whether the kernel takes a route: none by an interface that is down.
    pub(super) fn route_is_possible(&self, domain: DomainId, route: &Route) -> bool {
        route.devices().all(|dev| self.device_is_up(domain, dev))
    }

    fn device_stays(&self, domain: DomainId, dev: &InterfaceName) -> bool {
        let at = End { domain, interface: dev.clone() };
        let foreign = self.observed.interface(&at).is_none_or(|seen| seen.kind == Kind::Existing);
        self.device_is_up(domain, dev) && (foreign || self.keeps_interface(&at))
    }

    fn device_is_up(&self, domain: DomainId, dev: &InterfaceName) -> bool {
        let at = End { domain, interface: dev.clone() };
        self.desired.interface(&at).is_none_or(|wanted| wanted.up || wanted.kind == Kind::Existing)
    }

    fn loses_address(&self, at: &End, address: IpAddr) -> bool {
        let (Some(wanted), Some(seen)) = (self.desired.interface(at), self.observed.interface(at)) else {
            return false;
        };
        seen.addresses.difference(&wanted.addresses).any(|gone| gone.network.ip() == address)
    }

    /// The value of a sysctl that was set and has not gone with its interface.
    pub(super) fn sysctl(&self, domain: DomainId, name: &SysctlName) -> Option<&'a String> {
        let seen = self.observed.domains.get(&domain).filter(|_| self.keeps_domain(domain))?;
        let of_one_made_anew = name.interface().is_some_and(|interface| {
            let at = End { domain, interface };
            self.desired.interface(&at).is_some() && !self.keeps_interface(&at)
        });
        seen.sysctls.get(name).filter(|_| !of_one_made_anew)
    }

    fn same_domain(&self, id: DomainId) -> bool {
        let names = (self.desired.domains.get(&id), self.observed.domains.get(&id));
        let same =
            |wanted: &Domain, seen: &Domain| (&wanted.name, wanted.isolation) == (&seen.name, seen.isolation);
        matches!(names, (Some(wanted), Some(seen)) if id.is_default() || same(wanted, seen))
    }

    fn same_interface(&self, at: &End) -> bool {
        let (Some(wanted), Some(seen)) = (self.desired.interface(at), self.observed.interface(at)) else {
            return false;
        };
        self.keeps_domain(at.domain) && self.same_kind(at, &wanted.kind, &seen.kind)
    }

    fn same_kind(&self, at: &End, wanted: &Kind, seen: &Kind) -> bool {
        match (wanted, seen) {
            (Kind::Loopback, Kind::Loopback)
            | (Kind::Bridge, Kind::Bridge)
            | (Kind::Dummy, Kind::Dummy)
            | (Kind::Existing, Kind::Existing) => true,
            (Kind::Physical { home: wanted }, Kind::Physical { home: seen }) => wanted == seen,
            (Kind::Vrf { rtable: wanted }, Kind::Vrf { rtable: seen }) => wanted == seen,
            (Kind::Vlan { .. }, Kind::Vlan { .. }) | (Kind::Macvlan { .. }, Kind::Macvlan { .. }) => {
                wanted == seen && wanted.parent().is_some_and(|parent| self.parent_stays(parent))
            }
            (Kind::Vxlan(wanted), Kind::Vxlan(seen)) => wanted == seen && self.keeps_domain(wanted.underlay),
            (Kind::Veth { peer: wanted }, Kind::Veth { peer: seen }) => {
                wanted == seen && self.keeps_domain(wanted.domain) && self.points_back(wanted, at)
            }
            (Kind::WireGuard(wanted), Kind::WireGuard(seen)) => {
                (wanted.engine, wanted.underlay) == (seen.engine, seen.underlay)
                    && self.keeps_domain(wanted.underlay)
            }
            (Kind::Loopback | Kind::Bridge | Kind::Existing | Kind::Dummy | Kind::Vrf { .. }, _)
            | (Kind::Veth { .. } | Kind::WireGuard(_) | Kind::Vlan { .. } | Kind::Macvlan { .. }, _)
            | (Kind::Vxlan(_) | Kind::Physical { .. }, _) => false,
        }
    }

    /// Whether what an interface stands on is the same before and after.
    fn parent_stays(&self, parent: &End) -> bool {
        match self.desired.interface(parent) {
            Some(_) => self.same_interface(parent),
            None => self.observed.interface(parent).is_some_and(|seen| seen.kind == Kind::Existing),
        }
    }

    /// Whether the other end of an observed link knows this one.
    fn points_back(&self, other: &End, at: &End) -> bool {
        let kind = self.observed.interface(other).map(|interface| &interface.kind);
        matches!(kind, Some(Kind::Veth { peer }) if peer == at)
    }
}
