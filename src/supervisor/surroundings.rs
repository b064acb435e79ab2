//! What a network would be in, or is in: sysctls and firewalls of its domains, asked of the kernel.

use crate::backend::linux::Survey;
use crate::model::{DomainId, Network};
use crate::probe::{ClosedChain, Surroundings, closed_chains, in_new_namespace, sysctl};

/// Of a network that is not up yet: the default domain as it is, others as new namespaces are.
#[derive(Debug)]
pub struct Ahead<'n>(pub &'n Network);

/// Of a network that is up.
#[derive(Debug)]
pub struct Within<'s>(pub &'s Survey);

impl Ahead<'_> {
    fn is_new(&self, domain: DomainId) -> bool {
        let isolation = self.0.domains.get(&domain).map(|domain| domain.isolation);
        !domain.is_default() && isolation.is_some_and(|isolation| isolation.has_namespace())
    }
}

impl Surroundings for Ahead<'_> {
    fn sysctl(&self, domain: DomainId, path: &str) -> Option<String> {
        match self.is_new(domain) {
            true => in_new_namespace(|| sysctl(path)).ok().flatten(),
            false => sysctl(path),
        }
    }

    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain> {
        if self.is_new(domain) { Vec::new() } else { closed_chains() }
    }
}

impl Surroundings for Within<'_> {
    fn sysctl(&self, domain: DomainId, path: &str) -> Option<String> {
        self.0.place(domain).ok()?.namespace.run(|| sysctl(path)).ok().flatten()
    }

    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain> {
        let place = self.0.place(domain).ok();
        place.and_then(|place| place.namespace.run(closed_chains).ok()).unwrap_or_default()
    }
}
