//! What stands in the named namespaces of this host, whoever made it, as a network: so that it can go over to a file.
//!
//! A namespace of ip-netns(8) becomes a domain that is called like it, with a VRF where all of its interfaces are in
//! one; a VRF of the default domain's namespace becomes one that is a VRF alone. Such domains have the number of the VRF's
//! table, if it is free. Of the default domain only that comes in which leads into one of those, and tunnels; all else is
//! the machine's own. Nothing is changed. What a file has no words for, and what daemons keep, is told and left out.

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
use crate::plan::{is_last, is_of_vrf};
use crate::state::Secret;
use sight::{Sight, Vrf, sight};

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

/// Looks at all of it. The caller is in the default domain; `known` are numbers that namespaces have already.
pub fn found(name: &NetworkName, known: &BTreeMap<DomainName, DomainId>) -> Result<Found, BackendError> {
    let mut search = Search::default();
    search.look(known)?;
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

/// A namespace with a name.
struct Named {
    name: DomainName,
    sight: Sight,
    /// The VRF that all of its interfaces are in.
    vrf: Option<Vrf>,
}

#[derive(Default)]
struct Search {
    sights: BTreeMap<DomainId, Sight>,
    /// The VRFs of the default domain's namespace, each a domain.
    guests: BTreeMap<DomainId, Guest>,
    /// Of the domains whose namespace has one that everything is in.
    vrfs: BTreeMap<DomainId, Vrf>,
    left: Vec<String>,
    secrets: BTreeMap<SecretName, Secret>,
}

impl Search {
    fn look(&mut self, known: &BTreeMap<DomainName, DomainId>) -> Result<(), BackendError> {
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
        let mut all = Vec::new();
        for name in names {
            match Namespace::open(&name) {
                // A second name of the default domain, as some supervisors of containers make it.
                Ok(namespace) if namespace.identity() == own => {}
                Ok(namespace) => {
                    let sight = sight(name.clone(), namespace)?;
                    all.push(Named { name, vrf: sight.vrf(), sight });
                }
                Err(error) => self.left.push(format!("namespace {name}: {error}")),
            }
        }
        let ids = numbers(&all, known, &self.guests);
        self.guests.retain(|_, guest| all.iter().all(|named| named.name != guest.name));
        for (id, Named { name, sight, vrf }) in ids.into_iter().zip(all) {
            let partial = sight.links.iter().filter(|(_, link)| vrf.is_none() && link.is_vrf());
            let told = |(device, _): (&InterfaceName, &Link)| {
                format!("namespace {name}: VRF {device}, with what is in it: not everything there is in it")
            };
            self.left.extend(partial.map(told));
            self.vrfs.extend(vrf.map(|vrf| (id, vrf)));
            self.sights.insert(id, sight);
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
        let isolation = if self.guests.contains_key(&id) {
            Isolation::Vrf
        } else if self.vrfs.contains_key(&id) {
            Isolation::NetnsVrf
        } else {
            Isolation::Auto
        };
        let name = self.name(id).clone();
        let mut domain = Domain { name, isolation, interfaces: BTreeMap::new(), ..Domain::bare(id) };
        if isolation == Isolation::Vrf {
            // On its device, whoever made that.
            let lo = Interface { addresses: Address::of_loopback().into(), ..Interface::new(Kind::Loopback) };
            domain.interfaces.insert(InterfaceName::loopback(), lo);
        }
        let inside = self.sights[&home].links.iter().filter(|(_, link)| self.owner(home, link) == Some(id));
        for interface in inside.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let at = End { domain: id, interface };
            if let Some(kind) = self.kind(&at)? {
                let mut held = self.sights[&home].interface(&at.interface, kind);
                held.controller = held.controller.filter(|device| !self.is_vrf(home, device));
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
            Driver::Loopback | Driver::Vrf { .. } => {}
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
        let (name, link) = self.sights[&domain].links.iter().find(|(_, link)| link.index == far.index)?;
        Some(End { domain: self.owner(domain, link)?, interface: name.clone() })
    }

    /// The domain whose namespace `here` knows by this number; its own by none.
    fn elsewhere(&self, here: DomainId, number: Option<i32>) -> Option<DomainId> {
        match number {
            None => Some(self.home(here)),
            Some(number) => self.sights[&self.home(here)].numbers.get(&number).copied(),
        }
    }

    fn name(&self, id: DomainId) -> &DomainName {
        self.guests.get(&id).map_or_else(|| &self.sights[&id].name, |guest| &guest.name)
    }

    /// The domain whose namespace a domain is in.
    fn home(&self, id: DomainId) -> DomainId {
        if self.guests.contains_key(&id) { DomainId::DEFAULT } else { id }
    }

    /// The domain that a link of a namespace belongs to: that of the VRF that it is in. None if that is no domain's.
    fn owner(&self, home: DomainId, link: &Link) -> Option<DomainId> {
        let Some(device) = self.sights[&home].vrf_of(link) else { return Some(home) };
        match home.is_default() {
            true => {
                let guest = self.guests.iter().find(|(_, guest)| guest.index == device.index);
                Some(guest.map_or(home, |(&id, _)| id))
            }
            false => self.vrfs.contains_key(&home).then_some(home),
        }
    }

    /// Whether a link of a namespace is the device of a domain's VRF.
    fn is_vrf(&self, home: DomainId, device: &InterfaceName) -> bool {
        let index = self.sights[&home].links.get(device).map(|link| link.index);
        let mut vrfs = self.guests.values().map(|guest| guest.index).filter(|_| home.is_default());
        let own = self.vrfs.get(&home).map(|vrf| vrf.index);
        own.is_some() && own == index || vrfs.any(|guest| Some(guest) == index)
    }

    /// Which table of its namespace a domain's rtables are.
    fn tables(&self, id: DomainId, isolation: Isolation) -> Tables {
        match self.vrfs.get(&id) {
            Some(vrf) => Tables::with(id, vrf.table),
            None => Tables::of(id, isolation),
        }
    }

    fn add_routes(&mut self, id: DomainId, domain: &mut Domain) -> Result<(), BackendError> {
        let home = self.home(id);
        let Some(sight) = self.sights.get_mut(&home) else { return Ok(()) };
        let names = sight.links.iter().map(|(name, link)| (link.index, name.clone())).collect();
        let routes = route::dump_of(&mut sight.route, &names, Whose::Administrators);
        let tables = self.tables(id, domain.isolation);
        for (table, route) in routes.doing(|| format!("read routes of domain {id}"))? {
            let Some(rtable) = tables.rtable_of(table) else {
                self.left.push(format!(
                    "domain {id}: route {route}: of table {table}, which is no rtable's there"
                ));
                continue;
            };
            let own = match id == home {
                true => self.guests.keys().all(|&guest| rtable != guest.into()),
                false => rtable == id.into(),
            };
            if !own {
                continue;
            }
            // Of every VRF, and of every further rtable.
            let whole = rtable != id.into() || domain.isolation.has_vrf();
            if whole && is_last(&route) {
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
        let tables = self.tables(id, domain.isolation);
        domain.rules = rule::whole(&seen.parts, seen.ipv6, tables);
        self.left.extend(seen.left_by(&domain.rules, tables).into_iter().map(|priority| {
            format!("domain {id}: rule of priority {priority}: a file has no words for what it asks or does")
        }));
        domain.rules.retain(|rule| domain.isolation == Isolation::Auto || !is_of_vrf(id, rule));
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

/// A number for each of these namespaces: the one that it has, that of its name, `rdomN`, or of its VRF's table, else the
/// lowest that none has.
fn numbers(
    all: &[Named],
    known: &BTreeMap<DomainName, DomainId>,
    guests: &BTreeMap<DomainId, Guest>,
) -> Vec<DomainId> {
    let told = |named: &Named| {
        let of_name = named.name.as_str().strip_prefix("rdom").and_then(|number| number.parse().ok());
        let of_table = named.vrf.as_ref().and_then(|vrf| DomainId::new(vrf.table).ok());
        [known.get(&named.name).copied(), of_name, of_table]
    };
    let told: Vec<_> = all.iter().map(told).collect();
    let mut taken: BTreeSet<DomainId> = guests.keys().copied().collect();
    let mut ids: Vec<Option<DomainId>> = vec![None; all.len()];
    for way in 0..3 {
        for (told, id) in told.iter().zip(&mut ids).filter(|(_, id)| id.is_none()) {
            *id = told[way].filter(|id| !id.is_default() && taken.insert(*id));
        }
    }
    let mut free = (1..).filter_map(|number| DomainId::new(number).ok()).filter(|id| !taken.contains(id));
    ids.into_iter().filter_map(|id| id.or_else(|| free.next())).collect()
}
