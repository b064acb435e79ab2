//! Makes a model of what the kernel holds of one network.
//!
//! What does not carry our mark is left out, but for the interfaces of the default domain, which a file may rely on:
//! they are `Existing`, with the addresses that are ours. A domain's `lo` is ours with every address that the
//! kernel did not make link-local, for the kernel itself adds 127.0.0.1/8 and ::1 when `lo` goes up.
//! A link of ours that the model has no words for (a tunnel whose engine is gone) is left out as well; making an
//! interface of its name removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use super::address::{self, Held};
use super::domains::{Domains, Inside};
use super::explain::Doing;
use super::link::{self, Driver, FarEnd, Link};
use super::mark::Mark;
use super::netlink::{Netlink, NetlinkError};
use super::tunnels::Tunnels;
use super::{namespace_id, route, sysctl};
use crate::backend::BackendError;
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Interface, InterfaceName, Kind, Network, NetworkName, Route,
    SysctlName,
};
use crate::state::DomainRecord;

/// How often a namespace that is going is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What one namespace holds, as the kernel lists it.
struct Look {
    name: DomainName,
    links: Vec<(InterfaceName, Link)>,
    addresses: Vec<Held>,
    routes: Vec<Route>,
    record: DomainRecord,
}

/// Reads everything back.
pub(super) fn network(
    name: &NetworkName,
    domains: &mut Domains,
    tunnels: &Tunnels,
    mark: &Mark,
) -> Result<Network, BackendError> {
    let (looks, cables) = loop {
        let looks = looks(domains)?;
        let cables = cables(domains, &looks)?;
        if !domains.is_something_leaving() || !has_loose_end(&looks, &cables, mark) {
            break (looks, cables);
        }
        thread::sleep(LOOK_EVERY);
    };
    let mut network = Network::empty(name.clone());
    for (&id, look) in &looks {
        let mut domain = Domain { name: look.name.clone(), ..Domain::bare(id) };
        domain.routes = look.routes.iter().cloned().collect();
        domain.sysctls = sysctls(domains, id, &look.record)?;
        for (name, link) in &look.links {
            let at = End { domain: id, interface: name.clone() };
            let kind = kind(domains, tunnels, look, mark, &cables, &at, link)?;
            domain.interfaces.extend(kind.map(|kind| (name.clone(), interface(look, link, kind))));
        }
        network.domains.insert(id, domain);
    }
    Ok(network)
}

fn looks(domains: &mut Domains) -> Result<BTreeMap<DomainId, Look>, BackendError> {
    let mut records = domains.refresh()?;
    let mut looks = BTreeMap::new();
    for (id, inside) in domains.each() {
        let record = records.remove(&id).unwrap_or_default();
        looks.insert(id, look(inside, record).doing(|| format!("read domain {id}"))?);
    }
    Ok(looks)
}

/// Whether the other end of any link of ours is out of sight: in a namespace that is going, and soon gone with it.
fn has_loose_end(looks: &BTreeMap<DomainId, Look>, cables: &Cables, mark: &Mark) -> bool {
    looks.iter().any(|(&id, look)| {
        look.links.iter().any(|(name, link)| {
            let at = End { domain: id, interface: name.clone() };
            link.driver == Driver::Veth && link.is_ours(mark) && !cables.contains_key(&at)
        })
    })
}

fn look(inside: &mut Inside, record: DomainRecord) -> Result<Look, NetlinkError> {
    let named = |link: Link| Some((InterfaceName::new(link.name.as_str()).ok()?, link));
    let links: Vec<_> = link::dump(&mut inside.route)?.into_iter().filter_map(named).collect();
    let addresses = address::dump(&mut inside.route)?;
    let addresses = addresses.into_iter().map(|held| held.judged_by(&record)).collect();
    let names = links.iter().map(|(name, link)| (link.index, name.clone())).collect();
    let routes = route::dump(&mut inside.route, &names)?;
    Ok(Look { name: inside.name.clone(), links, addresses, routes, record })
}

/// The other end of each veth whose ends are both in domains of the network.
type Cables = BTreeMap<End, Cable>;

/// The far end of a veth.
struct Cable {
    far: End,
    alias: Option<String>,
}

/// Finds out which veths are joined: each knows the other's index and the number of its namespace.
fn cables(domains: &mut Domains, looks: &BTreeMap<DomainId, Look>) -> Result<Cables, BackendError> {
    let mut by_indexes: BTreeMap<(u32, u32), Vec<(End, &Link)>> = BTreeMap::new();
    for (&id, look) in looks {
        for (name, link) in &look.links {
            let Some(far) = link.far_end else { continue };
            let at = End { domain: id, interface: name.clone() };
            by_indexes.entry((link.index, far.index)).or_default().push((at, link));
        }
    }
    let mut known = BTreeMap::new();
    let mut cables = Cables::new();
    for (&(index, far_index), ends) in &by_indexes {
        let candidates = by_indexes.get(&(far_index, index)).map(Vec::as_slice).unwrap_or_default();
        for (at, link) in ends {
            let Some(far_end) = link.far_end else { continue };
            for (far, far_link) in candidates {
                if is_there(domains, &mut known, at, far_end, far)? {
                    cables.insert(at.clone(), Cable { far: far.clone(), alias: far_link.alias.clone() });
                    break;
                }
            }
        }
    }
    Ok(cables)
}

