//! The ordered difference between two networks. Pure: no IO, cannot fail.
//!
//! [`plan`] is the only place that decides what to change and in which order; applying, rolling back, taking down
//! and repairing are all a plan between two networks. [`bind`] fills in what a file leaves open.

mod bind;
mod compare;
mod interruption;
mod isolate;
mod step;

pub use bind::bind;
pub use interruption::{Connections, Interruption, interruption};
pub use isolate::{is_last, is_of_vrf};
pub use step::Step;

use std::cmp::Reverse;

use crate::model::{Domain, DomainId, End, Interface, Kind, Network, Route};
use compare::{Comparison, Fate};

/// The steps that turn `observed` into `desired`; none if they are the same.
///
/// What leaves goes first, users before what they use (routes, addresses, peers, interfaces, domains); then what
/// comes, the other way round. Objects that both have are changed in place, unless what cannot change differs (a
/// domain's name, an interface's kind, the ends of a link, a tunnel's engine or underlay): then they are removed
/// and made again, with all that stands on them.
pub fn plan(desired: &Network, observed: &Network) -> Vec<Step> {
    let compared = Comparison::new(desired, observed);
    let mut steps = removals(&compared);
    steps.extend(additions(&compared));
    steps
}

fn removals(compared: &Comparison) -> Vec<Step> {
    let mut steps = Vec::new();
    for (domain, wanted, seen) in compared.kept_domains() {
        steps.extend(removed_rules(domain, wanted, seen));
        steps.extend(removed_routes(compared, domain, wanted, seen));
        steps.extend(removed_sysctls(domain, wanted, seen));
    }
    for (at, wanted, seen) in compared.kept_interfaces() {
        steps.extend(removed_from_interface(compared, &at, &wanted, seen));
    }
    steps.extend(deleted_interfaces(compared));
    let gone = compared.observed.domains.iter().filter(|(id, _)| !compared.keeps_domain(**id));
    steps.extend(gone.map(|(&domain, seen)| Step::DeleteDomain { domain, name: seen.name.clone() }));
    steps
}

fn removed_routes(compared: &Comparison, domain: DomainId, wanted: &Domain, seen: &Domain) -> Vec<Step> {
    let mut going = Vec::new();
    for (rtable, routes) in seen.tables(domain) {
        let stays = wanted.tables(domain).find(|(id, _)| *id == rtable).map(|(_, routes)| routes);
        going.extend(routes.iter().filter_map(|route| {
            let goes = match compared.fate(domain, route) {
                Fate::Stays => stays.is_none_or(|stays| !stays.contains(route)),
                Fate::Vanishes => false,
                Fate::MustGo => true,
            };
            goes.then_some((rtable, route))
        }));
    }
    going.sort_by_key(|(_, route)| !route.has_gateway());
    going
        .into_iter()
        .map(|(rtable, route)| Step::RemoveRoute { domain, rtable, route: route.clone() })
        .collect()
}

fn removed_rules(domain: DomainId, wanted: &Domain, seen: &Domain) -> Vec<Step> {
    let stale = seen.rules.difference(&wanted.rules);
    stale.map(|rule| Step::RemoveRule { domain, rule: rule.clone() }).collect()
}

fn removed_sysctls(domain: DomainId, wanted: &Domain, seen: &Domain) -> Vec<Step> {
    let stale = seen.sysctls.keys().filter(|name| !wanted.sysctls.contains_key(name));
    stale.map(|name| Step::ResetSysctl { domain, name: name.clone() }).collect()
}

fn removed_from_interface(
    compared: &Comparison,
    at: &End,
    wanted: &Interface,
    seen: &Interface,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let addresses = seen.addresses.difference(&wanted.addresses);
    steps.extend(addresses.map(|&address| Step::RemoveAddress { at: at.clone(), address }));
    if let (Some(wanted), Some(seen)) = (wanted.wireguard(), seen.wireguard()) {
        let peers = seen.peers.keys().filter(|key| !wanted.peers.contains_key(key));
        steps.extend(peers.map(|key| Step::RemovePeer { at: at.clone(), key: key.clone() }));
    }
    if wanted.kind == Kind::Existing {
        return steps;
    }
    if compared.controller_of(at, seen).is_some() && wanted.controller.is_none() {
        steps.push(Step::SetController { at: at.clone(), controller: None });
    }
    if seen.up && !wanted.up {
        steps.push(Step::SetUp { at: at.clone(), up: false });
    }
    steps
}

