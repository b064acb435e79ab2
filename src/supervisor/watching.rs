//! Carries out what a watch decides: looks, puts back, and says what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tracing::{debug, info, warn};

use super::decide::{Action, Happening};
use super::drift::{Difference, differences};
use super::{Event, Supervisor, greet_anew};
use crate::backend::linux::Linux;
use crate::backend::linux::monitor::{Heard, Monitor};
use crate::backend::{Backend, BackendError};
use crate::diagnostic::chain;
use crate::model::{DomainId, Kind, Network};
use crate::plan::{Step, plan};
use crate::status::Occurrence;
use crate::transaction::{Mended, mend};

/// A kernel as some of its domains: all else is taken to be as `around` has it.
pub(super) struct Part<'k> {
    pub(super) backend: &'k mut Linux,
    pub(super) around: &'k Network,
    pub(super) domains: BTreeSet<DomainId>,
}

impl Backend for Part<'_> {
    fn observe(&mut self) -> Result<Network, BackendError> {
        self.backend.observe_some(self.around, &self.domains)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.backend.apply(step)
    }

    fn apply_some(&mut self, steps: &[Step]) -> Result<usize, BackendError> {
        self.backend.apply_some(steps)
    }
}

/// Whether a step changes nothing of other domains: interfaces come and go with their other ends.
fn stays_inside(step: &Step) -> bool {
    match step {
        Step::CreateDomain { .. } | Step::DeleteDomain { .. } | Step::RequireInterface { .. } => false,
        Step::CreateInterface { .. } | Step::DeleteInterface { .. } => false,
        Step::LendInterface { .. } | Step::ReturnInterface { .. } => false,
        Step::SetMtu { .. }
        | Step::SetImpairment { .. }
        | Step::SetController { .. }
        | Step::SetUp { .. } => true,
        Step::AddAddress { .. } | Step::RemoveAddress { .. } | Step::SetTunnel { .. } => true,
        Step::SetPeer { .. } | Step::RemovePeer { .. } | Step::AddRoute { .. } | Step::RemoveRoute { .. } => {
            true
        }
        Step::AddRule { .. } | Step::RemoveRule { .. } => true,
        Step::SetSysctl { .. } | Step::ResetSysctl { .. } => true,
    }
}

/// The differences in each of these domains. What is to be done at the other end of an interface, in a domain that is not
/// among them, differs in the one that has this end.
fn by_domain(steps: &[Step], domains: &BTreeSet<DomainId>) -> BTreeMap<DomainId, Vec<String>> {
    let mut steps_of: BTreeMap<DomainId, Vec<Step>> = domains.iter().map(|id| (*id, Vec::new())).collect();
    for step in steps {
        let far = match step {
            Step::CreateInterface { kind: Kind::Veth { peer }, .. } => Some(peer.domain),
            _ => None,
        };
        let here = [step.object().domain()].into_iter().chain(far).find(|id| domains.contains(id));
        let here = here.or_else(|| domains.first().copied());
        if let Some(steps) = here.and_then(|id| steps_of.get_mut(&id)) {
            steps.push(step.clone());
        }
    }
    steps_of.into_iter().map(|(id, steps)| (id, differences(&steps))).collect()
}

impl Supervisor {
    /// Listens to every domain, and then looks at each: what changes from now on is heard.
    pub(super) fn begin_to_watch(&mut self) {
        let queue = self.sender.clone();
        let tell = move |heard| {
            queue.upgrade().is_some_and(|queue| queue.blocking_send(Event::Heard(heard)).is_ok())
        };
        match Monitor::start(tell) {
            Ok(monitor) => self.monitor = Some(monitor),
            Err(error) => warn!(%error, "changes by others will not be noticed"),
        }
        self.listen_everywhere();
    }

    /// Whether all that differs from what was asked for is put back as soon as it is seen.
    pub(super) fn is_kept(&self) -> bool {
        self.monitor.is_some() && self.watch.repairs()
    }

    /// To be called whenever there may be other domains than before.
    pub(super) fn listen_everywhere(&mut self) {
        let Some(monitor) = &self.monitor else { return };
        match self.backend.be_heard_by(monitor) {
            Ok(new) => {
                let all = self.desired.domains.keys().copied().collect();
                self.look_after_sockets(&new);
                self.carry_on(Happening::Domains { all, new });
            }
            Err(error) => warn!(%error, "changes by others will not be noticed"),
        }
    }

