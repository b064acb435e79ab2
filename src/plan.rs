//! The ordered difference between two networks. Pure: no IO, cannot fail.
//!
//! [`plan`] is the only place that decides what to change and in which order; applying, rolling back, taking down
//! and repairing are all a plan between two networks. [`bind`] fills in what a file leaves open.

mod bind;
mod compare;
mod step;

pub use bind::bind;
pub use step::Step;

use crate::model::{Domain, DomainId, End, Interface, Kind, Network, Route};
use compare::Comparison;

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
    let stale = seen.routes.iter().filter(|route| !wanted.routes.contains(route));
    let mut alive: Vec<_> = stale.filter(|route| compared.route_survives(domain, route)).collect();
    alive.sort_by_key(|route| !route.has_gateway());
    alive.into_iter().map(|route| Step::RemoveRoute { domain, route: route.clone() }).collect()
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
    if compared.bridge_of(at, seen).is_some() && wanted.bridge.is_none() {
        steps.push(Step::SetBridge { at: at.clone(), bridge: None });
    }
    if seen.up && !wanted.up {
        steps.push(Step::SetUp { at: at.clone(), up: false });
    }
    steps
}

/// Interfaces that go though their domain stays. A link goes by its first end whose domain stays.
fn deleted_interfaces(compared: &Comparison) -> Vec<Step> {
    let ours = compared.observed.interfaces().filter(|(at, seen)| {
        compared.keeps_domain(at.domain) && !matches!(seen.kind, Kind::Existing | Kind::Loopback)
    });
    let gone = ours.filter(|(at, _)| !compared.keeps_interface(at));
    let once = gone.filter(|(at, seen)| match &seen.kind {
        Kind::Veth { peer } => at < peer || !compared.keeps_domain(peer.domain),
        Kind::Bridge | Kind::WireGuard(_) | Kind::Loopback | Kind::Existing => true,
    });
    once.map(|(at, _)| Step::DeleteInterface { at }).collect()
}

fn additions(compared: &Comparison) -> Vec<Step> {
    let mut steps = Vec::new();
    let new = compared.desired.domains.iter().filter(|(id, _)| !compared.keeps_domain(**id));
    steps.extend(new.map(|(&domain, wanted)| Step::CreateDomain { domain, name: wanted.name.clone() }));
    for (at, wanted) in compared.desired.interfaces() {
        steps.extend(created_interface(compared, at, wanted));
    }
    for (&domain, wanted) in &compared.desired.domains {
        steps.extend(set_sysctls(compared, domain, wanted));
    }
    for (at, wanted) in compared.desired.interfaces() {
        steps.extend(set_interface(compared, &at, wanted));
    }
    steps.extend(raised_interfaces(compared));
    for (&domain, wanted) in &compared.desired.domains {
        steps.extend(added_routes(compared, domain, wanted));
    }
    steps
}

fn created_interface(compared: &Comparison, at: End, wanted: &Interface) -> Option<Step> {
    if compared.keeps_interface(&at) {
        return None;
    }
    match &wanted.kind {
        Kind::Loopback => None,
        Kind::Existing => Some(Step::RequireInterface { at }),
        Kind::Veth { peer } if *peer < at => None,
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
    if ours && wanted.bridge.is_some() && seen.bridge != wanted.bridge {
        steps.push(Step::SetBridge { at: at.clone(), bridge: wanted.bridge.clone() });
    }
    let addresses = wanted.addresses.difference(&seen.addresses);
    steps.extend(addresses.map(|&address| Step::AddAddress { at: at.clone(), address }));
    steps.extend(set_tunnel(at, wanted, &seen));
    steps
}

/// Interfaces that go up, tunnels that speak first last: their first words are lost on a peer that is not up yet,
/// and are said again only after five seconds (the Rekey-Timeout of the WireGuard paper, 6.1).
fn raised_interfaces(compared: &Comparison) -> Vec<Step> {
    let down = compared.desired.interfaces().filter(|(at, wanted)| {
        wanted.up && wanted.kind != Kind::Existing && !compared.interface_before(at, wanted).up
    });
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
    let standing = |route: &&Route| {
        compared.routes_before(domain).contains(*route) && compared.route_survives(domain, route)
    };
    let possible = wanted.routes.iter().filter(|route| compared.route_is_possible(domain, route));
    let mut missing: Vec<_> = possible.filter(|route| !standing(route)).collect();
    // A gateway may be reached by a route of the file, so those that need none come first.
    missing.sort_by_key(|route| route.has_gateway());
    missing.into_iter().map(|route| Step::AddRoute { domain, route: route.clone() }).collect()
}
