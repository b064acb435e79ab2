//! A copy's side: brings the file's network up, runs its tests and tells what came of each, a line of JSON at a time.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

use serde::{Deserialize, Serialize};

use super::{Words, is_chosen, listed};
use crate::backend::BackendError;
use crate::backend::linux::{Namespace, Survey};
use crate::cli::file;
use crate::cli::live::Live;
use crate::cli::run::private_copy;
use crate::cli::say::say;
use crate::cli::trouble::Trouble;
use crate::cli::{Common, Ended};
use crate::model::{DomainId, InterfaceName};
use crate::spec::Test;
use crate::status::SocketTable;
use crate::suite::{self, Ground, Verdict};

/// What a copy says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// What came of a test.
    Verdict(Verdict),
    /// That it stays until it is ended, and where packets of its links are.
    Kept { captures: Vec<PathBuf> },
}

pub(super) fn run(path: &Path, words: &Words, common: &Common) -> Ended {
    let document = file::read(Some(path))?;
    let tests = document.lowered.tests.clone();
    let chosen = listed(&document.source.file, &document.lowered, &[]);
    let chosen = chosen.iter().map(|test| is_chosen(&test.text(), &words.filter));
    let tests: Vec<_> = tests.into_iter().enumerate().zip(chosen).filter(|(_, chosen)| *chosen).collect();
    let tests: Vec<_> = tests.into_iter().map(|(test, _)| test).collect();
    let judge = || judge(&tests, words, common).map_or_else(Trouble::tell, |()| 0);
    let status = private_copy(&document, Trouble::tell, judge)?;
    Ok(ExitCode::from(status))
}

fn judge(tests: &[(usize, Test)], words: &Words, common: &Common) -> Result<(), Trouble> {
    let ground = LiveGround::of(Live::find(common)?)?;
    let mut failed = false;
    for (number, test) in tests {
        let verdict = suite::run(*number, test, &ground);
        failed |= !verdict.passed();
        tell(&Said::Verdict(verdict))?;
    }
    if failed && words.keep_on_fail {
        tell(&Said::Kept { captures: Vec::new() })?;
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

/// The domains of a live network.
struct LiveGround {
    live: Live,
    survey: Survey,
}

impl LiveGround {
    fn of(live: Live) -> Result<Self, Trouble> {
        let survey = live.survey()?;
        Ok(Self { live, survey })
    }
}

impl Ground for LiveGround {
    fn namespace(&self, domain: DomainId) -> Option<&Namespace> {
        self.survey.namespaces().domain(domain).map(|place| &place.namespace)
    }

    fn device(&self, domain: DomainId) -> Option<InterfaceName> {
        let place = self.survey.namespaces().domain(domain)?;
        (!place.record.isolation.has_namespace()).then(|| InterfaceName::of_vrf(domain))
    }

    fn sockets(&self, domain: DomainId) -> Result<SocketTable, BackendError> {
        self.survey.socket_table(domain)
    }

    fn command(&self, domain: DomainId, words: &[String]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["exec", "-n", self.live.name.as_str(), "-T", &domain.to_string(), "--"]).args(words);
        command
    }
}
