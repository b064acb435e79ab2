//! What stands in the named namespaces of this host, whoever made it, as a network: so that it can go over to a file.
//!
//! A namespace of ip-netns(8) becomes a domain that is called like it. Of the default domain only that comes in which
//! leads into one of those, and tunnels; all else is the machine's own. Nothing is changed. What a file has no words
//! for, and what daemons keep, is told and left out.

mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::address::{self, Held};
use super::explain::Doing;
use super::link::{self, Driver, FarEnd, Link};
use super::mark::Whose;
use super::namespace::{DIRECTORY, Namespace};
use super::netlink::{Netlink, Protocol};
use super::tables::Tables;
use super::{namespace_id, qdisc, route, rule, sysctl};
use crate::backend::BackendError;
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Impairment, Interface, InterfaceName, Isolation, Kind,
    Network, NetworkName, Route, SecretName, SysctlName, Vxlan,
};
use crate::state::Secret;

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// As a network that is not bound yet.
    pub network: Network,
    /// The secrets of its tunnels.
    pub secrets: BTreeMap<SecretName, Secret>,
    /// What is not in it, a sentence each.
    pub left: Vec<String>,
}

/// The sysctls that make a router of a domain.
const FORWARDING: [&str; 2] = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];

/// The size of packets that most interfaces have unless something else is said, and that of tunnels.
const USUAL_MTU: [u32; 2] = [1500, 1420];

/// One namespace, looked at.
struct Sight {
    name: DomainName,
    namespace: Namespace,
    route: Netlink,
    links: BTreeMap<InterfaceName, Link>,
    addresses: Vec<Held>,
    impairments: BTreeMap<u32, Impairment>,
    /// Which domain a number of the namespace's stands for.
    numbers: BTreeMap<i32, DomainId>,
}

/// Looks at all of it. The caller is in the default domain.
pub fn found(name: &NetworkName) -> Result<Found, BackendError> {
    let mut search = Search { sights: BTreeMap::new(), left: Vec::new(), secrets: BTreeMap::new() };
    search.look()?;
    search.number()?;
    let mut network = Network::empty(name.clone());
    for id in search.sights.keys().copied().collect::<Vec<_>>() {
        let domain = search.domain(id)?;
        network.domains.insert(id, domain);
    }
    search.add_parents(&mut network);
    tunnel::name_peers(&mut network, &search.secrets);
    Ok(Found { network, secrets: search.secrets, left: search.left })
}

struct Search {
    sights: BTreeMap<DomainId, Sight>,
    left: Vec<String>,
    secrets: BTreeMap<SecretName, Secret>,
}

