//! A command line, with names in it where secrets belong.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::siocswg;
use crate::backend::BackendError;
use crate::model::{Key, Preshared, PublicKey};
use crate::state::{KeyRing, Secret};

/// One run of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its words, the program's name first.
    pub words: Vec<Word>,
}

/// How a kernel is given secrets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretsBy {
    /// By a request of our own, which nobody else sees.
    #[default]
    Request,
    /// On the command line of ifconfig(8), which everybody sees while it runs.
    CommandLine,
}

/// What a command comes to.
pub(super) enum Part {
    /// A run of a tool with these words.
    Run(Vec<String>),
    /// What the tunnel of this name is asked to take.
    Set(String, Zeroizing<Vec<u8>>),
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

    /// What it comes to, in order: a preshared key goes before the run that makes its peer, so that no handshake is
    /// without it, a private key after the run that makes its tunnel.
    pub(super) fn parts(&self, keys: &KeyRing, way: SecretsBy) -> Result<Vec<Part>, BackendError> {
        let whole = self.resolved(keys)?;
        let words = match way {
            SecretsBy::CommandLine => return Ok(vec![Part::Run(whole)]),
            SecretsBy::Request => self.without_secrets(&whole),
        };
        let mut parts = Vec::new();
        // `ifconfig wg1` alone would only show it.
        if words.len() > 2 {
            parts.push(Part::Run(words));
        }
        for word in &self.words {
            let interface = || self.interface().ok_or_else(|| missing(word));
            match word {
                Word::PrivateKey(Key::Public(key)) => {
                    let bytes = keys.private(key).map(siocswg::private_key);
                    parts.push(Part::Set(interface()?, bytes.ok_or_else(|| missing(word))?));
                }
                Word::Preshared(Preshared::Known(known)) => {
                    let peer = self.peer().ok_or_else(|| missing(word))?;
                    let bytes = keys.preshared(known).map(|key| siocswg::preshared_key(&peer, key));
                    parts.insert(0, Part::Set(interface()?, bytes.ok_or_else(|| missing(word))?));
                }
                Word::Text(_) | Word::PublicKey(_) | Word::PrivateKey(_) | Word::Preshared(_) => {}
            }
        }
        Ok(parts)
    }

    /// Without secrets, and without the words that say what they are.
    fn without_secrets(&self, whole: &[String]) -> Vec<String> {
        let secret = |at: usize| matches!(self.words.get(at), Some(Word::PrivateKey(_) | Word::Preshared(_)));
        let kept = whole.iter().enumerate().filter(|(at, _)| !secret(*at) && !secret(at + 1));
        kept.map(|(_, word)| word.clone()).collect()
    }

    /// Whose settings these are: `ifconfig IF ..`, maybe after `route -T3 exec`.
    pub(super) fn interface(&self) -> Option<String> {
        let at = self.words.iter().position(|word| *word == Word::Text("ifconfig".to_owned()))?;
        match self.words.get(at + 1)? {
            Word::Text(name) => Some(name.clone()),
            Word::PublicKey(_) | Word::PrivateKey(_) | Word::Preshared(_) => None,
        }
    }

    fn peer(&self) -> Option<PublicKey> {
        self.words.iter().find_map(|word| match word {
            Word::PublicKey(Key::Public(key)) => Some(*key),
            Word::PublicKey(Key::Of(_)) | Word::Text(_) | Word::PrivateKey(_) | Word::Preshared(_) => None,
        })
    }

    /// Its words with the secrets in their places: on OpenBSD everybody can see those with ps(1) while it runs.
    fn resolved(&self, keys: &KeyRing) -> Result<Vec<String>, BackendError> {
        let base64 = |secret: &Secret| STANDARD.encode(secret.bytes());
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

fn missing(word: &Word) -> BackendError {
    BackendError::new(format!("there is no {word}"))
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
