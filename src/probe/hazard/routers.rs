//! The domains through which others send their packets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{Domain, DomainId, End, Interface, InterfaceName, Kind, Network, Prefix, Target};

/// A domain that others use as a gateway to what is behind it, and whether for IPv6.
pub(super) type Router = (DomainId, bool);

/// Those of a network.
pub(super) fn routers(network: &Network) -> BTreeSet<Router> {
    let routes = network.domains.iter().flat_map(|(&id, domain)| {
        domain.tables(id).flat_map(move |(_, routes)| routes.iter().map(move |route| (id, route)))
    });
    let ways = routes
        .flat_map(|(id, route)| gateways(&route.target).into_iter().map(move |way| (id, route.to, way)));
    let holders = holders(network);
    let routers = ways.filter_map(|(id, to, (via, dev))| {
        let router = router(network, &holders, id, via, dev)?;
        passes_on(network, router, to, &Sender { domain: id, via }).then_some((router, to.is_ipv6()))
    });
    routers.collect()
}

/// The domains that have an address, for each that one has.
type Holders = BTreeMap<IpAddr, BTreeSet<DomainId>>;

fn holders(network: &Network) -> Holders {
    let mut holders = Holders::new();
    for (at, interface) in network.interfaces() {
        for address in &interface.addresses {
            holders.entry(address.network.ip()).or_default().insert(at.domain);
        }
    }
    holders
}

fn gateways(target: &Target) -> Vec<(IpAddr, &InterfaceName)> {
    match target {
        Target::Unicast { via, dev, .. } => via.iter().map(|via| (*via, dev)).collect(),
        Target::Multipath { hops, .. } => hops.iter().filter_map(|hop| Some((hop.via?, &hop.dev))).collect(),
        Target::Blackhole | Target::Unreachable | Target::Prohibit => Vec::new(),
    }
}

/// The domain that has this gateway: the one at the other end of the link, else the only one with the address.
fn router(
    network: &Network,
    holders: &Holders,
    id: DomainId,
    via: IpAddr,
    dev: &InterfaceName,
) -> Option<DomainId> {
    let holders: Vec<_> = holders.get(&via)?.iter().copied().filter(|other| *other != id).collect();
    let at = End { domain: id, interface: dev.clone() };
    let across = match network.interface(&at).map(|interface| &interface.kind) {
        Some(Kind::Veth { peer }) => Some(peer.domain),
        Some(_) | None => None,
    };
    across.filter(|across| holders.contains(across)).or(match holders.as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

/// Where packets come from: the domain, and the gateway's address that it sends them to.
struct Sender {
    domain: DomainId,
    via: IpAddr,
}

/// Whether packets to these addresses have a way through a domain: they are not its own, and do not only lead back. What
/// the default domain has beside the network is not known.
fn passes_on(network: &Network, router: DomainId, to: Prefix, from: &Sender) -> bool {
    let Some(domain) = network.domains.get(&router) else { return false };
    let is_its_own = domain.interfaces.values().any(|held| has(held, to.address())) && to.is_host();
    let leads_on = |(there, dev): (Prefix, &InterfaceName)| {
        there.overlaps(to) && domain.interfaces.get(dev).is_none_or(|held| !leads_back(held, from))
    };
    !is_its_own && (router.is_default() || ways_out(domain, router).any(leads_on))
}

/// Where a domain has a route to, its own networks among it, and by which interface.
fn ways_out(domain: &Domain, id: DomainId) -> impl Iterator<Item = (Prefix, &InterfaceName)> {
    let routes = domain.tables(id).flat_map(|(_, routes)| routes);
    let routes = routes.flat_map(|route| route.devices().map(|dev| (route.to, dev)));
    let shared = domain
        .interfaces
        .iter()
        .filter(|(_, held)| !matches!(held.kind, Kind::Loopback | Kind::Dummy | Kind::Vrf { .. }));
    let connected = shared.flat_map(|(name, held)| {
        let networks = held.addresses.iter().map(|address| Prefix::containing(address.network));
        networks.filter(|network| !network.is_host()).map(move |network| (network, name))
    });
    routes.chain(connected)
}

/// Whether nobody is behind an interface but where the packets come from.
fn leads_back(held: &Interface, from: &Sender) -> bool {
    match &held.kind {
        Kind::Veth { peer } => peer.domain == from.domain,
        Kind::WireGuard(tunnel) => tunnel.peers.len() == 1 && has(held, from.via),
        Kind::Loopback | Kind::Dummy | Kind::Vrf { .. } => true,
        Kind::Bridge | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => false,
        Kind::Physical { .. } | Kind::Existing => false,
    }
}

fn has(held: &Interface, address: IpAddr) -> bool {
    held.addresses.iter().any(|held| held.network.ip() == address)
}