/// Interfaces that go though their domain stays, or the one that they stand on or have their sockets in, where others may
/// soon want their place; each before what it stands on. A link goes by its first end whose domain stays. What is lent
/// goes back before its domain goes, with which it might be lost.
fn deleted_interfaces(compared: &Comparison) -> Vec<Step> {
    let ours = compared.observed.interfaces().filter(|(at, seen)| match seen.kind {
        Kind::Existing | Kind::Loopback => false,
        Kind::Physical { .. } => true,
        Kind::Veth { .. } | Kind::Bridge | Kind::WireGuard(_) | Kind::Vrf { .. } | Kind::Dummy => {
            compared.keeps_domain(at.domain)
        }
        Kind::Vlan { ref parent, .. } | Kind::Macvlan { ref parent } => {
            compared.keeps_domain(at.domain) || compared.keeps_domain(parent.domain)
        }
        Kind::Vxlan(ref vxlan) => compared.keeps_domain(at.domain) || compared.keeps_domain(vxlan.underlay),
    });
    let gone = ours.filter(|(at, _)| !compared.keeps_interface(at));
    let once = gone.filter(|(at, seen)| match &seen.kind {
        // A link whose other end is out of sight is joined to itself.
        Kind::Veth { peer } => at <= peer || !compared.keeps_domain(peer.domain),
        Kind::Bridge | Kind::WireGuard(_) | Kind::Loopback | Kind::Existing | Kind::Vrf { .. } => true,
        Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => true,
        Kind::Physical { .. } => true,
    });
    let mut gone: Vec<End> = once.map(|(at, _)| at).collect();
    gone.sort_by_cached_key(|at| Reverse(order(compared.observed, at)));
    gone.into_iter().map(|at| removed_interface(compared.observed, at)).collect()
}

fn removed_interface(observed: &Network, at: End) -> Step {
    match observed.interface(&at).map(|seen| &seen.kind) {
        Some(Kind::Physical { home }) => Step::ReturnInterface { at, home: home.clone() },
        Some(_) | None => Step::DeleteInterface { at },
    }
}

fn additions(compared: &Comparison) -> Vec<Step> {
    let mut steps = Vec::new();
    let new = compared.desired.domains.iter().filter(|(id, _)| !compared.keeps_domain(**id));
    steps.extend(new.map(|(&domain, wanted)| {
        let (name, isolation) = (wanted.name.clone(), wanted.isolation);
        Step::CreateDomain { domain, name, isolation }
    }));
    let mut wanted: Vec<_> = compared.desired.interfaces().collect();
    wanted.sort_by_cached_key(|(at, _)| order(compared.desired, at));
    let created = wanted.iter().filter_map(|(at, wanted)| created_interface(compared, at.clone(), wanted));
    steps.extend(created);
    for (&domain, wanted) in &compared.desired.domains {
        steps.extend(set_sysctls(compared, domain, wanted));
    }
    // Nothing can have a larger packet than what it stands on.
    for (at, wanted) in &wanted {
        steps.extend(set_interface(compared, at, wanted));
    }
    steps.extend(raised_interfaces(compared));
    for (&domain, wanted) in &compared.desired.domains {
        steps.extend(added_routes(compared, domain, wanted));
        steps.extend(added_rules(compared, domain, wanted));
    }
    steps
}

/// Interfaces are made in this order and removed in the other: VRF devices first, for sockets in any domain may be
/// bound to them, and each before what stands on it.
fn order(network: &Network, at: &End) -> (bool, usize) {
    let is_vrf = network.interface(at).is_some_and(|found| matches!(found.kind, Kind::Vrf { .. }));
    (!is_vrf, compare::depth(network, at))
}

fn created_interface(compared: &Comparison, at: End, wanted: &Interface) -> Option<Step> {
    if compared.keeps_interface(&at) {
        return None;
    }
    match &wanted.kind {
        Kind::Loopback => None,
        Kind::Existing => Some(Step::RequireInterface { at }),
        Kind::Veth { peer } if *peer < at => None,
        Kind::Physical { home } => Some(Step::LendInterface { at, home: home.clone() }),
        kind => Some(Step::CreateInterface { at, kind: kind.clone() }),
    }
}

