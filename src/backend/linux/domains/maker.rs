//! Makes domains, by a thread that does nothing else: to start one takes long, and so does a namespace.

use std::sync::mpsc::Sender;

use super::{Inside, here, inside, is_plain_file};
use crate::backend::BackendError;
use crate::backend::linux::explain::Doing;
use crate::backend::linux::namespace::{self, Names, Namespace, NamespaceError, Visitor};
use crate::backend::linux::namespaces::Place;
use crate::model::{DomainId, DomainName, Isolation};
use crate::state::{DomainRecord, Ledger};

/// A domain that shall be made.
pub(in crate::backend::linux) struct Wanted<'w> {
    pub(in crate::backend::linux) id: DomainId,
    pub(in crate::backend::linux) name: &'w DomainName,
    pub(in crate::backend::linux) isolation: Isolation,
}

/// What it takes to make domains, apart from those that there are, which others use meanwhile.
pub(super) struct Maker {
    ledger: Ledger,
    /// The default domain's.
    home: Namespace,
    names: Names,
}

impl Maker {
    pub(super) fn new(ledger: Ledger, home: Namespace) -> Self {
        Self { ledger, home, names: Names::default() }
    }

    /// Makes one after the other and hands each over, until one cannot be made.
    pub(super) fn make_all(
        mut self,
        visitor: &Visitor,
        wanted: &[Wanted<'_>],
        made: &Sender<(DomainId, Inside)>,
    ) -> Result<(), BackendError> {
        for one in wanted {
            let inside = self.make(visitor, one)?;
            // Who does not wait for it finds it by the ledger.
            drop(made.send((one.id, inside)));
        }
        Ok(())
    }

    fn make(&mut self, visitor: &Visitor, wanted: &Wanted<'_>) -> Result<Inside, BackendError> {
        match wanted.isolation {
            Isolation::Auto => {
                let id = wanted.id;
                Err(BackendError::new(format!("the isolation of domain {id} has not been chosen")))
            }
            Isolation::Netns | Isolation::NetnsVrf => here(self.make_namespace(visitor, wanted)?),
            Isolation::Vrf => inside(visitor, self.make_guest(wanted)?),
        }
    }

    /// Nothing but its record is made: it is its VRF device that keeps it apart.
    fn make_guest(&self, &Wanted { id, name, isolation }: &Wanted<'_>) -> Result<Place, BackendError> {
        let what = || format!("create domain {id} ({name})");
        let namespace = self.home.try_clone().doing(what)?;
        let record = DomainRecord {
            namespace: name.as_str().to_owned(),
            isolation,
            identity: Some(namespace.identity()),
            ..DomainRecord::default()
        };
        self.ledger.begin(id, &record).doing(what)?;
        Ok(Place { name: name.clone(), namespace, record })
    }

    /// The visitor is in it from then on.
    fn make_namespace(
        &mut self,
        visitor: &Visitor,
        &Wanted { id, name, isolation }: &Wanted<'_>,
    ) -> Result<Place, BackendError> {
        let what = || format!("create domain {id} (namespace {name})");
        let left = self.ledger.domain(id).doing(what)?;
        if left.is_some_and(|record| record.namespace == name.as_str()) && is_plain_file(name) {
            // It takes the lock that these names hold.
            self.names = Names::default();
            namespace::remove_unused_name(name).doing(what)?;
        }
        if namespace::path(name).symlink_metadata().is_ok() {
            return Err(taken(id, name));
        }
        let namespace_name = name.as_str().to_owned();
        let pending = DomainRecord { namespace: namespace_name, isolation, ..DomainRecord::default() };
        self.ledger.begin(id, &pending).doing(what)?;
        match self.names.create(visitor, name) {
            Ok(namespace) => {
                let record = DomainRecord { identity: Some(namespace.identity()), ..pending };
                self.ledger.record(id, &record).doing(what)?;
                Ok(Place { name: name.clone(), namespace, record })
            }
            Err(error) => {
                self.ledger.forget(id, name.as_str()).doing(what)?;
                Err(error).doing(what)
            }
        }
    }
}

fn taken(id: DomainId, name: &DomainName) -> BackendError {
    BackendError::new(format!("cannot create domain {id}: a namespace called `{name}` exists already"))
        .caused_by(NamespaceError::Exists(name.clone()))
        .help(format!(
            "it was not made by this network: give the domain another name, or remove it: ip netns del {name}"
        ))
}
