//! `rdom export [FILE] --format FORMAT`: the same network in other people's words. Touches nothing, tells no secret.

use std::collections::BTreeMap;
use std::io;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::trouble::Trouble;
use super::{Common, Ended, Which, file};
use crate::convert::{self, KeyFiles};
use crate::model::{Bindings, Capabilities, SecretName};
use crate::plan::bind;
use crate::state::{Missing, Roots, Store};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// In whose words
    #[arg(long, value_enum, default_value_t = Format::Sh)]
    format: Format,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A shell script of ip(8), wg(8) and sysctl(8)
    Sh,
    /// Files of wg-quick(8), one for each tunnel, each begun by a comment with its name
    WgQuick,
}

/// What the kernel of a script is taken to have: nothing that a distribution's lacks, and no VRF unless asked for.
const USUAL: Capabilities = Capabilities { kernel_wireguard: true, vrf: false };

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut lowered = file::read(words.file.as_deref())?.lowered;
    if let Some(name) = &common.network {
        lowered.network.name = name.clone();
    }
    let network = &lowered.network;
    let directories = Roots::of_environment().of(&network.name);
    let stored = Store::of(&directories).bindings(network, &lowered.secrets, Missing::LeaveOpen);
    let stored = stored.map_err(Trouble::failed)?.bindings;
    let (named, directory) = (anywhere(&lowered.secrets)?, directories.keys());
    let keys = KeyFiles { named: &named, directory: &directory };
    let text = match words.format {
        Format::Sh => {
            let ports = Bindings { ports: stored.ports, ..Bindings::default() };
            convert::script(&bind(network, &ports, &USUAL), keys)
        }
        Format::WgQuick => {
            let bindings = Bindings { fingerprints: Default::default(), ..stored };
            let written = convert::configurations(&bind(network, &bindings, &USUAL), keys);
            written
                .map_err(|error| Trouble::Usage { help: Some(error.help()), message: error.to_string() })?
        }
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// The files of secrets by names that hold wherever the words are used.
fn anywhere(files: &BTreeMap<SecretName, PathBuf>) -> Result<BTreeMap<SecretName, PathBuf>, Trouble> {
    let named = files.iter().map(|(name, path)| Ok((name.clone(), path::absolute(path)?)));
    named.collect::<io::Result<_>>().map_err(Trouble::failed)
}
