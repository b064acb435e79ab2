//! What stands in the named namespaces of this host, whoever made it, as a network: so that it can go over to a file.
//!
//! A namespace of ip-netns(8) becomes a domain that is called like it, a VRF of the default domain's namespace one that
//! is a VRF alone, of the number of its table. Of the default domain only that comes in which leads into one of those,
//! and tunnels; all else is the machine's own. Nothing is changed. What a file has no words
//! for, and what daemons keep, is told and left out.

mod sight;
mod tunnel;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::explain::Doing;
use super::link::{self, Driver, FarEnd, Link};
use super::mark::Whose;
use super::namespace::{DIRECTORY, Namespace};
use super::tables::Tables;
use super::{namespace_id, route, rule, sysctl};
use crate::backend::BackendError;
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Interface, InterfaceName, Isolation, Kind, Network,
    NetworkName, Route, SecretName, SysctlName, Vxlan,
};
use crate::state::Secret;
use sight::{Sight, sight};

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

/// Looks at all of it. The caller is in the default domain.
pub fn found(name: &NetworkName) -> Result<Found, BackendError> {
    let mut search = Search::default();
    search.look()?;
    search.number()?;
    let mut network = Network::empty(name.clone());
    let ids: Vec<DomainId> = search.sights.keys().chain(search.guests.keys()).copied().collect();
    for id in ids {
        let domain = search.domain(id)?;
        network.domains.insert(id, domain);
    }
    search.add_parents(&mut network);
    tunnel::name_peers(&mut network, &search.secrets);
    Ok(Found { network, secrets: search.secrets, left: search.left })
}

/// A VRF of the default domain's namespace.
struct Guest {
    name: DomainName,
    index: u32,
}

#[derive(Default)]
struct Search {
    sights: BTreeMap<DomainId, Sight>,
    /// The VRFs of the default domain's namespace, each a domain.
    guests: BTreeMap<DomainId, Guest>,
    left: Vec<String>,
    secrets: BTreeMap<SecretName, Secret>,
}

impl Search {
    fn look(&mut self) -> Result<(), BackendError> {
        let here = Namespace::current().doing(|| "open the default domain".to_owned())?;
        let own = here.identity();
        let default = DomainId::DEFAULT;
        let own_sight = sight(DomainName::of_number(default), here)?;
        for (device, link) in &own_sight.links {
            let Driver::Vrf { table } = link.driver else { continue };
            match (DomainId::new(table), DomainName::new(device.as_str())) {
                (Ok(id), Ok(name)) => drop(self.guests.insert(id, Guest { name, index: link.index })),
                _ => self.left.push(format!("VRF {device} of table {table}: no number or name of a domain")),
            }
        }
        self.sights.insert(default, own_sight);
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
        let mut ids = numbers(&names, &self.guests).into_iter();
        self.guests.retain(|_, guest| !names.contains(&guest.name));
        for name in names {
            let Some(id) = ids.next() else { break };
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
        let home = self.home(id);
        let guest = self.guests.get(&id).map(|guest| guest.name.clone());
        let (name, isolation) = match &guest {
            Some(name) => (name.clone(), Isolation::Vrf),
            None => (self.sights[&id].name.clone(), Isolation::Auto),
        };
        let mut domain = Domain { name, isolation, interfaces: BTreeMap::new(), ..Domain::bare(id) };
        if guest.is_some() {
            // On its device, whoever made that.
            let lo = Interface { addresses: Address::of_loopback().into(), ..Interface::new(Kind::Loopback) };
            domain.interfaces.insert(InterfaceName::loopback(), lo);
        }
        let inside = self.sights[&home].links.iter().filter(|(_, link)| self.owner(home, link) == id);
        for interface in inside.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let at = End { domain: id, interface };
            if let Some(kind) = self.kind(&at)? {
                let mut held = self.sights[&home].interface(&at.interface, kind);
                held.controller = held.controller.filter(|device| !self.is_guest(home, device));
                domain.interfaces.insert(at.interface, held);
            }
        }
        if id.is_default() {
            self.leave_machine(&mut domain);
        }
        self.add_routes(id, &mut domain)?;
        if !home.is_default() {
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
        let link = self.sights[&self.home(at.domain)].links[&at.interface].clone();
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
            Driver::Vrf { .. } if self.is_guest(at.domain, &at.interface) => {}
            Driver::Vrf { .. } => self.left.push(format!("{at}: a VRF in a namespace, with what is in it")),
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
        };
        let ports = domain.interfaces.values().filter(|held| leads(held));
        let switches: BTreeSet<InterfaceName> = ports.filter_map(|held| held.controller.clone()).collect();
        domain.interfaces.retain(|name, held| leads(held) || switches.contains(name));
    }

