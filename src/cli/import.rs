//! `rdom import FILE...`: other people's files as one `domains.yaml`, on standard output.
//!
//! The keys that they hold are put into files of their own, which the new file names. Everything is read before
//! anything is written.

#[cfg(target_os = "linux")]
mod live;
mod openbsd;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::say::{answer, complain};
use super::trouble::{Trouble, paint};
use super::{Common, Ended, file, unused};
use crate::convert::openbsd::import;
use crate::convert::{self, SecretFile};
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::model::{DomainId, Network, NetworkName, SecretName};
use crate::spec::{self, Source};
use crate::state::put_secret;

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    /// Files of wg-quick(8): each becomes a domain that is called like it, with the tunnel in it; or of OpenBSD one
    /// shell script of ifconfig(8) and route(8), as wg(4) has one, files of hostname.if(5), or a directory: with those,
    /// or with what the tools printed, as `rdom plan --observed` takes it
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// No file, but what stands in the named namespaces of this host now, whoever made it
    #[cfg(target_os = "linux")]
    #[arg(long, conflicts_with_all = ["files", "rdomain"])]
    live: bool,
    /// The number of the first domain; the others follow it
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    rdomain: DomainId,
    /// Where the keys go, a file each that only its owner can read
    #[arg(long, value_name = "DIRECTORY", default_value = "keys")]
    keys: PathBuf,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    #[cfg(target_os = "linux")]
    if words.live {
        return live::run(&words.keys, common);
    }
    if words.files.is_empty() {
        return Err(Trouble::usage("no file named: see `rdom import --help`"));
    }
    let first = words.files.first().map(PathBuf::as_path).unwrap_or(Path::new("-"));
    let name = common.network.clone().unwrap_or_else(|| file::source(first, String::new()).network);
    if let Some(host) = openbsd::host(&words.files)? {
        return openbsd::settled(host, name, &words.keys);
    }
    let mut network = Network::empty(name);
    if let [path] = words.files.as_slice() {
        let source = file::open(Some(path))?;
        if !is_wg_quick(&source.text) {
            return script(&source, network.name, &words.keys);
        }
    }
    let (mut secrets, mut named, mut id) = (Vec::new(), BTreeMap::new(), words.rdomain);
    for path in &words.files {
        let text = fs::read_to_string(path)
            .map_err(|error| Trouble::usage(format!("cannot read {}: {error}", path.display())))?;
        let imported = convert::read_wg_quick(path, &text, id, &mut network)
            .map_err(|errors| Trouble::Diagnostics(Box::new(errors), 2))?;
        if !imported.warnings.is_empty() {
            complain(imported.warnings.render(paint()));
        }
        secrets.extend(imported.secrets);
        named.extend(imported.files);
        id = next(id, &network);
    }
    named.extend(put(secrets, &words.keys)?);
    answer(spec::write(&network, &named))?;
    Ok(ExitCode::SUCCESS)
}

/// Puts secrets into files of their own.
fn put(
    secrets: impl IntoIterator<Item = (SecretName, SecretFile)>,
    directory: &Path,
) -> Result<BTreeMap<SecretName, PathBuf>, Trouble> {
    let mut files = BTreeMap::new();
    for (name, secret) in secrets {
        let path = directory.join(&secret.name);
        put_secret(&path, &secret.text).map_err(Trouble::failed)?;
        files.insert(name, path);
    }
    Ok(files)
}

/// What shows a file to be wg-quick's.
fn is_wg_quick(text: &str) -> bool {
    text.lines().any(|line| line.trim().eq_ignore_ascii_case("[interface]"))
}

/// A script as a file, with tests of the tunnels within it.
fn script(source: &Source, name: NetworkName, keys: &Path) -> Ended {
    let host = import::script(&source.text).map_err(|errors| {
        let told =
            errors.iter().map(|error| Diagnostic::error(line(&source.text, error.line), error.to_string()));
        Trouble::Diagnostics(Box::new(Diagnostics::new(&source.file, &source.text, told.collect())), 2)
    })?;
    let told = host
        .remarks
        .iter()
        .map(|remark| Diagnostic::warning(line(&source.text, remark.line), &remark.message));
    let warnings = Diagnostics::new(&source.file, &source.text, told.collect());
    if !warnings.is_empty() {
        complain(warnings.render(paint()));
    }
    openbsd::print(host.settle(name), keys)
}

/// A whole line of a text.
fn line(text: &str, number: usize) -> Place {
    let before: usize = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
    let line = text[before..].lines().next().unwrap_or_default();
    Place { start: before, end: before + line.len(), line: number, column: 1 }
}

/// The next number that a domain may have and none has.
fn next(id: DomainId, network: &Network) -> DomainId {
    let mut after = (id.number()..u32::MAX).filter_map(|number| DomainId::new(number + 1).ok());
    after.find(|id| !network.domains.contains_key(id)).unwrap_or(id)
}
