//! What came of tests and of the files that they are in: plain values, which are also what `rdom test --json` prints.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::Evidence;

/// The exit status of a file that needs what this system does not permit or does not have.
const UNSUPPORTED: u8 = 4;
/// The exit status of what Ctrl-C ended, as shells have it: 128 and the number of SIGINT.
pub const INTERRUPTED: u8 = 130;

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Its place among the tests and steps of its file, from 0.
    pub number: usize,
    /// The number of the domain that it ran in; none if it is about several alike.
    pub domain: Option<u32>,
    /// Its name.
    pub name: String,
    /// What it asserts.
    pub asserted: String,
    /// How long it took.
    pub duration_secs: f64,
    /// What was seen instead of what was asserted; none if the assertion held.
    pub failure: Option<String>,
    /// What the network looked like then, if the assertion did not hold.
    pub evidence: Option<Box<Evidence>>,
    /// The file of the packets that went by on its way, in the pcapng format, if it failed and packets are kept.
    pub capture: Option<PathBuf>,
    /// The line of the file, from 1.
    pub line: usize,
}

impl Verdict {
    /// Whether the assertion held.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// What came of one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileReport {
    /// The file, as it was named.
    pub file: String,
    /// Which run of it this is, from 1, where it is run more than once.
    pub run: Option<usize>,
    /// How many tests it should have run.
    pub tests: usize,
    /// What came of those that it did run, in the order of the file.
    pub verdicts: Vec<Verdict>,
    /// 0 if its tests could be run, whatever came of them; else the exit status that says why not.
    pub status: u8,
    /// What was said of that.
    pub trouble: String,
    /// How long it took, the making of its copy included.
    pub duration_secs: f64,
    /// The copy, if it was kept.
    pub kept: Option<Kept>,
}

/// A copy that outlives its tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// What to type to get into it.
    pub enter: String,
    /// What to type to end it.
    pub end: String,
}

/// What became of a file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of its tests were run.
    Complete,
    /// This system lacks what it needs.
    Unsupported,
    /// Somebody ended it.
    Interrupted,
    /// It could not be run.
    Broken,
}

impl FileReport {
    /// Of a file that has not been run yet.
    pub fn new(file: impl Into<String>, run: Option<usize>, tests: usize) -> Self {
        Self {
            file: file.into(),
            run,
            tests,
            verdicts: Vec::new(),
            status: 0,
            trouble: String::new(),
            duration_secs: 0.0,
            kept: None,
        }
    }

    /// The same, interrupted.
    pub fn interrupted(self) -> Self {
        Self { status: INTERRUPTED, ..self }
    }

    /// What to call it: its name, and which run it is if there are several.
    pub fn label(&self) -> String {
        match self.run {
            Some(run) => format!("{} (run {run})", self.file),
            None => self.file.clone(),
        }
    }

    /// What became of it.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            0 => Outcome::Complete,
            UNSUPPORTED => Outcome::Unsupported,
            INTERRUPTED => Outcome::Interrupted,
            _ => Outcome::Broken,
        }
    }

    /// Its verdicts of tests that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(|verdict| !verdict.passed())
    }
}

/// The exit status that says what became of all of them: 130 if somebody ended it, 1 if a test failed, else that of a
/// file that could not be run, 4 only if no other; else 0.
pub fn exit_status(reports: &[FileReport]) -> u8 {
    let is = |outcome| reports.iter().any(|report| report.outcome() == outcome);
    if is(Outcome::Interrupted) {
        return INTERRUPTED;
    }
    if reports.iter().any(|report| report.failures().next().is_some()) {
        return 1;
    }
    let broken = reports.iter().map(|report| report.status).filter(|&status| status != 0);
    broken.min_by_key(|&status| status == UNSUPPORTED).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_status_is_that_of_the_worst() {
        let of = |statuses: &[u8]| {
            let report = |&status: &u8| FileReport { status, ..FileReport::new("a.yaml", None, 1) };
            exit_status(&statuses.iter().map(report).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[0, 4]), 4);
        assert_eq!(of(&[4, 2, 0]), 2);
        assert_eq!(of(&[0, 130, 2]), 130);
        let failed = Verdict {
            number: 0,
            domain: Some(1),
            name: "a".into(),
            asserted: "a".into(),
            duration_secs: 0.0,
            failure: Some("b".into()),
            evidence: None,
            capture: None,
            line: 1,
        };
        let failed = FileReport { verdicts: vec![failed], ..FileReport::new("a.yaml", None, 1) };
        let broken = FileReport { status: 2, ..FileReport::new("b.yaml", None, 1) };
        assert_eq!(exit_status(&[broken, failed]), 1);
    }
}
