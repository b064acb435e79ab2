//! What a supervisor has done since it started, for whoever asks later: a count and the last of each kind.

use std::time::Instant;

use crate::status::{HappeningView, HistoryView};

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
    /// A file was applied, or what nobody confirmed has gone back.
    pub(super) fn applied(&mut self, what: String) {
        self.applied.add(what);
    }

    /// A file was to be applied, and nothing has changed.
    pub(super) fn refused(&mut self, why: &str) {
        self.refused += 1;
        let why = why.lines().next().unwrap_or_default();
        self.applied.last = Some((Instant::now(), format!("refused: {why}")));
    }

    /// Somebody else changed something, and this became of it.
    pub(super) fn drifted(&mut self, what: &str, fate: &str) {
        self.drift.add(format!("{what}; {fate}"));
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
