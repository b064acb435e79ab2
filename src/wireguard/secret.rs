//! 32 secret bytes of the engine: wiped when dropped, never printed.

use std::fmt;

use zeroize::Zeroizing;

/// A private or a preshared key. All zeros means none, as in wg(8).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// No key.
    pub fn none() -> Self {
        Self(Zeroizing::new([0; 32]))
    }

    /// Takes the bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, or `None` if there is no key.
    pub fn bytes(&self) -> Option<&[u8; 32]> {
        (*self.0 != [0; 32]).then_some(&*self.0)
    }

    /// The bytes, zeros if there is no key.
    pub(super) fn bytes_or_zeros(&self) -> &[u8; 32] {
        &self.0
    }

    /// The same Curve25519 scalar in its canonical form (RFC 7748, section 5), as the kernel stores it.
    pub(super) fn clamped(mut self) -> Self {
        if self.bytes().is_some() {
            self.0[0] &= 248;
            self.0[31] = (self.0[31] & 127) | 64;
        }
        self
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