impl Search {
    fn look(&mut self) -> Result<(), BackendError> {
        let here = Namespace::current().doing(|| "open the default domain".to_owned())?;
        let own = here.identity();
        let default = DomainId::DEFAULT;
        self.sights.insert(default, sight(DomainName::of_number(default), here)?);
        let mut names: Vec<DomainName> = Vec::new();
        for entry in fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
            match entry.file_name().to_str().map(DomainName::new) {
                Some(Ok(name)) => names.push(name),
                Some(Err(_)) | None => {
                    let name = entry.file_name();
                    self.left.push(format!("namespace {}: no name for a domain", name.display()));
                }
            }
        }
        names.sort();
        let ids = numbers(&names);
        for (name, id) in names.into_iter().zip(ids) {
            match Namespace::open(&name) {
                // A second name of the default domain, as some supervisors of containers make it.
                Ok(namespace) if namespace.identity() == own => {}
                Ok(namespace) => drop(self.sights.insert(id, sight(name, namespace)?)),
                Err(error) => self.left.push(format!("namespace {name}: {error}")),
            }
        }
        Ok(())
    }

    /// Finds out which namespace each number stands for that a link knows another one by.
    fn number(&mut self) -> Result<(), BackendError> {
        let others: Vec<(DomainId, std::os::fd::OwnedFd)> = self
            .sights
            .iter()
            .map(|(&id, sight)| Ok((id, sight.namespace.fd().try_clone()?)))
            .collect::<std::io::Result<_>>()
            .doing(|| "look at namespaces".to_owned())?;
        for (&here, sight) in &mut self.sights {
            let known = |link: &Link| {
                let ends = [link.far_end, link.parent].into_iter().flatten();
                ends.filter_map(|end| end.namespace_id).chain(link.birthplace).collect::<Vec<_>>()
            };
            let mut wanted: BTreeSet<i32> = sight.links.values().flat_map(known).collect();
            for (there, namespace) in others.iter().filter(|(there, _)| *there != here) {
                if wanted.is_empty() {
                    break;
                }
                let what = || format!("look for domain {there} from domain {here}");
                if let Some(number) = namespace_id::of(&mut sight.route, namespace).doing(what)? {
                    wanted.remove(&number);
                    sight.numbers.insert(number, *there);
                }
            }
        }
        Ok(())
    }

    fn domain(&mut self, id: DomainId) -> Result<Domain, BackendError> {
        let name = self.sights[&id].name.clone();
        let isolation = Isolation::Auto;
        let mut domain = Domain { name, isolation, interfaces: BTreeMap::new(), ..Domain::bare(id) };
        for interface in self.sights[&id].links.keys().cloned().collect::<Vec<_>>() {
            let at = End { domain: id, interface };
            if let Some(kind) = self.kind(&at)? {
                let held = self.sights[&id].interface(&at.interface, kind);
                domain.interfaces.insert(at.interface, held);
            }
        }
        if id.is_default() {
            self.leave_machine(&mut domain);
        }
        self.add_routes(id, &mut domain)?;
        if !id.is_default() {
            self.add_rules(id, &mut domain)?;
            for name in FORWARDING.iter().filter_map(|name| SysctlName::new(*name).ok()) {
                let value = sysctl::read(&self.sights[&id].namespace, id, &name)?;
                domain.sysctls.extend(value.filter(|value| value == "1").map(|value| (name, value)));
            }
        }
        Ok(domain)
    }

    /// What a link is; nothing for one that a file has no words for.
    fn kind(&mut self, at: &End) -> Result<Option<Kind>, BackendError> {
        let link = self.sights[&at.domain].links[&at.interface].clone();
        let kind = match link.driver {
            Driver::Loopback => (!at.domain.is_default()).then_some(Kind::Loopback),
            Driver::Veth => self.end(at.domain, link.far_end).map(|peer| Kind::Veth { peer }),
            Driver::Bridge => Some(Kind::Bridge),
            Driver::Dummy => Some(Kind::Dummy),
            Driver::Vlan { id } => self.end(at.domain, link.parent).map(|parent| Kind::Vlan { parent, id }),
            Driver::Macvlan => self.end(at.domain, link.parent).map(|parent| Kind::Macvlan { parent }),
            Driver::Vxlan(link::Vxlan { device: Some(_), .. }) | Driver::Vrf { .. } | Driver::Other => None,
            Driver::Vxlan(link::Vxlan { id, local, remote, port, device: None }) => {
                let underlay = self.elsewhere(at.domain, link.birthplace);
                underlay.map(|underlay| Kind::Vxlan(Vxlan { id, underlay, local, remote, port }))
            }
            Driver::WireGuard | Driver::Tun => tunnel::read(self, at, &link)?.map(Kind::WireGuard),
        };
        match link.driver {
            Driver::Vrf { .. } => self.left.push(format!("{at}: a VRF, with what is in it")),
            Driver::Loopback => {}
            _ if kind.is_some() || at.domain.is_default() => {}
            _ => {
                self.left.push(format!("{at}: of no kind that a file has, or joined to what is out of sight"))
            }
        }
        Ok(kind)
    }

    /// Of the default domain only what leads into another one, and tunnels.
    fn leave_machine(&self, domain: &mut Domain) {
        let leads = |held: &Interface| match &held.kind {
            Kind::Veth { peer } => !peer.domain.is_default(),
            Kind::WireGuard(_) => true,
            Kind::Loopback | Kind::Bridge | Kind::Existing | Kind::Vrf { .. } => false,
            Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => false,
            Kind::Physical { .. } => false,
        };
        let ports = domain.interfaces.values().filter(|held| leads(held));
        let switches: BTreeSet<InterfaceName> = ports.filter_map(|held| held.controller.clone()).collect();
        domain.interfaces.retain(|name, held| leads(held) || switches.contains(name));
    }

    /// The interface of this index that one in `here` hangs together with.
    fn end(&self, here: DomainId, far: Option<FarEnd>) -> Option<End> {
        let far = far?;
        let domain = self.elsewhere(here, far.namespace_id)?;
        let (name, _) = self.sights[&domain].links.iter().find(|(_, link)| link.index == far.index)?;
        Some(End { domain, interface: name.clone() })
    }

    /// The domain that `here` knows by this number; itself by none.
    fn elsewhere(&self, here: DomainId, number: Option<i32>) -> Option<DomainId> {
        match number {
            None => Some(here),
            Some(number) => self.sights[&here].numbers.get(&number).copied(),
        }
    }

    fn add_routes(&mut self, id: DomainId, domain: &mut Domain) -> Result<(), BackendError> {
        let Some(sight) = self.sights.get_mut(&id) else { return Ok(()) };
        let names = sight.links.iter().map(|(name, link)| (link.index, name.clone())).collect();
        let routes = route::dump_of(&mut sight.route, &names, Whose::Administrators);
        let tables = Tables::of(id, Isolation::Netns);
        for (table, route) in routes.doing(|| format!("read routes of domain {id}"))? {
            let Some(rtable) = tables.rtable_of(table) else { continue };
            let known = |route: &Route| route.devices().all(|dev| domain.interfaces.contains_key(dev));
            let dropped = route.devices().next().is_none();
            if id.is_default() && (dropped || !known(&route)) {
                continue;
            }
            match known(&route) {
                true => drop(domain.table_mut(id, rtable).insert(route)),
                false => self.left.push(format!("domain {id}: route {route}: its interface is left out")),
            }
        }
        Ok(())
    }

    fn add_rules(&mut self, id: DomainId, domain: &mut Domain) -> Result<(), BackendError> {
        let Some(sight) = self.sights.get_mut(&id) else { return Ok(()) };
        let seen = rule::dump_of(&mut sight.route, Whose::Administrators);
        let seen = seen.doing(|| format!("read rules of domain {id}"))?;
        domain.rules = rule::whole(&seen.parts, seen.ipv6, Tables::of(id, Isolation::Netns));
        Ok(())
    }

    /// What stands on a card of the default domain names it.
    fn add_parents(&self, network: &mut Network) {
        let parents: BTreeSet<End> =
            network.interfaces().filter_map(|(_, held)| parent(&held.kind)).collect();
        for end in parents.into_iter().filter(|end| end.domain.is_default()) {
            if let Some(domain) = network.domains.get_mut(&end.domain) {
                domain.interfaces.entry(end.interface).or_insert_with(|| Interface::new(Kind::Existing));
            }
        }
    }
}

