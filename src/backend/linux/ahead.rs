//! What is taken before its turn, while domains are made: interfaces, each as soon as the domains are there that it is in.

use super::domains::Domains;
use super::tunnels::Tunnels;
use super::{apply, links};
use crate::backend::BackendError;
use crate::model::{DomainId, Kind};
use crate::plan::Step;

/// How many are taken before their turn at most: an interruption waits for them.
const AT_ONCE: usize = 1000;

/// Steps behind those that make domains, and how many of them have been taken.
pub(super) struct Ahead<'s> {
    steps: &'s [Step],
    taken: usize,
}

impl<'s> Ahead<'s> {
    /// Of these steps those that may be taken so.
    pub(super) fn of(steps: &'s [Step]) -> Self {
        let count = steps.iter().take(AT_ONCE).take_while(|step| domains_of(step).is_some()).count();
        Self { steps: &steps[..count], taken: 0 }
    }

    /// How many have been taken.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes as many as can be by now, in their order. One that is refused is tried again, and told of, when it has its
    /// turn.
    pub(super) fn go_on(&mut self, domains: &mut Domains, tunnels: &mut Tunnels) {
        while let Some(next) = self.steps.get(self.taken).filter(|step| has_its_domains(domains, step)) {
            match apply::step(domains, tunnels, next) {
                Ok(()) => self.taken += 1,
                Err(error) => {
                    tracing::debug!(step = %next, %error, "refused before its turn");
                    self.steps = &self.steps[..self.taken];
                }
            }
        }
    }

    /// As if none had been taken.
    pub(super) fn take_back(self, domains: &mut Domains, tunnels: &mut Tunnels) -> Result<(), BackendError> {
        self.steps[..self.taken].iter().rev().try_for_each(|step| {
            let Step::CreateInterface { at, .. } = step else { return Ok(()) };
            links::delete(domains, tunnels, at)
        })
    }
}

fn has_its_domains(domains: &Domains, step: &Step) -> bool {
    domains_of(step).is_some_and(|needed| needed.iter().all(|id| domains.namespace(*id).is_ok()))
}

/// The domains that an interface is in which this step makes; none if it stands on other interfaces.
fn domains_of(step: &Step) -> Option<[DomainId; 2]> {
    let Step::CreateInterface { at, kind } = step else { return None };
    match kind {
        Kind::Veth { peer } => Some([at.domain, peer.domain]),
        Kind::Bridge | Kind::Dummy | Kind::Vrf { .. } => Some([at.domain; 2]),
        Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) | Kind::WireGuard(_) => None,
        Kind::Loopback | Kind::Existing | Kind::Physical { .. } => None,
    }
}
