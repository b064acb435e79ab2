//! Another file for a network that is up, whole or not at all.
//!
//! Whoever asks sends the text: it is the file that they saw and checked. A hangup signal has the supervisor read its
//! own file again. Either way a file that is wrong, or that the kernel refuses, changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::explain::explain_all;
use super::{Prepared, Supervisor, UpError, greet, greet_anew, place, prepare};
use crate::backend::linux::Survey;
use crate::control::{Answer, Wanted};
use crate::plan::Step;
use crate::spec::{self, Document, Source};
use crate::state::write_lookups;
use crate::status::{AppliedView, PlanView};
use crate::transaction::{Failure, Outcome, converge};

impl Supervisor {
    /// Makes the network what somebody's file says.
    pub(super) fn apply(&mut self, wanted: &Wanted) -> Answer {
        let running = &self.desired.name;
        if wanted.network != running.as_str() {
            return Err(format!("this is network {running}, not {}", wanted.network));
        }
        let document = self.read(Source {
            file: wanted.file.clone(),
            text: wanted.text.clone(),
            network: running.clone(),
            directory: wanted.directory.clone(),
        })?;
        let steps = self.change(document).inspect_err(|told| warn!("not applied: {told}"))?;
        let applied = AppliedView { plan: PlanView::new(&steps), warnings: self.warnings.clone() };
        serde_json::to_string(&applied).map_err(|error| error.to_string())
    }

    /// Makes the network what its own file says by now.
    pub(super) fn apply_again(&mut self) {
        let applied = self.read_again().and_then(|document| self.change(document));
        match applied {
            Ok(steps) => info!(network = %self.desired.name, steps = steps.len(), "applied again"),
            Err(why) => warn!("not applied again, nothing is changed: {why}"),
        }
    }

    fn read_again(&self) -> Result<Document, String> {
        let source = &self.document.source;
        let path = path_of(source).ok_or("the file came from standard input: rdom apply FILE")?;
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        self.read(Source { text, network: self.desired.name.clone(), ..source.clone() })
    }

    fn read(&self, source: Source) -> Result<Document, String> {
        let mut lowered = spec::read(&source).map_err(|errors| errors.to_string())?;
        lowered.network.name = self.desired.name.clone();
        Ok(Document { source, lowered })
    }

    /// What goes wrong is told at its place in the document.
    fn change(&mut self, document: Document) -> Result<Vec<Step>, String> {
        match self.change_to(&document) {
            Ok((prepared, outcome)) => {
                let Prepared { desired, warnings, .. } = prepared;
                (self.desired, self.warnings, self.document) = (desired, warnings, document);
                info!(network = %self.desired.name, steps = outcome.taken.len(), "applied");
                self.watch.set(self.document.lowered.drift);
                self.listen_everywhere();
                Ok(outcome.taken)
            }
            Err(error) => Err(explain_all(&error, &document).to_string()),
        }
    }

    fn change_to(&mut self, document: &Document) -> Result<(Prepared, Outcome), UpError> {
        let prepared = prepare(document, &self.directories)?;
        self.backend.learn(prepared.keys.clone());
        let outcome = converge(&mut self.backend, &prepared.desired, &|| false).map_err(UpError::Failed)?;
        greet_anew(&mut self.backend, &outcome.taken);
        let survey = Survey::of(&self.directories);
        let checked =
            survey.map_err(UpError::from).and_then(|survey| Ok(place::check(&survey, &prepared.desired)?));
        let checked = checked.and_then(|()| Ok(write_lookups(&prepared.desired, &self.directories)?));
        match checked {
            Ok(()) => Ok((prepared, outcome)),
            Err(error) => {
                self.go_back().unwrap_or_else(|failure| warn!(%failure, "not taken back"));
                Err(error)
            }
        }
    }

    fn go_back(&mut self) -> Result<(), Box<Failure>> {
        converge(&mut self.backend, &self.desired, &|| false)?;
        greet(&mut self.backend);
        Ok(())
    }
}

/// Where a file can be read again; nowhere if it came from standard input.
fn path_of(source: &Source) -> Option<PathBuf> {
    let name = Path::new(&source.file).file_name()?;
    let path = source.directory.join(name);
    (source.file != "<stdin>").then_some(path)
}
