//! What a network would be in, or is in: sysctls and firewalls of its domains, asked of the kernel.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::backend::BackendError;
use crate::backend::linux::{Survey, Visitor, visit_while};
use crate::model::{DomainId, Network};
use crate::probe::{ClosedChain, Ground, Hazard, Surroundings, closed_chains, hazards, sysctl};

/// Of a network that is not up yet: the default domain as it is, others as new namespaces are, which are all alike.
#[derive(Debug)]
pub struct Ahead<'n> {
    network: &'n Network,
    ground: Ground,
    of_new: RefCell<BTreeMap<String, Option<String>>>,
}

impl<'n> Ahead<'n> {
    /// Of this network.
    pub fn of(network: &'n Network) -> Self {
        Self { network, ground: Ground::default(), of_new: RefCell::default() }
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
        let ask = || self.ground.run(|| sysctl(path)).ok().flatten();
        of_new.entry(path.to_owned()).or_insert_with(ask).clone()
    }

    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain> {
        if self.is_new(domain) { Vec::new() } else { closed_chains() }
    }
}

/// What is in the way of a network that is up. Of domains that were made just now one is asked for all, for a look at a
/// sysctl takes the longer the more namespaces there are (fs/proc/proc_sysctl.c, `proc_sys_compare`).
pub fn hazards_within(
    survey: &Survey,
    network: &Network,
    made: &BTreeSet<DomainId>,
) -> Result<Vec<Hazard>, BackendError> {
    hazards_while(survey, network, made, || ()).map(|(hazards, ())| hazards)
}

/// The same, while the calling thread does something else.
pub(super) fn hazards_while<M>(
    survey: &Survey,
    network: &Network,
    made: &BTreeSet<DomainId>,
    meanwhile: impl FnOnce() -> M,
) -> Result<(Vec<Hazard>, M), BackendError> {
    let is_as_made = |id: &DomainId| network.domains.get(id).is_some_and(|domain| domain.sysctls.is_empty());
    let alike = made.iter().copied().filter(is_as_made).collect();
    let within = |visitor: &Visitor| {
        hazards(network, &Within { survey, visitor, made, alike, of_alike: RefCell::default() })
    };
    visit_while(within, meanwhile)
        .map_err(|error| BackendError::new("cannot look into the domains").caused_by(error))
}

/// Of a network that is up, in the eyes of a thread that goes from one domain to the other.
struct Within<'s> {
    survey: &'s Survey,
    visitor: &'s Visitor,
    made: &'s BTreeSet<DomainId>,
    /// Those of them whose sysctls nobody has set.
    alike: BTreeSet<DomainId>,
    of_alike: RefCell<BTreeMap<String, Option<String>>>,
}

impl Within<'_> {
    fn enter(&self, domain: DomainId) -> Option<()> {
        self.visitor.enter(self.survey.place(domain).ok()?.namespace.fd()).ok()
    }
}

impl Surroundings for Within<'_> {
    fn sysctl(&self, domain: DomainId, path: &str) -> Option<String> {
        let ask = || self.enter(domain).and_then(|()| sysctl(path));
        match self.alike.contains(&domain) {
            true => self.of_alike.borrow_mut().entry(path.to_owned()).or_insert_with(ask).clone(),
            false => ask(),
        }
    }

    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain> {
        match self.made.contains(&domain) {
            true => Vec::new(),
            false => self.enter(domain).map(|()| closed_chains()).unwrap_or_default(),
        }
    }
}
