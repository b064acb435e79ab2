//! Another file for a network that is up, whole or not at all.
//!
//! Whoever asks sends the text: it is the file that they saw and checked. A hangup signal has the supervisor read its
//! own file again. Either way a file that is wrong, or that the kernel refuses, changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::confirm::{self, Pending, within};
use super::explain::explain_all;
use super::residents::{Eviction, deleted, residents_of};
use super::watching::Part;
use super::{
    Gist, Prepared, Supervisor, UpError, greet, greet_anew, neighbours, place, prepare, service_manager,
};
use crate::backend::Backend;
use crate::control::{Answer, Residents, Terms, Wanted};
use crate::diagnostic::chain;
use crate::model::{DomainId, Network, Object};
use crate::plan::{Step, plan};
use crate::service;
use crate::spec::{self, Document, Source};
use crate::state::{Unconfirmed, is_everybodys, write_lookups};
use crate::status::{AppliedView, Occurrence, PlanView};
use crate::transaction::{Failure, Outcome, converge};

/// A document that may take the place of the one that is carried out, with what that takes.
pub(super) struct Coming {
    document: Document,
    prepared: Prepared,
    steps: Vec<Step>,
}

impl Supervisor {
    /// Makes the network what somebody's file says, on their terms.
    pub(super) fn apply(&mut self, wanted: &Wanted, terms: &Terms) -> Answer {
        let within = within(terms)?;
        let running = &self.desired.name;
        if wanted.network != running.as_str() {
            return Err(format!("this is network {running}, not {}", wanted.network));
        }
        let mut document = self.read(self.source(wanted))?;
        let file_warnings = document.lowered.warnings.clone();
        document.lowered.drift = terms.drift.unwrap_or(document.lowered.drift);
        let running = self.gist.services.clone();
        let steps = match within {
            Some(within) => self.change_for_now(document, within),
            None => self.change_for_good(document),
        };
        self.remember(&steps);
        let steps = steps.inspect_err(|told| warn!("not applied: {told}"))?;
        self.await_endpoints();
        let applied = AppliedView {
            plan: PlanView::new(&steps),
            services: service::changes(&running, &self.gist.services),
            warnings: self.warnings.clone(),
            file_warnings: (!file_warnings.is_empty()).then(|| file_warnings.to_string()),
            goes_back_in_secs: self.unconfirmed.as_ref().map(Pending::left_secs),
        };
        serde_json::to_string(&applied).map_err(|error| error.to_string())
    }

    /// The domains that somebody's file has no more; none if it will be refused.
    pub(super) fn deleted_by(&self, wanted: &Wanted, terms: &Terms) -> BTreeSet<DomainId> {
        let is_refused = match within(terms) {
            Ok(within) => within.is_none() && self.unconfirmed.is_some(),
            Err(_) => true,
        };
        if is_refused || wanted.network != self.desired.name.as_str() {
            return BTreeSet::new();
        }
        let coming = self.read(self.source(wanted)).and_then(|document| self.coming(document));
        coming.map(|coming| deleted(&coming.steps)).unwrap_or_default()
    }

    fn source(&self, wanted: &Wanted) -> Source {
        let Wanted { file, directory, text, .. } = wanted;
        let (file, text, directory) = (file.clone(), text.clone(), directory.clone());
        Source { file, text, network: self.desired.name.clone(), directory, reader: None }
    }

    /// Makes the network what its own file says by now.
    pub(super) fn apply_again(&mut self) {
        let applied = self.read_again().and_then(|document| self.change_for_good(document));
        self.remember(&applied);
        match applied {
            Ok(steps) => {
                let (network, file) = (&self.desired.name, &self.gist.source.file);
                info!(%network, steps = steps.len(), file, "applied again");
            }
            Err(why) => warn!("not applied again, nothing is changed: {why}"),
        }
    }

