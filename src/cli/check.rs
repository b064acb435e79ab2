//! `rdom check [FILE]`: every diagnostic, and nothing of the system touched.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::trouble::{Trouble, paint};
use super::{Common, Ended, file};
use crate::spec;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The file
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let source = file::open(words.file.as_deref())?;
    let (diagnostics, summary) = match spec::read(&source) {
        Ok(lowered) => {
            let network = &lowered.network;
            let (domains, tunnels) = (network.domains.len(), network.tunnels().count());
            let summary = format!(
                "{}: {domains} domains, {tunnels} tunnels, {} tests",
                source.file,
                lowered.tests.len()
            );
            (lowered.warnings, summary)
        }
        Err(diagnostics) => {
            let summary = format!("{}: {} errors", source.file, diagnostics.errors());
            (diagnostics, summary)
        }
    };
    if common.json {
        println!("{}", serde_json::to_string_pretty(&diagnostics).map_err(Trouble::failed)?);
    } else {
        if !diagnostics.is_empty() {
            eprintln!("{}", diagnostics.render(paint()));
        }
        println!("{summary}");
    }
    Ok(ExitCode::from(if diagnostics.errors() == 0 { 0 } else { 2 }))
}
