//! A command line, with names in it where secrets belong.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::backend::BackendError;
use crate::model::{Key, Preshared};
use crate::state::{KeyRing, Secret};

/// One run of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its words, the program's name first.
    pub words: Vec<Word>,
}

/// One word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// As it is.
    Text(String),
    /// The public key of this pair.
    PublicKey(Key),
    /// The private key of this pair: a secret.
    PrivateKey(Key),
    /// This preshared key: a secret.
    Preshared(Preshared),
}

impl Command {
    /// `ifconfig INTERFACE`.
    pub(super) fn ifconfig(interface: impl Into<String>) -> Self {
        Self { words: vec![Word::Text("ifconfig".to_owned()), Word::Text(interface.into())] }
    }

    /// `route -T N -n`.
    pub(super) fn route(rtable: u32) -> Self {
        Self { words: vec![Word::Text("route".to_owned())] }.with(format_args!("-T{rtable}")).with("-n")
    }

    /// The same, run in an rtable.
    pub(super) fn in_rtable(self, rtable: u32) -> Self {
        let route = Self { words: vec![Word::Text("route".to_owned())] };
        let mut outer = route.with(format_args!("-T{rtable}")).with("exec");
        outer.words.extend(self.words);
        outer
    }

    /// The same with a further word.
    pub(super) fn with(mut self, word: impl fmt::Display) -> Self {
        self.words.push(Word::Text(word.to_string()));
        self
    }

    /// The same with a word that stands for a key.
    pub(super) fn with_key(mut self, word: Word) -> Self {
        self.words.push(word);
        self
    }

    /// Its words with the secrets in their places: on OpenBSD everybody can see those with ps(1) while it runs.
    pub(super) fn resolved(&self, keys: &KeyRing) -> Result<Vec<String>, BackendError> {
        let base64 = |secret: &Secret| STANDARD.encode(secret.bytes());
        let missing = |word: &Word| BackendError::new(format!("there is no {word}"));
        let resolve = |word: &Word| match word {
            Word::Text(text) => Some(text.clone()),
            Word::PublicKey(Key::Public(key)) => Some(key.to_string()),
            Word::PrivateKey(Key::Public(key)) => keys.private(key).map(base64),
            Word::Preshared(Preshared::Known(fingerprint)) => keys.preshared(fingerprint).map(base64),
            Word::PublicKey(Key::Of(_))
            | Word::PrivateKey(Key::Of(_))
            | Word::Preshared(Preshared::Of(_)) => None,
        };
        self.words.iter().map(|word| resolve(word).ok_or_else(|| missing(word))).collect()
    }
}

/// For people: secrets by their names.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.words.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { " " })?;
            word.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Text(text) => f.write_str(text),
            Word::PublicKey(key) => key.fmt(f),
            Word::PrivateKey(key) => write!(f, "(private key of {key})"),
            Word::Preshared(preshared) => write!(f, "({preshared})"),
        }
    }
}
