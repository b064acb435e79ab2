//! `rdom apply [FILE]`: a network that is up becomes what the file says, whole or not at all.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::host::all;
use super::say::{count, say};
use super::trouble::Trouble;
use super::up::prepared;
use super::{Common, Ended, Which, unused};
use crate::transaction::Signals;

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let (document, host) = prepared(words.file.as_ref(), common)?;
    let name = &host.name;
    if !all()?.contains(name) {
        let message = format!("network {name} is not up");
        return Err(Trouble::Usage { message, help: Some("rdom up -d FILE".into()) });
    }
    let signals = Signals::hold().map_err(Trouble::failed)?;
    let _lock = host.lock()?;
    match host.change_to(&document, &signals)? {
        0 => say(format_args!("network {name} is as the file says: nothing to do")),
        steps => say(format_args!("network {name} is as the file says: {}", count(steps, "step"))),
    }
    Ok(ExitCode::SUCCESS)
}
