//! `rdom import --live`: what stands in this host's named namespaces, whoever made it, as a file.
//!
//! It is looked at and not touched. What `rdom up` would make again has to go first: what stands is somebody else's.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::super::say::complain;
use super::super::trouble::Trouble;
use super::super::{Common, Ended};
use super::put;
use crate::backend::linux::found;
use crate::convert::SecretFile;
use crate::model::{End, NetworkName, SecretName};
use crate::probe;
use crate::spec;

pub(super) fn run(keys: &Path, common: &Common) -> Ended {
    probe::administration()?;
    let name = common.network.clone().map_or_else(|| NetworkName::new("domains"), Ok);
    let found = found(&name.map_err(Trouble::failed)?).map_err(Trouble::failed)?;
    found.left.iter().for_each(|left| complain(format_args!("warning: left out: {left}")));
    let secrets = found.secrets.iter().map(|(name, secret)| {
        let text = Zeroizing::new(STANDARD.encode(secret.bytes()));
        (name.clone(), SecretFile { name: file_of(name), text })
    });
    let files = put(secrets, keys)?;
    print!("{}", spec::write(&found.network, &files));
    Ok(ExitCode::SUCCESS)
}

fn file_of(secret: &SecretName) -> PathBuf {
    let place = |end: &End| format!("{}-{}", end.domain, end.interface);
    match secret {
        SecretName::PrivateKey(end) => format!("{}.key", place(end)).into(),
        SecretName::PresharedKey(end, peer) => format!("{}-{peer}.psk", place(end)).into(),
    }
}
