//! `rdom import FILE...`: other people's files as one `domains.yaml`, on standard output.
//!
//! The keys that they hold are put into files of their own, which the new file names. Everything is read before
//! anything is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::say::complain;
use super::trouble::{Trouble, paint};
use super::{Common, Ended, file};
use crate::convert;
use crate::model::{DomainId, Network, SecretName};
use crate::spec;
use crate::state::put_secret;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// Files of wg-quick(8): each becomes a domain that is called like it, with the tunnel in it
    #[arg(required = true, value_name = "FILE.conf")]
    files: Vec<PathBuf>,
    /// The number of the first domain; the others follow it
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    rdomain: DomainId,
    /// Where the keys go, a file each that only its owner can read
    #[arg(long, value_name = "DIRECTORY", default_value = "keys")]
    keys: PathBuf,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let first = words.files.first().map(PathBuf::as_path).unwrap_or(Path::new("-"));
    let name = common.network.clone().unwrap_or_else(|| file::source(first, String::new()).network);
    let mut network = Network::empty(name);
    let (mut secrets, mut id) = (Vec::new(), words.rdomain);
    for path in &words.files {
        let text = fs::read_to_string(path)
            .map_err(|error| Trouble::usage(format!("cannot read {}: {error}", path.display())))?;
        let imported = convert::read_wg_quick(path, &text, id, &mut network)
            .map_err(|errors| Trouble::Diagnostics(Box::new(errors), 2))?;
        if !imported.warnings.is_empty() {
            complain(imported.warnings.render(paint()));
        }
        secrets.extend(imported.secrets);
        id = next(id, &network);
    }
    let mut files: BTreeMap<SecretName, PathBuf> = BTreeMap::new();
    for (name, secret) in secrets {
        let path = words.keys.join(&secret.name);
        put_secret(&path, &secret.text).map_err(Trouble::failed)?;
        files.insert(name, path);
    }
    print!("{}", spec::write(&network, &files));
    Ok(ExitCode::SUCCESS)
}

/// The next number that a domain may have and none has.
fn next(id: DomainId, network: &Network) -> DomainId {
    let mut after = (id.number()..u32::MAX).filter_map(|number| DomainId::new(number + 1).ok());
    after.find(|id| !network.domains.contains_key(id)).unwrap_or(id)
}
