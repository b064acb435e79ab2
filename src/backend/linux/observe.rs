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

use nix::errno::Errno;

use super::address::{self, Held};
use super::domains::{Domains, Inside};
use super::explain::Doing;
use super::link::{self, Driver, FarEnd, Link};
use super::mark::Mark;
use super::netlink::NetlinkError;
use super::tables::Tables;
use super::tunnels::Tunnels;
use super::{links, namespace_id, qdisc, route, routes, rule, sysctl};
use crate::backend::BackendError;
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Impairment, Interface, InterfaceName, Isolation, Kind,
    Network, NetworkName, Route, RtableId, Rule, SysctlName, Vxlan,
};
use crate::state::DomainRecord;

/// How often a namespace that is going is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What one namespace holds, as the kernel lists it.
struct Look {
    name: DomainName,
    isolation: Isolation,
    links: Vec<(InterfaceName, Link)>,
    impairments: BTreeMap<u32, Impairment>,
    addresses: Vec<Held>,
    routes: Vec<(RtableId, Route)>,
    rules: BTreeSet<Rule>,
    record: DomainRecord,
}

type Looks = BTreeMap<DomainId, Look>;

/// Reads everything back.
pub(super) fn network(
    name: &NetworkName,
    domains: &mut Domains,
    tunnels: &Tunnels,
) -> Result<Network, BackendError> {
    let (looks, cables) = settled(domains, looks, |_| true)?;
    let mut network = Network::empty(name.clone());
    for (&id, look) in &looks {
        network.domains.insert(id, domain(domains, tunnels, &looks, &cables, id, look)?);
    }
    Ok(network)
}

/// What the kernel holds of some domains; all else is as `around` has it. Those are absent whose namespace is another
/// one by now.
pub(super) fn some(
    around: &Network,
    wanted: &BTreeSet<DomainId>,
    domains: &mut Domains,
    tunnels: &Tunnels,
) -> Result<Network, BackendError> {
    let near = around.around(wanted).domains.into_iter();
    let joined = near.filter(|(_, domain)| !domain.interfaces.is_empty()).map(|(id, _)| id);
    let there: BTreeSet<_> = joined.chain(wanted.iter().copied()).collect();
    let (looks, cables) = settled(domains, |domains| looks_at(domains, &there), |id| wanted.contains(&id))?;
    let mut network = around.clone();
    for &id in wanted {
        match looks.get(&id) {
            Some(look) => {
                let seen = domain(domains, tunnels, &looks, &cables, id, look)?;
                network.domains.insert(id, seen);
            }
            None => drop(network.domains.remove(&id)),
        }
    }
    Ok(network)
}

