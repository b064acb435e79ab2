//! Makes, removes and enters domains: a namespace each, or the default domain's for those that are a VRF alone, with
//! a netlink socket that is kept open.

mod maker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::explain::Doing;
use super::mark::{AddressMarks, Mark};
use super::namespace::{self, Namespace, NamespaceError, Visitor};
use super::namespaces::{Namespaces, Place};
use super::netlink::{Netlink, Protocol};
use super::tables::Tables;
use crate::backend::BackendError;
use crate::model::{DomainId, DomainName, End, InterfaceName, Isolation, Rule};
use crate::state::{DomainRecord, Ledger, TunnelRecord};
use maker::Maker;

use super::link::{self, Link};

pub(super) use maker::Wanted;

/// How long the kernel may take to remove what is in a namespace (`cleanup_net`, net/core/net_namespace.c).
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// How long links may take to show that they have a carrier.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);

/// An entered domain.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) name: DomainName,
    pub(super) isolation: Isolation,
    /// Where it is.
    pub(super) namespace: Namespace,
    /// Speaks rtnetlink(7) in there.
    pub(super) route: Netlink,
    /// Whether the ledger has another identity, or none: the default domain's is noted by the first change, others
    /// lack theirs if their making was cut short.
    pending: bool,
    /// Whether the ledger may have tunnels of it.
    has_tunnels: bool,
}

impl Inside {
    /// The interface that has this name, if there is one.
    pub(super) fn find(&mut self, interface: &InterfaceName) -> Result<Option<Link>, BackendError> {
        link::find(&mut self.route, interface).doing(|| format!("look for {interface} in {}", self.name))
    }

    /// The interface that is called so. That it has the name for a second one (ip-link(8), `altname`) is an error: by that
    /// none is listed, and none can be renamed to it.
    pub(super) fn called(&mut self, interface: &InterfaceName) -> Result<Option<Link>, BackendError> {
        match self.find(interface)? {
            Some(link) if link.name != interface.as_str() => {
                let error = format!("{interface} is a second name of interface {}", link.name);
                Err(BackendError::new(error).help(format!("write {} instead", link.name)))
            }
            found => Ok(found),
        }
    }

    /// The interface of this name, which must be there.
    pub(super) fn link(&mut self, interface: &InterfaceName) -> Result<Link, BackendError> {
        self.find(interface)?.ok_or_else(|| self.absent(interface))
    }

    /// The index of the interface of this name, which must be there.
    pub(super) fn index(&self, interface: &InterfaceName) -> Result<u32, BackendError> {
        match link::index(&self.route, interface) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Err(self.absent(interface)),
            result => result.doing(|| format!("look for {interface} in {}", self.name)),
        }
    }

    fn absent(&self, interface: &InterfaceName) -> BackendError {
        BackendError::new(format!("no interface {interface} in domain {}", self.name))
    }
}

/// Domains whose names are gone. What lives in them goes with this, unless somebody else uses it.
#[derive(Debug)]
pub struct Departed(Vec<Namespace>);

impl Departed {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// An address at the link of this index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) index: u32,
    pub(super) network: IpNetwork,
}

/// Whether an address, route or rule is remembered as ours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ours {
    Yes,
    No,
}

/// The domains of one network.
#[derive(Debug)]
pub(super) struct Domains {
    ledger: Ledger,
    mark: Mark,
    inside: BTreeMap<DomainId, Inside>,
    pub(super) address_marks: AddressMarks,
    last_deletion: Option<Instant>,
    /// When an interface was set up last.
    pub(super) last_rise: Option<Instant>,
}

impl Domains {
    pub(super) fn open(ledger: Ledger, mark: Mark) -> Result<Self, BackendError> {
        let (inside, address_marks) = (BTreeMap::new(), AddressMarks::default());
        let mut domains = Self { ledger, mark, inside, address_marks, last_deletion: None, last_rise: None };
        domains.refresh()?;
        Ok(domains)
    }

    /// Looks again which domains exist. Sockets of those that are still the same stay open.
    pub(super) fn refresh(&mut self) -> Result<BTreeMap<DomainId, DomainRecord>, BackendError> {
        let places = Namespaces::of(&self.ledger)?;
        let mut known = std::mem::take(&mut self.inside);
        let (mut records, mut new) = (BTreeMap::new(), Vec::new());
        for (id, place) in places {
            let same = known.remove(&id).filter(|kept| {
                kept.namespace.identity() == place.namespace.identity()
                    && (&kept.name, kept.isolation) == (&place.name, place.record.isolation)
            });
            records.insert(id, place.record.clone());
            match same {
                Some(same) => {
                    let has_tunnels = !place.record.tunnels.is_empty();
                    self.inside.insert(id, Inside { has_tunnels, ..same });
                }
                None if id.is_default() => drop(self.inside.insert(id, here(place)?)),
                None => new.push((id, place)),
            }
        }
        self.inside.extend(enter(new)?);
        Ok(records)
    }

