//! `rdom export [FILE] --format FORMAT`: the same network in other people's words. Touches nothing and tells no
//! secret, but for what --to writes.

use std::collections::BTreeMap;
use std::io;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::trouble::Trouble;
use super::{Common, Ended, Which, file, hostname_if};
use crate::convert::{self, KeyFiles};
use crate::model::{Bindings, Capabilities, SecretName};
use crate::plan::bind;
use crate::spec::Lowered;
use crate::state::{Missing, Roots, Store};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// In whose words
    #[arg(long, value_enum, default_value_t = Format::Sh)]
    format: Format,
    /// Write the files of hostname.if(5), with the keys in them, into this directory, and name those that are new
    #[arg(long, value_name = "DIRECTORY")]
    to: Option<PathBuf>,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A shell script of ip(8), wg(8) and sysctl(8)
    Sh,
    /// Files of wg-quick(8), one for each tunnel, each begun by a comment with its name
    WgQuick,
    /// Files of OpenBSD's hostname.if(5), one for each interface, each begun by a comment with its name
    #[value(name = "hostname.if")]
    HostnameIf,
}

/// What the kernel of a script is taken to have: nothing that a distribution's lacks, and no VRF unless asked for.
const USUAL: Capabilities = Capabilities { kernel_wireguard: true, ..Capabilities::PLAIN };

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut document = file::read(words.file.as_deref())?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    match (words.format, &words.to) {
        (Format::HostnameIf, None) => return hostname_if::print(&document),
        (Format::HostnameIf, Some(directory)) => return hostname_if::write(&document, directory),
        (Format::Sh | Format::WgQuick, Some(_)) => {
            return Err(Trouble::usage("--to is for --format hostname.if"));
        }
        (Format::Sh, None) => print!("{}", sh(&document.lowered)?),
        (Format::WgQuick, None) => print!("{}", wg_quick(&document.lowered)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn sh(lowered: &Lowered) -> Result<String, Trouble> {
    let (named, directory, stored) = secrets(lowered)?;
    let ports = Bindings { ports: stored.ports, ..Bindings::default() };
    let keys = KeyFiles { named: &named, directory: &directory };
    Ok(convert::script(&bind(&lowered.network, &ports, &USUAL), keys))
}

fn wg_quick(lowered: &Lowered) -> Result<String, Trouble> {
    let (named, directory, stored) = secrets(lowered)?;
    let bindings = Bindings { fingerprints: Default::default(), ..stored };
    let keys = KeyFiles { named: &named, directory: &directory };
    convert::configurations(&bind(&lowered.network, &bindings, &USUAL), keys)
        .map_err(|error| Trouble::Usage { help: Some(error.help()), message: error.to_string() })
}

/// The files of secrets that the file names, where the others are, and what is there.
fn secrets(lowered: &Lowered) -> Result<(BTreeMap<SecretName, PathBuf>, PathBuf, Bindings), Trouble> {
    let directories = Roots::of_environment().of(&lowered.network.name);
    let stored = Store::of(&directories).bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    Ok((anywhere(&lowered.secrets)?, directories.keys(), stored.map_err(Trouble::failed)?.bindings))
}

/// The files of secrets by names that hold wherever the words are used.
fn anywhere(files: &BTreeMap<SecretName, PathBuf>) -> Result<BTreeMap<SecretName, PathBuf>, Trouble> {
    let named = files.iter().map(|(name, path)| Ok((name.clone(), path::absolute(path)?)));
    named.collect::<io::Result<_>>().map_err(Trouble::failed)
}
