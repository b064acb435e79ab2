//! What a network would be in, or is in: sysctls and firewalls of its domains, asked of the kernel.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::backend::BackendError;
use crate::backend::linux::{Survey, Visitor, visit};
use crate::model::{DomainId, Network};
use crate::probe::{ClosedChain, Hazard, Surroundings, closed_chains, hazards, in_new_namespace, sysctl};

/// Of a network that is not up yet: the default domain as it is, others as new namespaces are, which are all alike.
#[derive(Debug)]
pub struct Ahead<'n> {
    network: &'n Network,
    of_new: RefCell<BTreeMap<String, Option<String>>>,
}

impl<'n> Ahead<'n> {
    /// Of this network.
    pub fn of(network: &'n Network) -> Self {
        Self { network, of_new: RefCell::default() }
    }

    fn is_new(&self, domain: DomainId) -> bool {
        let isolation = self.network.domains.get(&domain).map(|domain| domain.isolation);
        !domain.is_default() && isolation.is_some_and(|isolation| isolation.has_namespace())
    }
}

impl Surroundings for Ahead<'_> {
    fn sysctl(&self, domain: DomainId, path: &str) -> Option<String> {
        if !self.is_new(domain) {
            return sysctl(path);
        }
        let mut of_new = self.of_new.borrow_mut();
        let ask = || in_new_namespace(|| sysctl(path)).ok().flatten();
        of_new.entry(path.to_owned()).or_insert_with(ask).clone()
    }

    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain> {
        if self.is_new(domain) { Vec::new() } else { closed_chains() }
    }
}

/// What is in the way of a network that is up.
pub fn hazards_within(survey: &Survey, network: &Network) -> Result<Vec<Hazard>, BackendError> {
    let found = visit(|visitor| hazards(network, &Within { survey, visitor }));
    found.map_err(|error| BackendError::new("cannot look into the domains").caused_by(error))
}

/// Of a network that is up, in the eyes of a thread that goes from one domain to the other.
struct Within<'s> {
    survey: &'s Survey,
    visitor: &'s Visitor,
}

impl Within<'_> {
    fn enter(&self, domain: DomainId) -> Option<()> {
        self.visitor.enter(self.survey.place(domain).ok()?.namespace.fd()).ok()
    }
}

impl Surroundings for Within<'_> {
    fn sysctl(&self, domain: DomainId, path: &str) -> Option<String> {
        self.enter(domain)?;
        sysctl(path)
    }

    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain> {
        self.enter(domain).map(|()| closed_chains()).unwrap_or_default()
    }
}