    /// Whether a domain is still in the namespace that it was in, by its name.
    pub(super) fn same(&self, id: DomainId) -> Result<bool, BackendError> {
        let Some(inside) = self.inside.get(&id) else { return Ok(false) };
        if id.is_default() || !inside.isolation.has_namespace() {
            return Ok(true);
        }
        inside.namespace.is_called(&inside.name).doing(|| format!("look for namespace {}", inside.name))
    }

    /// The namespaces of all domains that have one of their own, and the default domain's.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = (DomainId, &Namespace)> {
        let own = self.inside.iter().filter(|(_, inside)| inside.isolation.has_namespace());
        own.map(|(&id, inside)| (id, &inside.namespace))
    }

    pub(super) fn enter(&mut self, id: DomainId) -> Result<&mut Inside, BackendError> {
        self.inside.get_mut(&id).ok_or_else(|| BackendError::new(format!("domain {id} does not exist")))
    }

    pub(super) fn namespace(&self, id: DomainId) -> Result<&Namespace, BackendError> {
        self.inside(id).map(|inside| &inside.namespace)
    }

    fn inside(&self, id: DomainId) -> Result<&Inside, BackendError> {
        self.inside.get(&id).ok_or_else(|| BackendError::new(format!("domain {id} does not exist")))
    }

    /// What the links of this domain carry.
    pub(super) fn mark(&self, id: DomainId) -> Mark {
        match self.inside.get(&id).is_none_or(|inside| inside.isolation.has_namespace()) {
            true => self.mark.clone(),
            false => self.mark.within(id),
        }
    }

    /// What every link of the network carries, whichever domain it is of.
    pub(super) fn network_mark(&self) -> &Mark {
        &self.mark
    }

    /// Which table of its namespace each rtable of a domain is.
    pub(super) fn tables(&self, id: DomainId) -> Result<Tables, BackendError> {
        Ok(Tables::of(id, self.inside(id)?.isolation))
    }

    /// The VRF device that stands for a domain which has no namespace of its own.
    pub(super) fn device(&self, id: DomainId) -> Result<Option<InterfaceName>, BackendError> {
        let isolation = self.inside(id)?.isolation;
        Ok((!isolation.has_namespace()).then(|| InterfaceName::of_vrf(id)))
    }

    /// Whether others may have routes and rules where this domain has its.
    pub(super) fn is_shared(&self, id: DomainId) -> bool {
        id.is_default() || self.is_guest(id)
    }

    /// Whether two domains are in the same namespace.
    pub(super) fn share_a_namespace(&self, one: DomainId, other: DomainId) -> bool {
        let identity = |id| self.inside.get(&id).map(|inside| inside.namespace.identity());
        identity(one) == identity(other)
    }

    /// Whether a link of the namespace that a domain is in is the domain's: of the default domain's all that its
    /// guests do not have.
    pub(super) fn holds(&self, id: DomainId, link: &Link) -> bool {
        let is_of = |guest| link.alias.as_deref() == Some(self.mark(guest).alias());
        match self.is_guest(id) {
            true => is_of(id),
            false => !id.is_default() || !self.guests().any(is_of),
        }
    }

    /// Whether a domain is without a namespace of its own.
    fn is_guest(&self, id: DomainId) -> bool {
        self.inside.get(&id).is_some_and(|inside| !inside.isolation.has_namespace())
    }

    /// The domains without a namespace of their own.
    pub(super) fn guests(&self) -> impl Iterator<Item = DomainId> {
        let guests = self.inside.iter().filter(|(_, inside)| !inside.isolation.has_namespace());
        guests.map(|(&id, _)| id)
    }

    /// Makes as many of these domains as can be made; returns how many. It is an error if the first cannot be made. Each
    /// time that one is there `meanwhile` is called, while the next is made.
    pub(super) fn create_some(
        &mut self,
        wanted: &[Wanted<'_>],
        mut meanwhile: impl FnMut(&mut Self),
    ) -> Result<usize, BackendError> {
        if let Some((id, known)) = wanted.first().and_then(|first| self.inside.get_key_value(&first.id)) {
            let message = format!("cannot create domain {id}: it exists as {}", known.name);
            return Err(BackendError::new(message));
        }
        let new = wanted.iter().take_while(|wanted| !self.inside.contains_key(&wanted.id)).count();
        let home = self.namespace(DomainId::DEFAULT)?.try_clone().doing(|| "make domains".to_owned())?;
        let maker = Maker::new(self.ledger.clone(), home);
        let (tell, made) = mpsc::channel();
        let tour = move |visitor: &Visitor| maker.make_all(visitor, &wanted[..new], &tell);
        let mut count = 0;
        let ended = namespace::visit_while(tour, || {
            for (id, inside) in made {
                self.inside.insert(id, inside);
                count += 1;
                meanwhile(self);
            }
        });
        match ended.doing(|| "make domains".to_owned())? {
            (Err(error), ()) if count == 0 => Err(error),
            (Ok(()) | Err(_), ()) => Ok(count),
        }
    }

    /// Ends the making of a domain: from now on its identity tells it. Nothing happens if that was done, or if
    /// there is no such domain.
    pub(super) fn complete(&mut self, id: DomainId) -> Result<(), BackendError> {
        let Some(inside) = self.inside.get_mut(&id) else { return Ok(()) };
        if !std::mem::take(&mut inside.pending) {
            return Ok(());
        }
        let identity = inside.namespace.identity();
        self.change(id, |record| {
            if id.is_default() {
                record.namespace = DomainName::of_number(id).as_str().to_owned();
            }
            record.identity = Some(identity);
        })
    }

    /// Takes names and records of these domains away, as far as the names are not other namespaces' by now; it is an error
    /// if the first one is. What lives in them goes when its last user does.
    pub(super) fn delete_some(
        &mut self,
        wanted: &[(DomainId, &DomainName)],
    ) -> Result<Departed, BackendError> {
        let mut going = 0;
        for &(id, name) in wanted {
            match self.same(id) {
                Ok(true) => going += 1,
                refused if going == 0 => return refused.and_then(|_| Err(another(id, name))),
                Ok(false) | Err(_) => break,
            }
        }
        let ledger = &self.ledger;
        let forget = |id: DomainId, name: &DomainName| {
            ledger.forget(id, name.as_str()).doing(|| format!("forget domain {id}"))
        };
        let (mut departed, mut named) = (Vec::new(), Vec::new());
        let going = wanted[..going].iter().filter_map(|(id, _)| Some((*id, self.inside.remove(id)?)));
        for (id, Inside { name, isolation, namespace, route, .. }) in going {
            match isolation.has_namespace() {
                true => named.push((name, (id, route))),
                false => forget(id, &name)?,
            }
            departed.push(namespace);
        }
        if !named.is_empty() {
            // To close a socket takes long, and so does unmounting: at the same time.
            namespace::remove_names(named, |name, (id, _closed)| forget(id, name))?;
            self.last_deletion = Some(Instant::now());
        }
        Ok(Departed(departed))
    }

    /// Whether the kernel may still be at removing what was in a deleted domain.
    pub(super) fn is_something_leaving(&self) -> bool {
        self.last_deletion.is_some_and(|at| at.elapsed() < GONE_WITHIN)
    }

    /// Whether an interface may still be about to show its carrier.
    pub(super) fn is_something_rising(&self) -> bool {
        self.last_rise.is_some_and(|at| at.elapsed() < SETTLED_WITHIN)
    }

    pub(super) fn record(&self, id: DomainId) -> Result<DomainRecord, BackendError> {
        let record = self.ledger.domain(id).doing(|| format!("read the ledger of domain {id}"))?;
        Ok(record.unwrap_or_default())
    }

    /// The tunnels that a domain has, as the ledger knows them.
    pub(super) fn tunnels(&self, id: DomainId) -> Result<Vec<End>, BackendError> {
        let has_some = self.inside.get(&id).is_none_or(|inside| inside.has_tunnels);
        let names = if has_some { self.record(id)?.tunnels } else { BTreeMap::new() };
        let names = names.into_keys().filter_map(|name| InterfaceName::new(name).ok());
        Ok(names.map(|interface| End { domain: id, interface }).collect())
    }

    /// Every record, whether its domain is there or not.
    pub(super) fn records(&self) -> Result<BTreeMap<DomainId, DomainRecord>, BackendError> {
        self.ledger.domains().doing(|| "read the ledger".to_owned())
    }

    /// Removes the record of a domain, and the plain file that may be left of its namespace's name.
    pub(super) fn forget(&mut self, id: DomainId) -> Result<(), BackendError> {
        let what = || format!("forget domain {id}");
        let record = self.record(id)?;
        let name = DomainName::new(record.namespace.as_str()).ok();
        if let Some(name) = name.filter(|name| record.isolation.has_namespace() && is_plain_file(name)) {
            namespace::remove_unused_name(&name).doing(what)?;
        }
        if let Some(inside) = self.inside.get_mut(&id) {
            inside.pending = true;
        }
        self.ledger.forget(id, &record.namespace).doing(what)
    }

    pub(super) fn change(
        &self,
        id: DomainId,
        change: impl FnOnce(&mut DomainRecord),
    ) -> Result<(), BackendError> {
        self.ledger.change(id, change).doing(|| format!("write the ledger of domain {id}"))
    }

    pub(super) fn change_tunnel(
        &mut self,
        at: &End,
        change: impl FnOnce(&mut TunnelRecord),
    ) -> Result<(), BackendError> {
        if let Some(inside) = self.inside.get_mut(&at.domain) {
            inside.has_tunnels = true;
        }
        let name = at.interface.as_str().to_owned();
        self.change(at.domain, |record| change(record.tunnels.entry(name).or_default()))
    }

    /// Remembers an address as ours, or no more, for a kernel that does not.
    pub(super) fn change_address(
        &self,
        id: DomainId,
        address: Placed,
        ours: Ours,
    ) -> Result<(), BackendError> {
        self.change(id, |record| {
            let held = record.addresses.entry(address.index).or_default();
            let text = address.network.to_string();
            match ours {
                Ours::Yes => drop(held.insert(text)),
                Ours::No => drop(held.remove(&text)),
            }
            record.addresses.retain(|_, held| !held.is_empty());
        })
    }

    /// Remembers a route as this domain's, or no more, where others may have some; whether that was news.
    pub(super) fn note_route(&self, id: DomainId, note: String, ours: Ours) -> Result<bool, BackendError> {
        self.note(id, note, ours, |record| &mut record.routes)
    }

    /// The same for a rule.
    pub(super) fn note_rule(&self, id: DomainId, rule: &Rule, ours: Ours) -> Result<bool, BackendError> {
        self.note(id, rule.to_string(), ours, |record| &mut record.rules)
    }

    fn note(
        &self,
        id: DomainId,
        note: String,
        ours: Ours,
        notes: impl FnOnce(&mut DomainRecord) -> &mut BTreeSet<String>,
    ) -> Result<bool, BackendError> {
        let mut news = false;
        if self.is_shared(id) {
            self.change(id, |record| {
                news = match ours {
                    Ours::Yes => notes(record).insert(note),
                    Ours::No => notes(record).remove(&note),
                };
            })?;
        }
        Ok(news)
    }

    /// Forgets a tunnel.
    pub(super) fn forget_tunnel(&self, at: &End) -> Result<(), BackendError> {
        self.change(at.domain, |record| {
            record.tunnels.remove(at.interface.as_str());
        })
    }
}

