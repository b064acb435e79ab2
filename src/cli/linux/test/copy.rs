//! A copy's side: brings the file's network up, runs its tests and tells what came of each, a line of JSON at a time.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Listed, Words, is_chosen};
use crate::cli::file::{self, Document};
use crate::cli::linux::live::Live;
use crate::cli::linux::run::private_copy;
use crate::cli::say::say;
use crate::cli::trouble::Trouble;
use crate::cli::{Common, Ended};
use crate::lab::Stage;
use crate::model::{DomainId, Drift, Network};
use crate::probe;
use crate::spec::{Act, Action, Test, Turn};
use crate::suite::{self, Ground, Verdict};

/// What a copy says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// What came of a test.
    Verdict(Verdict),
    /// That it stays until it is ended.
    Kept,
}

pub(super) fn run(path: &Path, words: &Words, common: &Common) -> Ended {
    let mut document = file::read(Some(path))?;
    if !document.lowered.steps.is_empty() {
        // What a step does is no drift.
        document.lowered.drift = Drift::Off;
    }
    for turn in &document.lowered.steps {
        if let Turn::Act(Act { action: Action::Set { impairment, .. }, .. }) = turn {
            probe::impairable(impairment)?;
        }
    }
    let judge =
        |network: &Network| judge(&document, network, words, common).map_or_else(Trouble::tell, |()| 0);
    let status = private_copy(document.clone(), words.substitution, Trouble::tell, judge)?;
    Ok(ExitCode::from(status))
}

fn judge(document: &Document, network: &Network, words: &Words, common: &Common) -> Result<(), Trouble> {
    let live = Live::find(common)?;
    let stage = Stage::new(document, network, &live.directories).map_err(Trouble::failed)?;
    let name = live.name.clone();
    let enter = move |domain: DomainId, words: &[String]| {
        let mut command = Command::new("/proc/self/exe");
        command.args(["exec", "-n", name.as_str(), "-T", &domain.to_string(), "--"]).args(words);
        command
    };
    let perform = move |action: &Action| stage.perform(action);
    let ground = Ground::new(live.survey()?, network.clone(), Box::new(enter), Box::new(perform));
    let ground = match &words.captures {
        Some(directory) => ground.recorded(directory).map_err(Trouble::failed)?,
        None => ground,
    };
    let is_chosen = |test: &Test| is_chosen(&Listed::of(&document.source.file, test).text(), &words.filter);
    let mut failed = false;
    let mut told = Ok(());
    suite::carry_out(&document.lowered, is_chosen, &ground, |verdict| {
        failed |= !verdict.passed();
        let said = tell(&Said::Verdict(verdict));
        if told.is_ok() {
            told = said;
        }
    });
    told?;
    drop(ground);
    if failed && words.keep_on_fail {
        tell(&Said::Kept)?;
        loop {
            thread::park();
        }
    }
    Ok(())
}

fn tell(said: &Said) -> Result<(), Trouble> {
    say(serde_json::to_string(said).map_err(Trouble::failed)?);
    Ok(())
}