/// Whether the namespace that `at` knows its far end to be in is that of `far`.
fn is_there(
    domains: &mut Domains,
    known: &mut BTreeMap<(DomainId, DomainId), Option<i32>>,
    at: &End,
    far_end: FarEnd,
    far: &End,
) -> Result<bool, BackendError> {
    let Some(id) = far_end.namespace_id else { return Ok(at.domain == far.domain && at != far) };
    if at.domain == far.domain {
        return Ok(false);
    }
    let pair = (at.domain, far.domain);
    if let Some(found) = known.get(&pair) {
        return Ok(*found == Some(id));
    }
    let what = || format!("look for domain {} from domain {}", far.domain, at.domain);
    let namespace = domains.namespace(far.domain)?.fd().try_clone().doing(what)?;
    let found = namespace_id::of(&mut domains.enter(at.domain)?.route, &namespace).doing(what)?;
    known.insert(pair, found);
    Ok(found == Some(id))
}

/// What a link is to this network; `None` if it is nothing to it.
fn kind(
    domains: &Domains,
    tunnels: &Tunnels,
    look: &Look,
    mark: &Mark,
    cables: &Cables,
    at: &End,
    link: &Link,
) -> Result<Option<Kind>, BackendError> {
    let foreign = at.domain.is_default().then_some(Kind::Existing);
    let cable = cables.get(at);
    let ours = link.is_ours(mark) || cable.is_some_and(|cable| cable.alias.as_deref() == Some(mark.alias()));
    match link.driver {
        Driver::Loopback => Ok(foreign.or(Some(Kind::Loopback))),
        Driver::Veth | Driver::Bridge | Driver::WireGuard | Driver::Tun | Driver::Other if !ours => {
            Ok(foreign)
        }
        Driver::Veth => Ok(Some(Kind::Veth { peer: cable.map_or(at, |cable| &cable.far).clone() })),
        Driver::Bridge => Ok(Some(Kind::Bridge)),
        Driver::WireGuard | Driver::Tun => {
            let record = look.record.tunnels.get(at.interface.as_str()).cloned().unwrap_or_default();
            let tunnel = tunnels.read(domains.namespace(at.domain)?, at, link, &record)?;
            Ok(tunnel.map(Kind::WireGuard))
        }
        Driver::Other => Ok(None),
    }
}

fn interface(look: &Look, link: &Link, kind: Kind) -> Interface {
    let name_of =
        |index| look.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name.clone());
    Interface {
        addresses: addresses(look, link, &kind),
        mtu: Some(link.mtu),
        up: link.up,
        controller: link.controller.and_then(name_of),
        kind,
    }
}

fn addresses(look: &Look, link: &Link, kind: &Kind) -> BTreeSet<Address> {
    let held = look.addresses.iter().filter(|held| held.index == link.index);
    match kind {
        // Duplicates are never looked for on a loopback.
        Kind::Loopback => held
            .filter(|held| held.ours || !held.is_link_local())
            .map(|held| Address::new(held.address.network))
            .collect(),
        Kind::Veth { .. }
        | Kind::Bridge
        | Kind::WireGuard(_)
        | Kind::Existing
        | Kind::Vrf { .. }
        | Kind::Dummy
        | Kind::Vlan { .. }
        | Kind::Macvlan { .. }
        | Kind::Vxlan(_) => held.filter(|held| held.ours).map(|held| held.address).collect(),
    }
}

fn sysctls(
    domains: &Domains,
    id: DomainId,
    record: &DomainRecord,
) -> Result<BTreeMap<SysctlName, String>, BackendError> {
    let mut values = BTreeMap::new();
    for name in record.sysctls.keys().filter_map(|name| SysctlName::new(name.as_str()).ok()) {
        let value = sysctl::read(domains.namespace(id)?, id, &name)?;
        values.extend(value.map(|value| (name, value)));
    }
    Ok(values)
}

/// The links of ours in a domain that must not just go with its namespace, which takes the kernel some time: those
/// with their sockets, or the other end, where another network may soon want the same port or name.
/// `default` is the default domain's number there.
pub(super) fn outliving(
    socket: &mut Netlink,
    mark: &Mark,
    default: Option<i32>,
) -> Result<Vec<Link>, NetlinkError> {
    let reaches_out = |link: &Link| match link.driver {
        Driver::WireGuard => true,
        Driver::Veth => default.is_some() && link.far_end.is_some_and(|far| far.namespace_id == default),
        Driver::Loopback | Driver::Bridge | Driver::Tun | Driver::Other => false,
    };
    let links = link::dump(socket)?;
    Ok(links.into_iter().filter(|link| link.is_ours(mark) && reaches_out(link)).collect())
}