fn set_sysctls(compared: &Comparison, domain: DomainId, wanted: &Domain) -> Vec<Step> {
    let differs = wanted.sysctls.iter().filter(|(name, value)| compared.sysctl(domain, name) != Some(value));
    differs
        .map(|(name, value)| Step::SetSysctl { domain, name: name.clone(), value: value.clone() })
        .collect()
}

fn set_interface(compared: &Comparison, at: &End, wanted: &Interface) -> Vec<Step> {
    let seen = compared.interface_before(at, wanted);
    let mut steps = Vec::new();
    let ours = wanted.kind != Kind::Existing;
    if let Some(mtu) = wanted.mtu.filter(|mtu| ours && seen.mtu != Some(*mtu)) {
        steps.push(Step::SetMtu { at: at.clone(), mtu });
    }
    if ours && wanted.controller.is_some() && seen.controller != wanted.controller {
        steps.push(Step::SetController { at: at.clone(), controller: wanted.controller.clone() });
    }
    if ours && wanted.impairment != seen.impairment {
        steps.push(Step::SetImpairment { at: at.clone(), impairment: wanted.impairment });
    }
    let addresses = wanted.addresses.difference(&seen.addresses);
    steps.extend(addresses.map(|&address| Step::AddAddress { at: at.clone(), address }));
    steps.extend(set_tunnel(at, wanted, &seen));
    steps
}

/// Interfaces that go up, tunnels that speak first last: their first words are lost on a peer that is not up yet,
/// and are said again only after five seconds (the Rekey-Timeout of the WireGuard paper, 6.1).
fn raised_interfaces(compared: &Comparison) -> Vec<Step> {
    let down = compared
        .desired
        .interfaces()
        .filter(|(at, wanted)| wanted.up && wanted.kind != Kind::Existing && !compared.is_up_before(at));
    let mut down: Vec<_> = down.collect();
    down.sort_by_key(|(_, wanted)| speaks_first(wanted));
    down.into_iter().map(|(at, _)| Step::SetUp { at, up: true }).collect()
}

fn speaks_first(interface: &Interface) -> bool {
    let peers = interface.wireguard().into_iter().flat_map(|tunnel| tunnel.peers.values());
    peers.into_iter().any(|peer| peer.persistent_keepalive_secs > 0)
}

fn set_tunnel(at: &End, wanted: &Interface, seen: &Interface) -> Vec<Step> {
    let (Some(wanted), Some(seen)) = (wanted.wireguard(), seen.wireguard()) else { return Vec::new() };
    let mut steps = Vec::new();
    if (wanted.listen_port, &wanted.key) != (seen.listen_port, &seen.key) {
        steps.push(Step::SetTunnel { at: at.clone(), tunnel: wanted.clone() });
    }
    for (key, peer) in &wanted.peers {
        let before = seen.peers.get(key);
        if before.is_none_or(|before| !compare::same_peer(peer, before)) {
            let new_session = before.is_some_and(|before| before.preshared_key != peer.preshared_key);
            steps.push(Step::SetPeer { at: at.clone(), key: key.clone(), peer: peer.clone(), new_session });
        }
    }
    steps
}

fn added_routes(compared: &Comparison, domain: DomainId, wanted: &Domain) -> Vec<Step> {
    let mut missing = Vec::new();
    for (rtable, routes) in wanted.tables(domain) {
        let before = compared.routes_before(domain, rtable);
        let stands = |route: &Route| {
            before.is_some_and(|before| before.contains(route)) && compared.fate(domain, route) == Fate::Stays
        };
        let possible = routes.iter().filter(|route| compared.route_is_possible(domain, route));
        missing.extend(possible.filter(|route| !stands(route)).map(|route| (rtable, route)));
    }
    // A gateway may be reached by a route of the file, so those that need none come first.
    missing.sort_by_key(|(_, route)| route.has_gateway());
    missing
        .into_iter()
        .map(|(rtable, route)| Step::AddRoute { domain, rtable, route: route.clone() })
        .collect()
}

fn added_rules(compared: &Comparison, domain: DomainId, wanted: &Domain) -> Vec<Step> {
    let seen = compared.observed.domains.get(&domain).filter(|_| compared.keeps_domain(domain));
    let missing = wanted.rules.iter().filter(|rule| seen.is_none_or(|seen| !seen.rules.contains(rule)));
    missing.map(|rule| Step::AddRule { domain, rule: rule.clone() }).collect()
}
