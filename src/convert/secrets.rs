//! Where the secrets of a network are, for words that name files and not what is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::model::{End, SecretName};

/// A text that is a secret, or has one in it.
pub type SecretText = Zeroizing<String>;

/// The files of a network's secrets.
#[derive(Clone, Copy, Debug)]
pub struct KeyFiles<'a> {
    /// Those that the network's file names.
    pub named: &'a BTreeMap<SecretName, PathBuf>,
    /// Where the others are, and are made: one file `DOMAIN-IF` each.
    pub directory: &'a Path,
}

impl KeyFiles<'_> {
    /// The file of an interface's private key.
    pub(super) fn private(&self, at: &End) -> PathBuf {
        let named = self.named.get(&SecretName::PrivateKey(at.clone()));
        named.cloned().unwrap_or_else(|| self.directory.join(format!("{}-{}", at.domain, at.interface)))
    }

    /// The file of a preshared key, which the network's file always names.
    pub(super) fn preshared(&self, name: &SecretName) -> Option<&PathBuf> {
        self.named.get(name)
    }
}