/// Opens sockets in all of these.
fn enter(places: Vec<(DomainId, Place)>) -> Result<Vec<(DomainId, Inside)>, BackendError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let open =
        |visitor: &Visitor| places.into_iter().map(|(id, place)| Ok((id, inside(visitor, place)?))).collect();
    namespace::visit(open).doing(|| "open netlink sockets".to_owned())?
}

fn inside(visitor: &Visitor, place: Place) -> Result<Inside, BackendError> {
    let what = || format!("open a netlink socket in {}", place.name);
    visitor.enter(place.namespace.fd()).doing(what)?;
    here(place)
}

/// For a thread that is there.
fn here(place: Place) -> Result<Inside, BackendError> {
    let what = || format!("open a netlink socket in {}", place.name);
    let route = Netlink::here(Protocol::Route).doing(what)?;
    let pending = place.record.identity != Some(place.namespace.identity());
    let (isolation, has_tunnels) = (place.record.isolation, !place.record.tunnels.is_empty());
    Ok(Inside { name: place.name, isolation, namespace: place.namespace, route, pending, has_tunnels })
}

fn is_plain_file(name: &DomainName) -> bool {
    matches!(Namespace::open(name), Err(NamespaceError::NotANamespace(_)))
}

fn another(id: DomainId, name: &DomainName) -> BackendError {
    BackendError::new(format!("cannot delete domain {id} (namespace {name}): it is another one by now"))
}