fn parent(kind: &Kind) -> Option<End> {
    match kind {
        Kind::Vlan { parent, .. } | Kind::Macvlan { parent } => Some(parent.clone()),
        Kind::Loopback | Kind::Veth { .. } | Kind::Bridge | Kind::WireGuard(_) | Kind::Existing => None,
        Kind::Vrf { .. } | Kind::Dummy | Kind::Vxlan(_) | Kind::Physical { .. } => None,
    }
}

impl Sight {
    fn interface(&self, name: &InterfaceName, kind: Kind) -> Interface {
        let link = &self.links[name];
        let name_of =
            |index| self.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name.clone());
        let held = self.addresses.iter().filter(|held| held.index == link.index && !held.is_link_local());
        let is_loopback = kind == Kind::Loopback;
        let impaired = matches!(kind, Kind::Veth { .. });
        let usual = is_loopback || link.mtu == USUAL_MTU[usize::from(matches!(kind, Kind::WireGuard(_)))];
        let address =
            |held: &Held| if is_loopback { Address::new(held.address.network) } else { held.address };
        Interface {
            addresses: held.map(address).collect(),
            mtu: (!usual).then_some(link.mtu),
            up: link.up || is_loopback,
            controller: link.controller.and_then(name_of),
            impairment: self.impairments.get(&link.index).copied().filter(|_| impaired).unwrap_or_default(),
            kind,
        }
    }
}

fn sight(name: DomainName, namespace: Namespace) -> Result<Sight, BackendError> {
    let what = || format!("read namespace {name}");
    let mut route = Netlink::of(&namespace, Protocol::Route).doing(what)?;
    let links = link::dump(&mut route).doing(what)?;
    let impaired = links.iter().any(|link| qdisc::impairs(&link.discipline));
    let impairments = if impaired { qdisc::dump(&mut route).doing(what)? } else { BTreeMap::new() };
    let named =
        links.into_iter().filter_map(|link| Some((InterfaceName::new(link.name.as_str()).ok()?, link)));
    let links = named.collect();
    let addresses = address::dump(&mut route).doing(what)?;
    Ok(Sight { name, namespace, route, links, addresses, impairments, numbers: BTreeMap::new() })
}

/// A number for each of these namespaces: that of its name, `rdomN`, else the lowest that none has.
fn numbers(names: &[DomainName]) -> Vec<DomainId> {
    let told = |name: &DomainName| {
        let id: DomainId = name.as_str().strip_prefix("rdom")?.parse().ok()?;
        (!id.is_default()).then_some(id)
    };
    let taken: BTreeSet<DomainId> = names.iter().filter_map(told).collect();
    let mut free = (1..).filter_map(|number| DomainId::new(number).ok()).filter(|id| !taken.contains(id));
    names.iter().map(|name| told(name).or_else(|| free.next()).unwrap_or(DomainId::DEFAULT)).collect()
}
