//! Changes that go back by themselves unless somebody confirms them: for whoever may cut off the branch they sit on.
//!
//! What was in force is written down before the first step, so that it does not take this process to go back: the next
//! supervisor finds it, after a crash or at the next boot. The time runs from when the change was asked for.

use std::path;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::apply::texts;
use super::{Event, Supervisor};
use crate::control::{Answer, Terms};
use crate::diagnostic::chain;
use crate::model::NetworkName;
use crate::spec::{self, Document, Source};
use crate::state::{Directories, KeptFile, StateError, Unconfirmed};
use crate::status::Occurrence;

/// When to try again to go back, where it was refused.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A change that is not confirmed yet, and when it goes back.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kept: Unconfirmed,
    until: Instant,
}

impl Pending {
    /// The one that this document is, if it is one.
    pub(super) fn resumed(
        document: &Document,
        directories: &Directories,
        queue: &mpsc::WeakSender<Event>,
    ) -> Result<Option<Self>, StateError> {
        let Some(kept) = Unconfirmed::kept(directories)? else { return Ok(None) };
        let is_it = kept.wanted == document.source.text;
        Ok(is_it.then(|| Self::begun(kept, queue)))
    }

    fn begun(kept: Unconfirmed, queue: &mpsc::WeakSender<Event>) -> Self {
        let until = Instant::now() + kept.left();
        wake(until, queue.clone());
        Self { kept, until }
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// In whole seconds, of which one has begun.
    pub(super) fn left_secs(&self) -> u64 {
        self.left().as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }
}

impl Supervisor {
    /// Before the first step of a change: what to go back to is on the disk when this returns.
    pub(super) fn promise(&self, wanted: &Document, within: Duration) -> Result<Unconfirmed, String> {
        let before = match &self.unconfirmed {
            Some(pending) => pending.kept.before.clone(),
            None => kept_file(&self.gist.source).map_err(|error| error.to_string())?,
        };
        let kept = Unconfirmed::new(before, wanted.source.text.clone(), within);
        kept.keep(&self.directories).map_err(|error| chain(&error))?;
        Ok(kept)
    }

    /// After its last step.
    pub(super) fn wait_to_be_confirmed(&mut self, kept: Unconfirmed) {
        self.unconfirmed = Some(Pending::begun(kept, &self.sender));
    }

    /// What somebody applied is to stay.
    pub(super) fn confirm(&mut self) -> Answer {
        if self.unconfirmed.is_none() {
            return Err(format!("nothing of network {} waits to be confirmed", self.desired.name));
        }
        Unconfirmed::forget(&self.directories).map_err(|error| chain(&error))?;
        self.unconfirmed = None;
        info!(network = %self.desired.name, "confirmed");
        self.happened(Occurrence::Confirmed);
        Ok("{}".to_owned())
    }

    /// Goes back to what there was before a change that nobody confirmed in time; when that is refused, again later.
    pub(super) fn go_back_if_due(&mut self) {
        let Some(pending) = self.unconfirmed.take_if(|pending| pending.left().is_zero()) else { return };
        let before = source(&pending.kept.before, &self.desired.name);
        let file = before.file.clone();
        let coming = self.read(before).and_then(|document| self.coming(document));
        match coming.and_then(|coming| self.change(coming)) {
            Ok(steps) => {
                self.happened(Occurrence::GoneBack { steps: texts(&steps) });
                warn!(network = %self.desired.name, steps = steps.len(), file, "not confirmed in time: gone back");
            }
            Err(why) => {
                warn!("not confirmed in time, and not gone back, which is tried again: {why}");
                let until = Instant::now() + AGAIN_AFTER;
                wake(until, self.sender.clone());
                self.unconfirmed = Some(Pending { until, ..pending });
            }
        }
    }
}

/// What is to come up instead of a document that nobody confirmed in time: the one before it.
pub fn confirmed_instead_of(
    document: &Document,
    directories: &Directories,
) -> Result<Option<Document>, StateError> {
    let Some(kept) = Unconfirmed::kept(directories)? else { return Ok(None) };
    if kept.wanted != document.source.text || !kept.left().is_zero() {
        return Ok(None);
    }
    let name = &document.lowered.network.name;
    let source = source(&kept.before, name);
    match spec::read(&source) {
        Ok(mut lowered) => {
            lowered.network.name = name.clone();
            Ok(Some(Document { source, lowered }))
        }
        Err(errors) => {
            warn!("nobody confirmed the file, but the one before it cannot be read any more: {errors}");
            Ok(None)
        }
    }
}

/// Whoever has brought a file up that is neither one that waits to be confirmed nor the one before it, has decided.
pub(super) fn forget_of_others(document: &Document, directories: &Directories) {
    let text = &document.source.text;
    let is_of_others = |kept: Unconfirmed| kept.wanted != *text && kept.before.text != *text;
    if Unconfirmed::kept(directories).is_ok_and(|kept| kept.is_some_and(is_of_others)) {
        forget(directories);
    }
}

/// Whoever takes a network down, or applies a file without conditions, has decided.
pub(super) fn forget(directories: &Directories) {
    if let Err(error) = Unconfirmed::forget(directories) {
        warn!("{}", chain(&error));
    }
}

/// The time of these terms.
pub(super) fn within(terms: &Terms) -> Result<Option<Duration>, String> {
    let within = terms.confirm.as_deref().map(spec::duration).transpose();
    within.map_err(|trouble| trouble.to_string())
}

fn kept_file(source: &Source) -> std::io::Result<KeptFile> {
    let directory = path::absolute(path::Path::new(".").join(&source.directory))?;
    Ok(KeptFile { file: source.file.clone(), directory, text: source.text.clone() })
}

fn source(kept: &KeptFile, network: &NetworkName) -> Source {
    let KeptFile { file, directory, text } = kept.clone();
    Source { file, text, network: network.clone(), directory, reader: None }
}

/// Has the supervisor look at a time and not before it, on a thread of its own: the time must pass even where nothing is
/// heard of a kernel.
fn wake(at: Instant, queue: mpsc::WeakSender<Event>) {
    let tell = move || {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        queue.upgrade().map(|queue| queue.blocking_send(Event::TimeIsUp))
    };
    if let Err(error) = thread::Builder::new().name("confirm".into()).spawn(tell) {
        warn!(%error, "what is not confirmed will not go back by itself");
    }
}
