//! `rdom up [FILE]`: until Ctrl-C; with -d it returns once everything is up and verified.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::file::{self, Document};
use super::host::{Host, administration};
use super::portability::System;
use super::say::{count, say};
use super::trouble::Trouble;
use super::{Common, Ended, Which, unused};
use crate::transaction::Signals;

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
    /// Return once everything is up and verified; `rdom down` ends it
    #[arg(short, long)]
    detach: bool,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let (document, host) = prepared(words.file.as_ref(), common)?;
    let name = &host.name;
    let signals = Signals::hold().map_err(Trouble::failed)?;
    let lock = host.lock()?;
    let steps = count(host.change_to(&document, &signals)?, "step");
    if words.detach {
        say(format_args!("network {name} is up ({steps}): rdom down -n {name} takes it down"));
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("network {name} is up ({steps}): Ctrl-C takes it down"));
    signals.wait().map_err(Trouble::failed)?;
    host.clear()?;
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// The file, if OpenBSD can do all of it, and its network here.
pub(super) fn prepared(named: Option<&PathBuf>, common: &Common) -> Result<(Document, Host), Trouble> {
    let mut document = file::open_own(named.map(PathBuf::as_path)).and_then(file::understood)?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    System::Openbsd.require(&document)?;
    let host = Host::of(&document.lowered.network.name)?;
    administration()?;
    Ok((document, host))
}
