//! The namespaces of one network: those that the ledger knows and that are still the same ones.
//!
//! A record whose namespace is gone, or whose name is another namespace's by now, does not count. A record without
//! an identity is of a creation that was cut short: its namespace counts if nothing in it was ever up, for then
//! nobody has used it. A domain that is a VRF alone is in the default domain's namespace, and counts while it has a
//! record.

use std::collections::{BTreeMap, BTreeSet};

use super::explain::Doing;
use super::link;
use super::namespace::{Namespace, NamespaceError};
use super::netlink::{Netlink, Protocol};
use crate::backend::BackendError;
use crate::model::{DomainId, DomainName};
use crate::state::{DomainRecord, Ledger};

/// A domain that exists.
#[derive(Debug)]
pub struct Place {
    /// Its name.
    pub name: DomainName,
    /// The namespace that it is in, open: the default domain's where it has none of its own.
    pub namespace: Namespace,
    /// What is remembered of it.
    pub record: DomainRecord,
}

/// The domains of a network that exist, the default domain always among them.
#[derive(Debug)]
pub struct Namespaces {
    places: BTreeMap<DomainId, Place>,
}

impl Namespaces {
    /// Those that this ledger knows; the default domain is the calling thread's namespace.
    pub fn of(ledger: &Ledger) -> Result<Self, BackendError> {
        Self::of_records(ledger.domains().doing(|| "read the ledger".to_owned())?)
    }

    /// Those of these.
    pub fn of_some(ledger: &Ledger, domains: &BTreeSet<DomainId>) -> Result<Self, BackendError> {
        let mut records = BTreeMap::new();
        for &id in domains.iter().chain([&DomainId::DEFAULT]) {
            let record = ledger.domain(id).doing(|| format!("read the ledger of domain {id}"))?;
            records.extend(record.map(|record| (id, record)));
        }
        let few = Self::of_records(records)?;
        // Without any other it is not known yet whether this process is in the default domain.
        match few.places.values().all(is_elsewhere) {
            true => Self::of(ledger),
            false => Ok(few),
        }
    }

    fn of_records(mut records: BTreeMap<DomainId, DomainRecord>) -> Result<Self, BackendError> {
        let default = default_place(records.remove(&DomainId::DEFAULT).unwrap_or_default())?;
        let mut places = BTreeMap::new();
        for (id, record) in records {
            places.extend(place(record)?.map(|place| (id, place)));
        }
        check_default(&default, &places)?;
        places.insert(DomainId::DEFAULT, default);
        Ok(Self { places })
    }

    /// Each with its number, in the order of numbers.
    pub fn iter(&self) -> impl Iterator<Item = (DomainId, &Place)> {
        self.places.iter().map(|(&id, place)| (id, place))
    }

    /// The one of this number.
    pub fn domain(&self, id: DomainId) -> Option<&Place> {
        self.places.get(&id)
    }
}

impl IntoIterator for Namespaces {
    type Item = (DomainId, Place);
    type IntoIter = std::collections::btree_map::IntoIter<DomainId, Place>;

    fn into_iter(self) -> Self::IntoIter {
        self.places.into_iter()
    }
}

fn default_place(record: DomainRecord) -> Result<Place, BackendError> {
    let namespace = Namespace::current().doing(|| "open the default domain's namespace".to_owned())?;
    Ok(Place { name: DomainName::of_number(DomainId::DEFAULT), namespace, record })
}

/// Whoever looks from inside a domain would take its interfaces for the default domain's.
fn check_default(default: &Place, others: &BTreeMap<DomainId, Place>) -> Result<(), BackendError> {
    match is_elsewhere(default) && !others.is_empty() {
        true => Err(BackendError::new("this is not the default domain of the network")
            .help("run it in the network namespace that the network was brought up from")),
        false => Ok(()),
    }
}

fn is_elsewhere(place: &Place) -> bool {
    place.record.identity.is_some_and(|identity| identity != place.namespace.identity())
}

fn place(record: DomainRecord) -> Result<Option<Place>, BackendError> {
    let Ok(name) = DomainName::new(record.namespace.as_str()) else { return Ok(None) };
    if !record.isolation.has_namespace() {
        let namespace = Namespace::current().doing(|| format!("open the namespace of domain {name}"))?;
        return Ok(Some(Place { name, namespace, record }));
    }
    let namespace = match Namespace::open(&name) {
        Ok(namespace) => namespace,
        Err(NamespaceError::Absent(_) | NamespaceError::NotANamespace(_)) => return Ok(None),
        result => result.doing(|| format!("open namespace {name}"))?,
    };
    let same = match record.identity {
        Some(identity) => identity == namespace.identity(),
        None => is_unused(&namespace).doing(|| format!("look into namespace {name}"))?,
    };
    Ok(same.then_some(Place { name, namespace, record }))
}

fn is_unused(namespace: &Namespace) -> Result<bool, super::netlink::NetlinkError> {
    let links = link::dump(&mut Netlink::of(namespace, Protocol::Route)?)?;
    Ok(links.iter().all(|link| !link.up))
}