    fn remember(&mut self, applied: &Result<Vec<Step>, String>) {
        self.happened(match applied {
            Ok(steps) => Occurrence::Applied {
                steps: texts(steps),
                goes_back_in_secs: self.unconfirmed.as_ref().map(Pending::left_secs),
            },
            Err(why) => Occurrence::Refused { why: why.clone() },
        });
    }

    fn read_again(&self) -> Result<Document, String> {
        let source = &self.gist.source;
        let path = path_of(source).ok_or("the file came from standard input: rdom apply FILE")?;
        if is_everybodys(&path) {
            return Err(format!("everybody can write to it: chmod o-w {}", path.display()));
        }
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        self.read(Source { text, network: self.desired.name.clone(), ..source.clone() })
    }

    /// What waits to be confirmed is not overtaken by what would stay whether or not somebody can still confirm it.
    fn change_for_good(&mut self, document: Document) -> Result<Vec<Step>, String> {
        if let Some(pending) = &self.unconfirmed {
            let (name, left) = (&self.desired.name, pending.left_secs());
            return Err(format!(
                "what was applied last is not confirmed and goes back in {left}s\n\
                 help: rdom confirm -n {name}, or to try another file instead: rdom apply --confirm 60s FILE"
            ));
        }
        let coming = self.coming(document)?;
        self.clear_for(&coming)?;
        let steps = self.change(coming)?;
        confirm::forget(&self.directories);
        Ok(steps)
    }

    /// A change that goes back by itself unless it is confirmed in time; where nothing changes, there is nothing to confirm.
    fn change_for_now(&mut self, document: Document, within: Duration) -> Result<Vec<Step>, String> {
        let coming = self.coming(document)?;
        if self.unconfirmed.is_none() && self.is_already(&coming) {
            return self.change(coming);
        }
        self.clear_for(&coming)?;
        let earlier = Unconfirmed::kept(&self.directories).map_err(|error| chain(&error))?;
        let kept = self.promise(&coming.document, within)?;
        match self.change(coming) {
            Ok(steps) => {
                self.wait_to_be_confirmed(kept);
                Ok(steps)
            }
            Err(why) => {
                match earlier {
                    Some(earlier) => earlier.keep(&self.directories).map_err(|error| chain(&error))?,
                    None => confirm::forget(&self.directories),
                }
                Err(why)
            }
        }
    }

    /// Whether a document asks for nothing but what is asked for already.
    fn is_already(&self, coming: &Coming) -> bool {
        coming.prepared.desired == self.desired && Gist::of(&coming.document).is_like(&self.gist)
    }

    /// What a document takes; what is wrong with it is told at its place.
    pub(super) fn coming(&self, document: Document) -> Result<Coming, String> {
        let prepared = prepare(&document, &self.directories, self.backend.keys())
            .map_err(|error| told(&error, &document))?;
        let steps = plan(&prepared.desired, &self.desired);
        Ok(Coming { document, prepared, steps })
    }

    /// Nobody lives in the domains that a document has no more, or it is an error.
    fn clear_for(&self, coming: &Coming) -> Result<(), String> {
        let (name, deleted) = (&self.desired.name, deleted(&coming.steps));
        let eviction = Eviction {
            residents: &|| residents_of(&deleted, name, &self.directories),
            kept: "nothing is changed".to_owned(),
            help: format!("end them; or to have them ended: rdom apply --kill -n {name} FILE"),
        };
        eviction.carry_out(Residents::Keep).map_err(|kept| kept.text())
    }

    pub(super) fn read(&self, source: Source) -> Result<Document, String> {
        let mut lowered = spec::read(&source).map_err(|errors| errors.to_string())?;
        lowered.network.name = self.desired.name.clone();
        Ok(Document { source, lowered })
    }

