//! Networks that nobody thought of, less what OpenBSD has not got, as [`limits`] has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use rdomain::backend::openbsd::{bound, limits};
use rdomain::model::{
    Address, Bindings, Domain, DomainId, End, Engine, Impairment, Interface, InterfaceName, Isolation, Key,
    Kind, Network, Peer, Preshared, PublicKey, Route, Target, WireGuard,
};

use super::machine::{preshared_key, private_key};
use super::networks::grown;

/// A network that an OpenBSD can hold, bound.
pub(crate) fn network() -> impl Strategy<Value = Network> {
    grown().prop_map(|grown| {
        let portable = portable(&grown);
        let limits = limits(&portable).into_iter().filter(|limit| !limit.optional);
        assert_eq!(limits.collect::<Vec<_>>(), vec![], "{portable:#?}");
        bound(&portable, &Bindings::default())
    })
}

fn portable(grown: &Network) -> Network {
    let mut network = grown.clone();
    let (mut names, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (&id, inside) in &mut network.domains {
        inside.isolation = Isolation::Netns;
        inside.rules.clear();
        inside.sysctls.clear();
        if !id.is_default() {
            let lo = Interface::new(Kind::Loopback);
            inside.interfaces.entry(InterfaceName::loopback()).or_insert(lo);
            inside.rtables.clear();
        }
        let old = std::mem::take(&mut inside.interfaces);
        inside.interfaces =
            old.into_iter().filter_map(|(name, held)| interface(&name, held, &mut ports)).collect();
        inside.interfaces.retain(|name, held| held.kind == Kind::Loopback || names.insert(name.clone()));
    }
    // What a tunnel stands on may have gone.
    for _ in 0..2 {
        let ends: BTreeSet<End> = network.interfaces().map(|(at, _)| at).collect();
        let stands = |held: &Interface| match &held.kind {
            Kind::Veth { peer } => ends.contains(peer),
            Kind::Vlan { parent, .. } => ends.contains(parent),
            _ => true,
        };
        network.domains.values_mut().for_each(|inside| inside.interfaces.retain(|_, held| stands(held)));
    }
    network.domains.iter_mut().for_each(|(&id, inside)| settle(id, inside));
    let without = limits(&network)
        .into_iter()
        .filter(|limit| !limit.optional)
        .map(|limit| limit.object)
        .collect::<BTreeSet<_>>();
    for (&id, inside) in &mut network.domains {
        let fits = |rtable, route: &Route| {
            !without.contains(&rdomain::model::Object::Route(id, rtable, route.to, route.metric))
        };
        inside.routes.retain(|route| fits(id.into(), route));
        inside.rtables.iter_mut().for_each(|(&rtable, routes)| routes.retain(|route| fits(rtable, route)));
        inside.rtables.retain(|_, routes| !routes.is_empty());
    }
    network
}

fn interface(
    name: &InterfaceName,
    mut held: Interface,
    ports: &mut BTreeSet<(DomainId, Option<u16>)>,
) -> Option<(InterfaceName, Interface)> {
    held.controller = None;
    held.impairment = Impairment::default();
    let name = match &mut held.kind {
        Kind::Loopback => {
            (held.up, held.mtu) = (true, None);
            name.clone()
        }
        Kind::Existing => InterfaceName::new("em0").ok()?,
        Kind::Veth { peer } => {
            peer.interface = pair(&peer.interface)?;
            pair(name)?
        }
        Kind::Dummy => vether(name)?,
        Kind::Vlan { parent, .. } => {
            let text = parent.interface.as_str();
            let is_pair = text.starts_with('v') && text.len() == 3;
            parent.interface = if is_pair { pair(&parent.interface)? } else { vether(&parent.interface)? };
            name.clone()
        }
        Kind::WireGuard(tunnel) => {
            real_keys(tunnel);
            ports.insert((tunnel.underlay, tunnel.listen_port)).then(|| name.clone())?
        }
        Kind::Bridge | Kind::Vrf { .. } | Kind::Macvlan { .. } => return None,
        Kind::Vxlan(_) | Kind::Physical { .. } => return None,
    };
    Some((name, held))
}

/// `dummy1` is vether1.
fn vether(name: &InterfaceName) -> Option<InterfaceName> {
    name.as_str()
        .starts_with("dummy")
        .then(|| InterfaceName::new(name.as_str().replace("dummy", "vether")).ok())?
}

/// `v1a` is pair2, `v1b` is pair3.
fn pair(name: &InterfaceName) -> Option<InterfaceName> {
    let (number, end) = name.as_str().strip_prefix('v')?.split_at(1);
    let number: u8 = number.parse().ok()?;
    InterfaceName::new(format!("pair{}", 2 * number + u8::from(end == "b"))).ok()
}

fn real_keys(tunnel: &mut WireGuard) {
    tunnel.engine = Engine::Kernel;
    let Key::Public(PublicKey([number, ..])) = tunnel.key else { return };
    tunnel.key = Key::Public(private_key(number).public_key());
    let peers: BTreeMap<Key, Peer> = std::mem::take(&mut tunnel.peers);
    tunnel.peers = peers.into_iter().map(|(key, peer)| (key.clone(), real_peer(&key, peer))).collect();
}

fn real_peer(key: &Key, mut peer: Peer) -> Peer {
    if let (Some(Preshared::Known(known)), Key::Public(PublicKey([number, ..]))) =
        (&mut peer.preshared_key, key)
    {
        *known = preshared_key(known.0[0]).fingerprint();
        peer.persistent_keepalive_secs = 25 * u16::from(number % 2);
    }
    peer
}

/// Addresses that an interface can have, and routes by interfaces that are there.
fn settle(id: DomainId, inside: &mut Domain) {
    let mut seen = BTreeSet::new();
    for held in inside.interfaces.values_mut() {
        held.addresses.retain(|own| seen.insert(own.network.ip()));
        held.up |= !held.addresses.is_empty();
    }
    let drops = |route: &Route| matches!(route.target, Target::Blackhole | Target::Unreachable);
    if inside.routes.iter().any(drops)
        && let Some(lo) = inside.interfaces.get_mut(&InterfaceName::loopback())
    {
        lo.addresses.insert(Address::new("127.0.0.1/8".parse().unwrap()));
    }
    let routes = std::mem::take(&mut inside.routes);
    inside.routes = routes.into_iter().filter_map(|found| route(found, inside)).collect();
    let rtables = std::mem::take(&mut inside.rtables);
    for (rtable, routes) in rtables {
        let routes = routes.into_iter().filter_map(|found| route(found, inside)).collect();
        inside.rtables.insert(rtable, routes);
    }
    debug_assert!(id.is_default() || inside.rtables.is_empty());
}

fn route(mut found: Route, inside: &Domain) -> Option<Route> {
    if found.metric == 1 {
        found.metric = 9;
    }
    match &mut found.target {
        Target::Unicast { dev, src, .. } => {
            *src = None;
            *dev = renamed(dev)?;
            let by = inside.interfaces.get(dev)?;
            (by.kind != Kind::Existing).then_some(())?;
        }
        Target::Multipath { hops, .. } => {
            for hop in &mut *hops {
                hop.dev = renamed(&hop.dev)?;
                let by = inside.interfaces.get(&hop.dev).filter(|by| by.kind != Kind::Existing)?;
                hop.via = by.addresses.iter().find_map(|own| neighbour(own.network));
                hop.via?;
            }
            found = found.with_sorted_ways();
        }
        Target::Blackhole | Target::Unreachable | Target::Prohibit => {}
    }
    Some(found)
}

fn renamed(dev: &InterfaceName) -> Option<InterfaceName> {
    match dev.as_str() {
        "eth0" => InterfaceName::new("em0").ok(),
        name if name.starts_with("dummy") => vether(dev),
        name if name.starts_with('v') && name.len() == 3 => pair(dev),
        _ => Some(dev.clone()),
    }
}

/// Another host of an IPv4 network.
fn neighbour(own: IpNetwork) -> Option<IpAddr> {
    let IpNetwork::V4(v4) = own else { return None };
    v4.iter().skip(1).find(|host| *host != v4.ip() && *host != v4.broadcast()).map(IpAddr::V4)
}