/// Looks until nothing is seen of what is going, in the domains that matter, and links that came up can be used.
fn settled(
    domains: &mut Domains,
    look: impl Fn(&mut Domains) -> Result<Looks, BackendError>,
    matters: impl Fn(DomainId) -> bool,
) -> Result<(Looks, Cables), BackendError> {
    let mark = domains.network_mark().clone();
    loop {
        let looks = look(domains)?;
        links::settle(domains, &unsettled(&looks))?;
        let cables = cables(domains, &looks)?;
        let mut seen = looks.iter().filter(|(id, _)| matters(**id));
        if !domains.is_something_leaving() || !seen.any(|(id, look)| has_loose_end(*id, look, &cables, &mark))
        {
            return Ok((looks, cables));
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn domain(
    domains: &mut Domains,
    tunnels: &Tunnels,
    looks: &Looks,
    cables: &Cables,
    id: DomainId,
    look: &Look,
) -> Result<Domain, BackendError> {
    let mark = &domains.network_mark().clone();
    let (name, isolation) = (look.name.clone(), look.isolation);
    let mut domain = Domain { name, isolation, rules: look.rules.clone(), ..Domain::bare(id) };
    for (rtable, route) in &look.routes {
        domain.table_mut(id, *rtable).insert(route.clone());
    }
    domain.sysctls = sysctls(domains, id, &look.record)?;
    for (name, link) in &look.links {
        let at = End { domain: id, interface: name.clone() };
        let kind = kind(domains, tunnels, looks, mark, cables, &at, link)?;
        domain.interfaces.extend(kind.map(|kind| (name.clone(), interface(look, link, kind))));
    }
    Ok(domain)
}

fn looks(domains: &mut Domains) -> Result<Looks, BackendError> {
    let mut looks = Looks::new();
    for (id, record) in domains.refresh()? {
        looks.insert(id, look_into(domains, id, record)?);
    }
    Ok(looks)
}

/// Those of these domains that are still what they were.
fn looks_at(domains: &mut Domains, wanted: &BTreeSet<DomainId>) -> Result<Looks, BackendError> {
    let mut looks = Looks::new();
    for &id in wanted {
        if domains.same(id)? {
            let record = domains.record(id)?;
            looks.insert(id, look_into(domains, id, record)?);
        }
    }
    Ok(looks)
}

fn look_into(domains: &mut Domains, id: DomainId, record: DomainRecord) -> Result<Look, BackendError> {
    let sight = Sight { tables: domains.tables(id)?, is_shared: domains.is_shared(id) };
    let inside = domains.enter(id)?;
    let mut look = look(inside, record, &sight).doing(|| format!("read domain {id}"))?;
    look.links.retain(|(_, link)| domains.holds(id, link));
    Ok(look)
}

/// The ends of links whose carrier does not show yet.
fn unsettled(looks: &Looks) -> Vec<End> {
    let links = looks.iter().flat_map(|(&domain, look)| look.links.iter().map(move |link| (domain, link)));
    let unsettled = links.filter(|(_, (_, link))| link.far_end.is_some() && link.unsettled);
    unsettled.map(|(domain, (name, _))| End { domain, interface: name.clone() }).collect()
}

/// Whether the other end of any link of ours in a domain is out of sight: in a namespace that is going, and soon gone
/// with it.
fn has_loose_end(id: DomainId, look: &Look, cables: &Cables, mark: &Mark) -> bool {
    look.links.iter().any(|(name, link)| {
        let at = End { domain: id, interface: name.clone() };
        link.driver == Driver::Veth && link.is_ours(mark) && !cables.contains_key(&at)
    })
}

/// How a domain's routes and rules are told from others'.
struct Sight {
    tables: Tables,
    is_shared: bool,
}

fn look(inside: &mut Inside, record: DomainRecord, sight: &Sight) -> Result<Look, NetlinkError> {
    let named = |link: Link| Some((InterfaceName::new(link.name.as_str()).ok()?, link));
    let links: Vec<_> = link::dump(&mut inside.route)?.into_iter().filter_map(named).collect();
    let impaired = links.iter().any(|(_, link)| qdisc::impairs(&link.discipline));
    let impairments = if impaired { qdisc::dump(&mut inside.route)? } else { BTreeMap::new() };
    let addresses = address::dump(&mut inside.route)?;
    let addresses = addresses.into_iter().map(|held| held.judged_by(&record)).collect();
    let names = links.iter().map(|(name, link)| (link.index, name.clone())).collect();
    let mut routes = Vec::new();
    for (table, route) in route::dump(&mut inside.route, &names)? {
        let ours = !sight.is_shared || record.routes.contains(&routes::note(table, &route));
        let rtable = sight.tables.rtable_of(table).filter(|_| ours);
        routes.extend(rtable.map(|rtable| (rtable, route)));
    }
    let seen = rule::dump(&mut inside.route)?;
    let mut rules = rule::whole(&(&seen.parts - &seen.misplaced), seen.ipv6, sight.tables);
    rules.retain(|rule| !sight.is_shared || record.rules.contains(&rule.to_string()));
    let (name, isolation) = (inside.name.clone(), inside.isolation);
    Ok(Look { name, isolation, links, impairments, addresses, routes, rules, record })
}

/// The other end of each veth whose ends are both in domains of the network.
type Cables = BTreeMap<End, Cable>;

/// The far end of a veth.
struct Cable {
    far: End,
    alias: Option<String>,
}

/// Finds out which veths are joined: each knows the other's index and the number of its namespace. It is enough to ask
/// one of the two.
fn cables(domains: &mut Domains, looks: &Looks) -> Result<Cables, BackendError> {
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
            let Some(far_end) = link.far_end.filter(|_| !cables.contains_key(at)) else { continue };
            for (far, far_link) in likely(domains, at, far_end, candidates)? {
                if is_there(domains, &mut known, at, far_end, far)? {
                    cables.insert(at.clone(), Cable { far: far.clone(), alias: far_link.alias.clone() });
                    cables.insert(far.clone(), Cable { far: at.clone(), alias: link.alias.clone() });
                    break;
                }
            }
        }
    }
    Ok(cables)
}

/// Of many links with the right indexes, as each domain of a chain has them, those with the far end's hardware address.
fn likely<'a>(
    domains: &mut Domains,
    at: &End,
    far_end: FarEnd,
    candidates: &'a [(End, &'a Link)],
) -> Result<Vec<&'a (End, &'a Link)>, BackendError> {
    if candidates.len() < 2 {
        return Ok(candidates.iter().collect());
    }
    let far = match link::find_far_end(&mut domains.enter(at.domain)?.route, far_end) {
        // It is in a namespace that the caller may not look into, or that is gone.
        Err(error) if matches!(error.errno(), Some(Errno::EPERM | Errno::EACCES | Errno::EINVAL)) => None,
        result => result.doing(|| format!("look for the other end of {at}"))?,
    };
    let is_like = |link: &Link| far.as_ref().is_none_or(|far| far.hardware == link.hardware);
    Ok(candidates.iter().filter(|(_, link)| is_like(link)).collect())
}

