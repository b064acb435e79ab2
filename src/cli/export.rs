//! `rdom export [FILE] --format FORMAT`: the same network in other people's words. Touches nothing and tells no
//! secret, but for what --to writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{self, Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use zeroize::Zeroizing;

use super::new_files::put_new;
use super::say::answer;
use super::trouble::Trouble;
use super::{Common, Ended, Which, file, hostname_if, unused};
use crate::convert::{self, KeyFiles, Secrets, Unwritable};
use crate::model::{Bindings, Capabilities, End, SecretName};
use crate::plan::bind;
use crate::spec::Lowered;
use crate::state::{Missing, Roots, Store, Stored};

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// In whose words
    #[arg(long, value_enum, default_value_t = Format::Sh)]
    format: Format,
    /// Write the files of hostname.if(5) or wg-quick(8), with the keys in them, into this directory, and name those that
    /// are new
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

/// Without which wg-quick(8) warns.
const WG_QUICK_MODE: u32 = 0o600;

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
        (Format::Sh, Some(_)) => return Err(Trouble::usage("--to is for --format hostname.if and wg-quick")),
        (Format::WgQuick, Some(directory)) => write_wg_quick(&document.lowered, directory)?,
        (Format::Sh, None) => answer(sh(&document.lowered)?)?,
        (Format::WgQuick, None) => answer(wg_quick(&document.lowered)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn sh(lowered: &Lowered) -> Result<String, Trouble> {
    let (named, directory, stored) = secrets(lowered)?;
    let ports = Bindings { ports: stored.ports, ..Bindings::default() };
    let keys = KeyFiles { named: &named, directory: &directory };
    Ok(convert::script(&bind(&lowered.network, &ports, &USUAL), keys))
}

/// The files of all tunnels, one after the other, each begun by a comment with its place.
fn wg_quick(lowered: &Lowered) -> Result<String, Trouble> {
    let (named, directory, stored) = secrets(lowered)?;
    let bindings = Bindings { fingerprints: Default::default(), ..stored };
    let network = bind(&lowered.network, &bindings, &USUAL);
    let keys = Secrets::InFiles(KeyFiles { named: &named, directory: &directory });
    let written = convert::configurations(&network, keys).map_err(unwritable)?;
    let headed = written
        .into_iter()
        .map(|(at, text)| format!("# {at} of network {}: {}.conf\n{}", network.name, at.interface, *text));
    Ok(headed.collect::<Vec<_>>().join("\n"))
}

/// Each tunnel in a file of its name; in a directory of its domain's where several have one name.
fn write_wg_quick(lowered: &Lowered, directory: &Path) -> Result<(), Trouble> {
    let store = Store::of(&Roots::of_environment().of(&lowered.network.name));
    let stored = store.bindings(&lowered.network, &lowered.secrets, Missing::Generate);
    let Stored { bindings, keys, .. } = stored.map_err(Trouble::failed)?;
    let told = |name: &SecretName| {
        let secret = match name {
            SecretName::PrivateKey(at) => bindings.public_keys.get(at).and_then(|key| keys.private(key)),
            SecretName::PresharedKey(..) => {
                bindings.fingerprints.get(name).and_then(|known| keys.preshared(known))
            }
        };
        secret.map(|secret| Zeroizing::new(STANDARD.encode(secret.bytes())))
    };
    let open = Bindings { fingerprints: BTreeMap::new(), ..bindings.clone() };
    let network = bind(&lowered.network, &open, &USUAL);
    let written = convert::configurations(&network, Secrets::Told(&told)).map_err(unwritable)?;
    let names: BTreeSet<_> = written.iter().map(|(at, _)| &at.interface).collect();
    let is_flat = names.len() == written.len();
    let path = |at: &End| match network.domains.get(&at.domain).filter(|_| !is_flat) {
        Some(domain) => directory.join(domain.name.as_str()).join(format!("{}.conf", at.interface)),
        None => directory.join(format!("{}.conf", at.interface)),
    };
    let files = written.iter().map(|(at, text)| (path(at), text.clone())).collect();
    put_new(&files, WG_QUICK_MODE)
}

fn unwritable(error: Unwritable) -> Trouble {
    Trouble::Usage { help: Some(error.help()), message: error.to_string() }
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
