//! A copy's side: brings the file's network up, runs its tests and tells what came of each, a line of JSON at a time.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Listed, Words};
use crate::backend::linux::Survey;
use crate::cli::Ended;
use crate::cli::file::{self, Document};
use crate::cli::linux::live::Live;
use crate::cli::linux::run::private_copy;
use crate::cli::say::say;
use crate::cli::trouble::Trouble;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, chain};
use crate::exec;
use crate::lab::Stage;
use crate::model::{DomainId, Drift, Network};
use crate::probe::{self, Unsupported};
use crate::spec::{Act, Action, Assertion, Test, Turn};
use crate::suite::{self, Ground, Verdict};

/// The exit status that says that this system lacks something.
const UNSUPPORTED: u8 = 4;
/// That of a program that is not there.
const NOT_FOUND: u8 = 127;

/// What a copy says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// What came of a test.
    Verdict(Verdict),
    /// That it stays until it is ended.
    Kept,
}

pub(super) fn run(path: &Path, words: &Words) -> Ended {
    let mut document = file::read(Some(path))?;
    if !document.lowered.steps.is_empty() {
        // What a step does is no drift.
        document.lowered.drift = Drift::Off;
    }
    require_programs(&document, words)?;
    let judge = |network: &Network| judge(&document, network, words).map_or_else(Trouble::tell, |()| 0);
    let status = private_copy(document.clone(), words.substitution, Trouble::tell, judge)?;
    Ok(ExitCode::from(status))
}

/// The programs of tests: one that lacks its program has not failed.
fn require_programs(document: &Document, words: &Words) -> Result<(), Trouble> {
    let chosen = document.lowered.all_tests().filter(|test| is_chosen(test, document, words));
    none_of(chosen.filter_map(|test| Some((lack_of_program(test)?, test.place))), document)
}

/// What steps need of the kernel. To be called in the copy, for outside not everybody may try it.
fn require_steps(document: &Document) -> Result<(), Trouble> {
    none_of(document.lowered.steps.iter().filter_map(lack_of_step), document)
}

/// What this system lacks, each told at its place.
fn none_of(lacks: impl Iterator<Item = (Unsupported, Place)>, document: &Document) -> Result<(), Trouble> {
    let told = lacks.map(|(lack, place)| Diagnostic::error(place, lack.missing).help(lack.remedy));
    let told = Diagnostics::new(&document.source.file, &document.source.text, told.collect());
    if told.is_empty() { Ok(()) } else { Err(Trouble::Diagnostics(Box::new(told), UNSUPPORTED)) }
}

fn lack_of_program(test: &Test) -> Option<Unsupported> {
    // That it is not there may be what the test says.
    let Assertion::Exec { command, status, .. } = &test.assertion else { return None };
    exec::is_here(command.first()?, None).err().filter(|_| *status != NOT_FOUND)
}

fn lack_of_step(turn: &Turn) -> Option<(Unsupported, Place)> {
    match turn {
        Turn::Act(Act { action: Action::Set { impairment, .. }, place, .. }) => {
            Some((probe::impairable(impairment).err()?, *place))
        }
        Turn::Act(_) | Turn::Test(_) => None,
    }
}

fn is_chosen(test: &Test, document: &Document, words: &Words) -> bool {
    super::is_chosen(&Listed::of(&document.source.file, test).text(), &words.filter)
}

fn judge(document: &Document, network: &Network, words: &Words) -> Result<(), Trouble> {
    require_steps(document)?;
    let live = Live::named(network.name.clone());
    let stage = Stage::new(document, network, &live.directories).map_err(Trouble::failed)?;
    let name = live.name.clone();
    let enter = move |domain: DomainId, words: &[String]| {
        let mut command = Command::new("/proc/self/exe");
        command.args(["exec", "-n", name.as_str(), "-T", &domain.to_string(), "--"]).args(words);
        command
    };
    let (stage, directories) = (Arc::new(stage), live.directories.clone());
    let looked_at = Arc::clone(&stage);
    let perform = move |action: &Action| {
        stage.perform(action)?;
        let Action::Apply(_) = action else { return Ok(None) };
        let survey = Survey::of(&directories).map_err(|error| chain(&error))?;
        Ok(Some((survey, stage.desired())))
    };
    let services = move || looked_at.services();
    let survey = live.survey()?;
    let ground = Ground::new(survey, network.clone(), Box::new(enter), Box::new(perform), Box::new(services));
    let mut ground = match &words.captures {
        Some(directory) => ground.recorded(directory).map_err(Trouble::failed)?,
        None => ground,
    };
    let is_chosen = |test: &Test| is_chosen(test, document, words);
    let mut failed = false;
    let mut told = Ok(());
    suite::carry_out(&document.lowered, is_chosen, &mut ground, |verdict| {
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