/// Whether the namespace that `at` knows its far end to be in is that of `far`.
fn is_there(
    domains: &mut Domains,
    known: &mut BTreeMap<(DomainId, DomainId), Option<i32>>,
    at: &End,
    far_end: FarEnd,
    far: &End,
) -> Result<bool, BackendError> {
    let same = domains.share_a_namespace(at.domain, far.domain);
    let Some(id) = far_end.namespace_id else { return Ok(same && at != far) };
    if same {
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
    domains: &mut Domains,
    tunnels: &Tunnels,
    looks: &Looks,
    mark: &Mark,
    cables: &Cables,
    at: &End,
    link: &Link,
) -> Result<Option<Kind>, BackendError> {
    if let Some(home) = link.alias.as_deref().and_then(|alias| mark.home_of_lent(alias)) {
        return Ok(Some(Kind::Physical { home }));
    }
    let foreign = at.domain.is_default().then_some(Kind::Existing);
    let cable = cables.get(at);
    let far_alias = cable.and_then(|cable| cable.alias.as_deref());
    let ours = link.is_ours(mark) || far_alias.is_some_and(|alias| mark.is_on(alias));
    match link.driver {
        Driver::Loopback => Ok(foreign.or(Some(Kind::Loopback))),
        _ if !ours => Ok(foreign),
        Driver::Veth => Ok(Some(Kind::Veth { peer: cable.map_or(at, |cable| &cable.far).clone() })),
        Driver::Bridge => Ok(Some(Kind::Bridge)),
        Driver::Dummy => Ok(Some(Kind::Dummy)),
        Driver::Vrf { table } => Ok(RtableId::new(table).ok().map(|rtable| Kind::Vrf { rtable })),
        Driver::Vlan { id } => Ok(Some(Kind::Vlan { parent: parent(domains, looks, at, link)?, id })),
        Driver::Macvlan => Ok(Some(Kind::Macvlan { parent: parent(domains, looks, at, link)? })),
        Driver::Vxlan(set_up) => Ok(Some(Kind::Vxlan(vxlan(domains, looks, at, link, set_up)?))),
        Driver::WireGuard | Driver::Tun => {
            let tunnels_there = looks.get(&at.domain).map(|look| &look.record.tunnels);
            let record = tunnels_there.and_then(|tunnels| tunnels.get(at.interface.as_str())).cloned();
            let namespace = domains.namespace(at.domain)?;
            Ok(tunnels.read(namespace, at, link, &record.unwrap_or_default())?.map(Kind::WireGuard))
        }
        Driver::Other => Ok(None),
    }
}

/// What a link stands on; itself where that is out of sight, which nobody asks for.
fn parent(domains: &mut Domains, looks: &Looks, at: &End, link: &Link) -> Result<End, BackendError> {
    let Some(beneath) = link.parent else { return Ok(at.clone()) };
    for (&domain, look) in looks {
        let found = look.links.iter().find(|(_, link)| link.index == beneath.index);
        let Some((name, _)) = found else { continue };
        if is_namespace_of(domains, at.domain, beneath.namespace_id, domain)? {
            return Ok(End { domain, interface: name.clone() });
        }
    }
    Ok(at.clone())
}

/// Its underlay is the domain whose VRF device its sockets are bound to, else the one whose namespace they are in;
/// its own domain where that is out of sight.
fn vxlan(
    domains: &mut Domains,
    looks: &Looks,
    at: &End,
    link: &Link,
    set_up: link::Vxlan,
) -> Result<Vxlan, BackendError> {
    let link::Vxlan { id, local, remote, port, device } = set_up;
    let mut underlay = at.domain;
    for (&domain, look) in looks {
        let index_of = |name| look.links.iter().find(|(other, _)| *other == name).map(|(_, link)| link.index);
        let bound_to = domains.device(domain)?.and_then(index_of);
        if bound_to == device && is_namespace_of(domains, at.domain, link.birthplace, domain)? {
            underlay = domain;
            break;
        }
    }
    Ok(Vxlan { id, underlay, local, remote, port })
}

/// Whether the namespace that a link in `here` knows by this number, its own if by none, is that of `there`.
fn is_namespace_of(
    domains: &mut Domains,
    here: DomainId,
    number: Option<i32>,
    there: DomainId,
) -> Result<bool, BackendError> {
    let same = domains.share_a_namespace(here, there);
    let Some(number) = number else { return Ok(same) };
    let what = || format!("look for domain {there} from domain {here}");
    let namespace = domains.namespace(there)?.fd().try_clone().doing(what)?;
    let found = namespace_id::of(&mut domains.enter(here)?.route, &namespace).doing(what)?;
    Ok(!same && found == Some(number))
}

fn interface(look: &Look, link: &Link, kind: Kind) -> Interface {
    let name_of =
        |index| look.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name.clone());
    Interface {
        addresses: addresses(look, link, &kind),
        mtu: Some(link.mtu),
        up: link.up,
        controller: link.controller.and_then(name_of),
        impairment: impairment(look, link, &kind),
        kind,
    }
}

/// Only what an end of a link does is a network's; other links have the disciplines that their owners like.
fn impairment(look: &Look, link: &Link, kind: &Kind) -> Impairment {
    match kind {
        Kind::Veth { .. } => look.impairments.get(&link.index).copied().unwrap_or_default(),
        Kind::Loopback | Kind::Bridge | Kind::WireGuard(_) | Kind::Existing | Kind::Vrf { .. } => {
            Impairment::default()
        }
        Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => Impairment::default(),
        Kind::Physical { .. } => Impairment::default(),
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
        // Another network's have the same mark.
        Kind::Existing => held.filter(|held| held.is_noted(&look.record)).map(|held| held.address).collect(),
        Kind::Veth { .. }
        | Kind::Bridge
        | Kind::WireGuard(_)
        | Kind::Vrf { .. }
        | Kind::Dummy
        | Kind::Vlan { .. }
        | Kind::Macvlan { .. }
        | Kind::Vxlan(_)
        | Kind::Physical { .. } => held.filter(|held| held.ours).map(|held| held.address).collect(),
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
