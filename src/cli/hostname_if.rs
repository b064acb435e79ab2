//! The files of hostname.if(5): shown with names in the place of secrets, or written as netstart(8) wants them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::Ended;
use super::file::Document;
use super::new_files::put_new;
use super::portability::System;
use super::say::{answer, complain};
use super::trouble::Trouble;
use crate::backend::openbsd::{Word, bound, hostname_if};
use crate::model::{Key, Network, Preshared};
use crate::state::{KeyRing, Missing, Roots, Store};

/// What netstart(8) sets other modes to: it is root's and wheel's alone.
const MODE: u32 = 0o640;

/// Prints them; tells no secret.
pub(super) fn print(document: &Document) -> Ended {
    System::Openbsd.require(document)?;
    answer(shown(&desired(document, Missing::LeaveOpen)?.0)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes them, with keys that are made if there are none yet. A file that is there already stays if it says the same,
/// and is in the way if not.
pub(super) fn write(document: &Document, directory: &Path) -> Ended {
    System::Openbsd.require(document)?;
    let (desired, keys) = desired(document, Missing::Generate)?;
    let files = hostname_if(&desired, &|word| with_secrets(word, &keys)).map_err(Trouble::failed)?;
    let files: BTreeMap<PathBuf, Zeroizing<String>> = files
        .into_iter()
        .map(|(interface, lines)| {
            let text = Zeroizing::new(lines.join("\n") + "\n");
            (directory.join(format!("hostname.{interface}")), text)
        })
        .collect();
    put_new(&files, MODE)?;
    if !geteuid().is_root() {
        complain("warning: netstart(8) wants these files to be root's: chown root:wheel hostname.*");
    }
    Ok(ExitCode::SUCCESS)
}

/// Their text, each begun by a comment with its name.
pub(super) fn shown(desired: &Network) -> Result<String, Trouble> {
    let files = hostname_if(desired, &without_secrets).map_err(Trouble::failed)?;
    let file = |(interface, lines): (String, Vec<String>)| {
        format!("# /etc/hostname.{interface}\n{}\n\n", lines.join("\n"))
    };
    Ok(files.into_iter().map(file).collect())
}

fn desired(document: &Document, missing: Missing) -> Result<(Network, KeyRing), Trouble> {
    let lowered = &document.lowered;
    let store = Store::of(&Roots::of_environment().of(&lowered.network.name));
    let stored = store.bindings(&lowered.network, &lowered.secrets, missing).map_err(Trouble::failed)?;
    Ok((bound(&lowered.network, &stored.bindings), stored.keys))
}

fn without_secrets(word: &Word) -> String {
    match word {
        Word::Text(text) => text.clone(),
        Word::PublicKey(Key::Public(key)) => key.to_string(),
        Word::PublicKey(Key::Of(end)) => format!("<public key of {end}>"),
        Word::PrivateKey(Key::Of(end)) => format!("<private key of {end}>"),
        Word::PrivateKey(Key::Public(key)) => format!("<private key of {key}>"),
        Word::Preshared(Preshared::Of(name)) => format!("<{name}>"),
        Word::Preshared(known @ Preshared::Known(_)) => format!("<{known}>"),
    }
}

fn with_secrets(word: &Word, keys: &KeyRing) -> String {
    let secret = match word {
        Word::PrivateKey(Key::Public(key)) => keys.private(key),
        Word::Preshared(Preshared::Known(known)) => keys.preshared(known),
        Word::Text(_) | Word::PublicKey(_) => None,
        Word::PrivateKey(Key::Of(_)) | Word::Preshared(Preshared::Of(_)) => None,
    };
    secret.map_or_else(|| without_secrets(word), |secret| STANDARD.encode(secret.bytes()))
}