    /// The interface of this index that one in `here` hangs together with.
    fn end(&self, here: DomainId, far: Option<FarEnd>) -> Option<End> {
        let far = far?;
        let domain = self.elsewhere(here, far.namespace_id)?;
        let (name, link) = self.sights[&domain].links.iter().find(|(_, link)| link.index == far.index)?;
        Some(End { domain: self.owner(domain, link), interface: name.clone() })
    }

    /// The domain whose namespace `here` knows by this number; its own by none.
    fn elsewhere(&self, here: DomainId, number: Option<i32>) -> Option<DomainId> {
        match number {
            None => Some(self.home(here)),
            Some(number) => self.sights[&self.home(here)].numbers.get(&number).copied(),
        }
    }

    /// The domain whose namespace a domain is in.
    fn home(&self, id: DomainId) -> DomainId {
        if self.guests.contains_key(&id) { DomainId::DEFAULT } else { id }
    }

    /// The domain that a link of a namespace belongs to: that of the VRF that controls it, or what controls it.
    fn owner(&self, home: DomainId, link: &Link) -> DomainId {
        let Some(index) = link.controller.filter(|_| home.is_default()) else { return home };
        if let Some((&id, _)) = self.guests.iter().find(|(_, guest)| guest.index == index) {
            return id;
        }
        let above = self.sights[&home].links.values().find(|above| above.index == index);
        above.filter(|above| above.index != link.index).map_or(home, |above| self.owner(home, above))
    }

    /// Whether a link of a namespace is the device of a domain that is a VRF alone.
    fn is_guest(&self, home: DomainId, device: &InterfaceName) -> bool {
        let index = self.sights[&home].links.get(device).map(|link| link.index);
        home.is_default() && self.guests.values().any(|guest| Some(guest.index) == index)
    }

    fn add_routes(&mut self, id: DomainId, domain: &mut Domain) -> Result<(), BackendError> {
        let home = self.home(id);
        let Some(sight) = self.sights.get_mut(&home) else { return Ok(()) };
        let names = sight.links.iter().map(|(name, link)| (link.index, name.clone())).collect();
        let routes = route::dump_of(&mut sight.route, &names, Whose::Administrators);
        let tables = Tables::of(id, domain.isolation);
        for (table, route) in routes.doing(|| format!("read routes of domain {id}"))? {
            let Some(rtable) = tables.rtable_of(table) else { continue };
            let own = match id == home {
                true => self.guests.keys().all(|&guest| rtable != guest.into()),
                false => rtable == id.into(),
            };
            if !own {
                continue;
            }
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
        Kind::Vrf { .. } | Kind::Dummy | Kind::Vxlan(_) => None,
    }
}

/// A number for each of these namespaces: that of its name, `rdomN`, else the lowest that none has.
fn numbers(names: &[DomainName], guests: &BTreeMap<DomainId, Guest>) -> Vec<DomainId> {
    let told = |name: &DomainName| {
        let id: DomainId = name.as_str().strip_prefix("rdom")?.parse().ok()?;
        (!id.is_default()).then_some(id)
    };
    let taken: BTreeSet<DomainId> = names.iter().filter_map(told).chain(guests.keys().copied()).collect();
    let mut free = (1..).filter_map(|number| DomainId::new(number).ok()).filter(|id| !taken.contains(id));
    let own = |name: &DomainName| told(name).filter(|id| !guests.contains_key(id));
    names.iter().map(|name| own(name).or_else(|| free.next()).unwrap_or(DomainId::DEFAULT)).collect()
}
