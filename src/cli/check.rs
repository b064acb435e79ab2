//! `rdom check [FILE]`: every diagnostic, and nothing of the system touched.
//!
//! With --backend also what a system cannot do of it: exit status 4 if that is an error, 0 if it is left to do by hand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::portability::System;
use super::say::{answer, complain, count};
use super::trouble::paint;
use super::{Common, Ended, accounts, file, print_json, unused};
use crate::diagnostic::Diagnostics;
use crate::spec;

#[derive(Debug, Args)]
#[command(arg = unused("network"))]
pub(super) struct Words {
    /// Say what this system, or each of `all`, cannot do of it, and end with 4 if that is an error, not a warning; what
    /// this very Linux lacks, `rdom doctor` says
    #[arg(long, value_enum, value_name = "SYSTEM")]
    backend: Option<Backends>,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backends {
    All,
    Linux,
    Openbsd,
}

impl Backends {
    fn systems(self) -> &'static [System] {
        match self {
            Backends::All => &System::ALL,
            Backends::Linux => &[System::Linux],
            Backends::Openbsd => &[System::Openbsd],
        }
    }
}

/// What a system with these limits can do.
fn ability(limits: &Diagnostics) -> String {
    let errors = limits.errors();
    match (errors, limits.iter().count() - errors) {
        (0, 0) => "can do all of it".to_owned(),
        (0, warnings) => format!("can do all but {}: see the warnings", count(warnings, "thing")),
        (errors, _) => format!("cannot do {}", count(errors, "thing")),
    }
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let source = file::open(words.file.as_deref())?;
    let mut limited = false;
    let (diagnostics, summary) = match spec::read(&source) {
        Ok(lowered) => {
            let network = &lowered.network;
            let domains = network.domains.keys().filter(|id| !id.is_default()).count();
            let seen = [
                (domains, "domain"),
                (network.tunnels().count(), "tunnel"),
                (lowered.all_tests().count(), "test"),
            ];
            let seen = seen.map(|(number, of_what)| count(number, of_what)).join(", ");
            let mut summary = format!("{}: {seen}", source.file);
            let unknown = accounts::unknown(&lowered, &source);
            let mut diagnostics = lowered.warnings.clone().and(unknown).and(lowered.notes.clone());
            for &system in words.backend.map_or(&[][..], Backends::systems) {
                let limits = system.limits(&source, &lowered);
                limited |= limits.errors() > 0;
                summary += &format!("\n{}: {}", system.name(), ability(&limits));
                diagnostics = diagnostics.and(limits);
            }
            (diagnostics, summary)
        }
        Err(diagnostics) => {
            let summary = format!("{}: {}", source.file, count(diagnostics.errors(), "error"));
            (diagnostics, summary)
        }
    };
    if common.json {
        print_json(&diagnostics)?;
    } else {
        if !diagnostics.is_empty() {
            complain(diagnostics.render(paint()));
        }
        answer(format_args!("{summary}\n"))?;
    }
    let status = match diagnostics.errors() {
        0 => 0,
        _ if limited => 4,
        _ => 2,
    };
    Ok(ExitCode::from(status))
}
