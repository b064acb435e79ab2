//! Keys as a network may know them: public ones as they are, secret ones by name or fingerprint only.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::name::End;

/// Why a text is no key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseKeyError {
    /// Not base64 as wg(8) writes it.
    #[error("not base64")]
    NotBase64,
    /// Base64, but not of 32 bytes.
    #[error("{0} bytes, a key has 32")]
    Length(usize),
}

/// A Curve25519 public key: 32 bytes, written as 44 characters of base64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl FromStr for PublicKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let bytes = STANDARD.decode(text).map_err(|_| ParseKeyError::NotBase64)?;
        let length = bytes.len();
        bytes.try_into().map(Self).map_err(|_| ParseKeyError::Length(length))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key pair of an interface or a peer, by its public half.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// That of an interface of the same file, which state has or will make; gone once bound.
    Of(End),
    /// That with this public key.
    Public(PublicKey),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Of(end) => write!(f, "<to be made for {end}>"),
            Key::Public(key) => key.fmt(f),
        }
    }
}

/// Names a 32-byte preshared key without telling it: the first 8 bytes of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names a secret that the file refers to and state holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretName {
    /// The private key of an interface.
    PrivateKey(End),
    /// The preshared key of an interface and the peer that the file calls so.
    PresharedKey(End, String),
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretName::PrivateKey(end) => write!(f, "private key of {end}"),
            SecretName::PresharedKey(end, peer) => write!(f, "preshared key of {end} and {peer}"),
        }
    }
}

/// The preshared key of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preshared {
    /// The one that state has under this name; gone once bound.
    Of(SecretName),
    /// The one with this fingerprint.
    Known(Fingerprint),
}

impl fmt::Display for Preshared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Preshared::Of(name) => name.fmt(f),
            Preshared::Known(fingerprint) => write!(f, "preshared key {fingerprint}"),
        }
    }
}
