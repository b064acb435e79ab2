//! `rdom check [FILE]`: every diagnostic, and nothing of the system touched.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::say::{complain, count};
use super::trouble::{Trouble, paint};
use super::{Common, Ended, file};
use crate::spec;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let source = file::open(words.file.as_deref())?;
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
            (lowered.warnings.and(lowered.notes), format!("{}: {seen}", source.file))
        }
        Err(diagnostics) => {
            let summary = format!("{}: {}", source.file, count(diagnostics.errors(), "error"));
            (diagnostics, summary)
        }
    };
    if common.json {
        println!("{}", serde_json::to_string_pretty(&diagnostics).map_err(Trouble::failed)?);
    } else {
        if !diagnostics.is_empty() {
            complain(diagnostics.render(paint()));
        }
        println!("{summary}");
    }
    Ok(ExitCode::from(if diagnostics.errors() == 0 { 0 } else { 2 }))
}