    pub(super) fn hear(&mut self, heard: Heard) {
        let Heard { mut stirred, lost, names } = heard;
        if !lost.is_empty() {
            debug!(domains = lost.len(), "messages of changes were lost: all of these domains are looked at");
        }
        if names {
            stirred.extend(self.desired.domains.keys());
        }
        if stirred.contains(&DomainId::DEFAULT) {
            let guests = self.desired.domains.iter().filter(|(_, domain)| !domain.isolation.has_namespace());
            stirred.extend(guests.map(|(id, _)| id));
        }
        stirred.retain(|domain| self.desired.domains.contains_key(domain));
        self.carry_on(match stirred.is_empty() {
            true => Happening::Tick,
            false => Happening::Stirred(stirred.clone()),
        });
        // A port that somebody else has set is another one by then.
        self.look_after_sockets(&stirred);
    }

    fn carry_on(&mut self, happening: Happening) {
        for action in self.watch.handle(happening, Instant::now()) {
            match action {
                Action::Look(domains) => {
                    let begun = Instant::now();
                    let differences = self.look(&domains);
                    self.carry_on(Happening::Looked { differences, took: begun.elapsed() });
                }
                Action::Report(differences) => {
                    for what in differences {
                        warn!("drift: {what}; left as it is");
                        self.drifted(what, "left as it is");
                    }
                }
                Action::Repair(domains) => self.put_back(domains),
                Action::BackOff(what) => {
                    warn!(
                        "drift: {what}, again and again: somebody else wants it so; left alone for a minute"
                    );
                    self.drifted(what, "again and again, left alone for a minute");
                }
            }
        }
    }

    /// What differs in each of these domains. They are looked at together, for each is seen by those that it is joined
    /// to; one that cannot be looked at keeps none but itself from being seen.
    fn look(&mut self, domains: &BTreeSet<DomainId>) -> BTreeMap<DomainId, Vec<String>> {
        let around = self.desired.around(domains);
        debug!(?domains, "looked at");
        let found = match self.backend.observe_some(&around, domains) {
            Ok(seen) => by_domain(&plan(&around, &seen), domains),
            Err(error) if domains.len() > 1 => {
                debug!(%error, "looked at one by one");
                return domains.iter().flat_map(|domain| self.look(&BTreeSet::from([*domain]))).collect();
            }
            Err(error) => {
                debug!(?domains, %error, "not looked at");
                BTreeMap::new()
            }
        };
        self.history.synced();
        found
    }

    pub(super) fn drifted(&mut self, what: String, fate: &str) {
        self.happened(Occurrence::Drift { what, fate: fate.to_owned() });
    }

    /// What can be put back inside of domains is, together; for all else the whole network is looked at.
    fn put_back(&mut self, domains: BTreeSet<DomainId>) {
        let around = self.desired.around(&domains);
        let mut part = Part { backend: &mut self.backend, around: &around, domains };
        let inside = part.observe().map(|seen| plan(&around, &seen)).ok();
        let taken = match inside.filter(|steps| steps.iter().all(stays_inside)) {
            Some(steps) => {
                let mended = mend(&mut part, &steps);
                Ok(self.taken(mended))
            }
            None => {
                debug!("the whole network is looked at");
                self.mend_all()
            }
        };
        match taken {
            Ok(taken) if taken.is_empty() => {}
            Ok(taken) => {
                for what in differences(&taken) {
                    warn!("drift: {what}; restored");
                    self.drifted(what, "restored");
                }
                greet_anew(&mut self.backend, &taken);
                info!(network = %self.desired.name, steps = taken.len(), "repaired");
                self.follow_endpoints(&taken);
                self.renew_groups();
            }
            Err(error) => warn!(%error, "drift: not restored"),
        }
        // Who listens in a namespace keeps it, and with it an interface that is to fall back out of it.
        self.listen_everywhere();
    }

    /// Makes the network what it shall be, as far as the kernel lets it; returns the steps that were taken.
    pub(super) fn mend_all(&mut self) -> Result<Vec<Step>, BackendError> {
        let steps = plan(&self.desired, &self.backend.observe()?);
        let mended = mend(&mut self.backend, &steps);
        Ok(self.taken(mended))
    }

    /// Says what was refused; returns what was not.
    fn taken(&mut self, Mended { taken, refused }: Mended) -> Vec<Step> {
        for (step, error) in refused {
            let advice = error.help.as_ref().map(|help| format!("; help: {help}")).unwrap_or_default();
            let (what, fate) =
                (Difference(&step).to_string(), format!("not restored: {}{advice}", chain(&error)));
            warn!("drift: {what}; {fate}");
            self.drifted(what, &fate);
        }
        taken
    }
}
