//! `rdom import` of an OpenBSD machine: its files of hostname.if(5), or what its tools printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::say::{answer, complain};
use super::super::trouble::{Trouble, paint};
use super::super::{Ended, captured, file};
use super::{line, put};
use crate::convert::openbsd::import::{Host, Settled, printed};
use crate::convert::openbsd::script::NotUnderstood;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::model::NetworkName;
use crate::spec::{self, Source};

/// What the name of such a file begins with.
const HOSTNAME: &str = "hostname.";

/// A machine, and what is known of where its secrets are.
pub(super) enum Machine {
    /// Secrets are in its files.
    Told(Host),
    /// Secrets are in files that somebody has to make.
    Printed(Host),
}

/// The machine that these files are of; none if they are files of something else.
pub(super) fn host(paths: &[PathBuf]) -> Result<Option<Machine>, Trouble> {
    if let [directory] = paths
        && captured::is_in(directory)
    {
        let captured = captured::read(directory)?;
        let host = printed(&captured.ifconfig, &captured.routes);
        let bad = |error| Trouble::usage(format!("{}: {error}", directory.display()));
        return host.map(|host| Some(Machine::Printed(host))).map_err(bad);
    }
    let files = match paths {
        [directory] if directory.is_dir() => hostname_files(directory)?,
        files => files.to_vec(),
    };
    if !files.iter().all(|path| interface(path).is_some()) {
        return Ok(None);
    }
    let mut host = Host::default();
    let sources: Vec<Source> = files.iter().map(|path| file::open(Some(path))).collect::<Result<_, _>>()?;
    for (path, source) in files.iter().zip(&sources) {
        let left = host.hostname_if(&interface(path).unwrap_or_default(), &source.text);
        let told = Diagnostics::new(
            &source.file,
            &source.text,
            left.iter().map(|left| left_out(source, left)).collect(),
        );
        if !told.is_empty() {
            complain(told.render(paint()));
        }
    }
    Ok(Some(Machine::Told(host)))
}

fn left_out(source: &Source, left: &NotUnderstood) -> Diagnostic {
    Diagnostic::warning(line(&source.text, left.line), left.to_string()).label("left out")
}

/// The machine as a file, without what is no network's.
pub(super) fn settled(machine: Machine, name: NetworkName, keys: &Path) -> Ended {
    let (mut host, secrets_are_there) = match machine {
        Machine::Told(host) => (host, true),
        Machine::Printed(host) => (host, false),
    };
    let left = host.leave_machine();
    if !left.is_empty() {
        complain(format_args!("note: left to the machine itself: {}", left.join(", ")));
    }
    let name = host.marked().unwrap_or(name);
    let mut settled = host.settle(name);
    if !secrets_are_there {
        for (secret, path) in &mut settled.files {
            *path = keys.join(&path);
            complain(format_args!("warning: the {secret} is not printed: put it into {}", path.display()));
        }
    }
    print(settled, keys)
}

/// Prints what was read, with tests of the tunnels within it.
pub(super) fn print(settled: Settled, keys: &Path) -> Ended {
    settled.lost.iter().for_each(|lost| complain(format_args!("warning: {lost}")));
    let mut files = put(settled.secrets, keys)?;
    files.extend(settled.files);
    answer(spec::write(&settled.network, &files))?;
    for (number, (domain, address)) in settled.reaches.iter().enumerate() {
        answer(if number == 0 { "tests:\n" } else { "" })?;
        answer(format_args!("  - {{in: {domain}, ping: \"{address}\"}}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of a directory that are netstart(8)'s, in its order: copies and leavings of editors are not.
fn hostname_files(directory: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let unreadable = |error| Trouble::usage(format!("cannot read {}: {error}", directory.display()));
    let entries = fs::read_dir(directory).map_err(unreadable)?.flatten().map(|entry| entry.path());
    let files: BTreeSet<PathBuf> = entries.filter(|path| interface(path).is_some()).collect();
    if files.is_empty() {
        return Err(Trouble::Usage {
            message: format!("{}: neither hostname.IF nor ifconfig-A is there", directory.display()),
            help: Some("on the OpenBSD: scripts/openbsd-verify capture DIRECTORY".into()),
        });
    }
    Ok(files.into_iter().collect())
}

/// The interface that a file is of by its name: letters and then digits.
fn interface(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_prefix(HOSTNAME)?;
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain =
        !letters.is_empty() && letters.len() < name.len() && letters.chars().all(|c| c.is_ascii_alphabetic());
    plain.then(|| name.to_owned())
}