    /// What goes wrong is told at its place in the document.
    pub(super) fn change(&mut self, coming: Coming) -> Result<Vec<Step>, String> {
        match self.change_to(&coming) {
            Ok(outcome) => {
                let Coming { document, prepared: Prepared { desired, warnings, .. }, .. } = coming;
                (self.desired, self.warnings, self.gist) = (desired, warnings, Gist::of(&document));
                self.keep_services();
                info!(network = %self.desired.name, steps = outcome.taken.len(), "applied");
                service_manager::ready(&self.desired);
                self.watch.set(self.gist.drift);
                self.open_or_close_door();
                self.share_control();
                self.follow_endpoints(&outcome.taken);
                self.listen_everywhere();
                self.renew_groups();
                Ok(outcome.taken)
            }
            Err(error) => {
                self.keep_services();
                Err(told(&error, &coming.document))
            }
        }
    }

    fn change_to(&mut self, coming: &Coming) -> Result<Outcome, UpError> {
        let Coming { document, prepared, steps } = coming;
        self.pause_services(document, &deleted(steps)).map_err(UpError::Services)?;
        self.backend.learn(prepared.keys.clone());
        let touched = touched(steps, [&self.desired, &prepared.desired]);
        let outcome = self.converge_to(&prepared.desired, &touched).map_err(UpError::Failed)?;
        greet_anew(&mut self.backend, &outcome.taken);
        let checked = place::check_some(&self.directories, &prepared.desired, &touched);
        let checked = checked
            .map_err(UpError::from)
            .and_then(|()| Ok(neighbours::check(&prepared.desired, &self.directories)?))
            .and_then(|()| Ok(write_lookups(&prepared.desired, &self.directories)?));
        match checked {
            Ok(()) => Ok(outcome),
            Err(error) => {
                self.go_back().unwrap_or_else(|failure| warn!(%failure, "not taken back"));
                Err(error)
            }
        }
    }

    /// Looks at what the change is about. All else is as it was asked for as long as somebody watches over it, unless
    /// the change fails: then everything is looked at, and if something was not, it is tried with that.
    fn converge_to(
        &mut self,
        desired: &Network,
        touched: &BTreeSet<DomainId>,
    ) -> Result<Outcome, Box<Failure>> {
        if self.is_kept() {
            let [around, part] = Network::both_around([&self.desired, desired], touched);
            let (backend, around) = (&mut self.backend, &around);
            let failure =
                match converge(&mut Part { backend, around, domains: touched.clone() }, &part, &|| false) {
                    Ok(outcome) => return Ok(outcome),
                    Err(failure) => failure,
                };
            if self.backend.observe().is_ok_and(|seen| plan(&self.desired, &seen).is_empty()) {
                return Err(failure);
            }
            debug!(%failure, "the whole network is looked at");
        }
        converge(&mut self.backend, desired, &|| false)
    }

    fn go_back(&mut self) -> Result<(), Box<Failure>> {
        if let Err(error) = write_lookups(&self.desired, &self.directories) {
            warn!(%error, "not taken back");
        }
        converge(&mut self.backend, &self.desired, &|| false)?;
        greet(&mut self.backend);
        Ok(())
    }
}

/// The domains that steps from one network to another have to do with.
fn touched(steps: &[Step], networks: [&Network; 2]) -> BTreeSet<DomainId> {
    let domains = |step: &Step| match step.object() {
        Object::Interface(at) => {
            let ends = networks.into_iter().flat_map(|network| network.ends(&at));
            ends.map(|end| end.domain).collect()
        }
        object => vec![object.domain()],
    };
    steps.iter().flat_map(domains).collect()
}

/// Steps in words.
pub(super) fn texts(steps: &[Step]) -> Vec<String> {
    steps.iter().map(Step::to_string).collect()
}

fn told(error: &UpError, document: &Document) -> String {
    explain_all(error, document).to_string()
}

/// Where a file can be read again; nowhere if it came from standard input.
fn path_of(source: &Source) -> Option<PathBuf> {
    let name = Path::new(&source.file).file_name()?;
    let path = source.directory.join(name);
    (source.file != "<stdin>").then_some(path)
}
