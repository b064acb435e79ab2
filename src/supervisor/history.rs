//! What a supervisor has done since it started, for whoever asks later: a count and the last of each kind.

use std::time::Instant;

use crate::status::{HappeningView, HistoryView, Occurrence};

/// Since the start of this process.
#[derive(Debug, Default)]
pub(super) struct History {
    applied: Kind,
    refused: u64,
    drift: Kind,
    synced: Option<Instant>,
}

/// Happenings of one kind.
#[derive(Debug, Default)]
struct Kind {
    count: u64,
    last: Option<(Instant, String)>,
}

impl History {
    /// This has happened.
    pub(super) fn add(&mut self, what: &Occurrence) {
        match what {
            Occurrence::Applied { steps, .. } => self.applied.add(counted(steps)),
            Occurrence::GoneBack { steps } => {
                self.applied.add(format!("not confirmed in time: gone back, {}", counted(steps)));
            }
            Occurrence::Refused { why } => {
                self.refused += 1;
                let why = why.lines().next().unwrap_or_default();
                self.applied.last = Some((Instant::now(), format!("refused: {why}")));
            }
            Occurrence::Drift { what, fate } => self.drift.add(format!("{what}; {fate}")),
            Occurrence::Confirmed
            | Occurrence::EngineEnded
            | Occurrence::Repaired { .. }
            | Occurrence::Down
            | Occurrence::Missed { .. } => {}
        }
    }

    /// The kernel was looked at.
    pub(super) fn synced(&mut self) {
        self.synced = Some(Instant::now());
    }

    pub(super) fn view(&self) -> HistoryView {
        HistoryView {
            applies: self.applied.count,
            applies_refused: self.refused,
            last_apply: self.applied.view(),
            drifts: self.drift.count,
            last_drift: self.drift.view(),
            last_sync_secs_ago: self.synced.map(|at| at.elapsed().as_secs()),
        }
    }
}

fn counted(steps: &[String]) -> String {
    format!("{} step{}", steps.len(), if steps.len() == 1 { "" } else { "s" })
}

impl Kind {
    fn add(&mut self, what: String) {
        self.count += 1;
        self.last = Some((Instant::now(), what));
    }

    fn view(&self) -> Option<HappeningView> {
        let (at, what) = self.last.as_ref()?;
        Some(HappeningView { secs_ago: at.elapsed().as_secs(), what: what.clone() })
    }
}
