//! Secrets in memory: found by the names that a network and its steps use for them.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};
use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::model::{Fingerprint, PublicKey};

/// 32 secret bytes: wiped when dropped, never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes a private key of random bytes, clamped as Curve25519 has it (RFC 7748, 5).
    pub fn private(mut random: [u8; 32]) -> Self {
        random[0] &= 248;
        random[31] = (random[31] & 127) | 64;
        Self::new(random)
    }

    /// The bytes, for a cipher, a kernel or a file that only its owner can read.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public key, if this is a private one.
    pub fn public_key(&self) -> PublicKey {
        let private = StaticSecret::from(*self.0);
        PublicKey(x25519_dalek::PublicKey::from(&private).to_bytes())
    }

    /// What names it, if this is a preshared one.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(*self.0);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Fingerprint(first)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The secrets of one network.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    private: BTreeMap<PublicKey, Secret>,
    preshared: BTreeMap<Fingerprint, Secret>,
}

impl KeyRing {
    /// Adds a private key.
    pub fn add_private(&mut self, secret: Secret) {
        self.add_pair(secret.public_key(), secret);
    }

    /// Adds a private key with its public half, which takes a while to work out.
    pub(super) fn add_pair(&mut self, public: PublicKey, secret: Secret) {
        self.private.insert(public, secret);
    }

    /// The public halves by the private keys.
    pub(super) fn publics(&self) -> BTreeMap<&[u8; 32], PublicKey> {
        self.private.iter().map(|(public, secret)| (secret.bytes(), *public)).collect()
    }

    /// Adds a preshared key.
    pub fn add_preshared(&mut self, secret: Secret) {
        self.preshared.insert(secret.fingerprint(), secret);
    }

    /// Adds everything of another ring.
    pub fn add_all(&mut self, other: KeyRing) {
        self.private.extend(other.private);
        self.preshared.extend(other.preshared);
    }

    /// The private half of this key.
    pub fn private(&self, key: &PublicKey) -> Option<&Secret> {
        self.private.get(key)
    }

    /// The preshared key of this fingerprint.
    pub fn preshared(&self, fingerprint: &Fingerprint) -> Option<&Secret> {
        self.preshared.get(fingerprint)
    }
}
