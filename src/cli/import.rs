//! `rdom import FILE`: an OpenBSD's shell script as a `domains.yaml`, on standard output.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::say::complain;
use super::trouble::{Trouble, paint};
use super::{Ended, file};
use crate::convert::import;
use crate::convert::script::NotUnderstood;
use crate::convert::yaml::yaml;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::spec::Source;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// A shell script of ifconfig(8) and route(8), as wg(4) has one; `-` is standard input
    file: PathBuf,
}

pub(super) fn run(words: &Words) -> Ended {
    let source = file::open(Some(&words.file))?;
    let host = import::script(&source.text).map_err(|errors| {
        let list =
            errors.iter().map(|error| Diagnostic::error(place(&source.text, error.line), error.to_string()));
        Trouble::Diagnostics(Box::new(Diagnostics::new(&source.file, &source.text, list.collect())), 2)
    })?;
    say_remarks(&source, &host.remarks);
    let (text, by_hand) = yaml(&host, &source.file);
    by_hand.iter().for_each(|what| complain(format_args!("note: {what}")));
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

fn say_remarks(source: &Source, remarks: &[NotUnderstood]) {
    let list =
        remarks.iter().map(|remark| Diagnostic::warning(place(&source.text, remark.line), &remark.message));
    let diagnostics = Diagnostics::new(&source.file, &source.text, list.collect());
    if !diagnostics.is_empty() {
        complain(diagnostics.render(paint()));
    }
}

/// A whole line.
fn place(text: &str, number: usize) -> Place {
    let before: usize = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
    let line = text[before..].lines().next().unwrap_or_default();
    Place { start: before, end: before + line.len(), line: number, column: 1 }
}
