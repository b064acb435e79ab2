//! What a network needs to know of state and system before it can be compared with a kernel.

use std::collections::BTreeMap;

use super::key::{Fingerprint, PublicKey, SecretName};
use super::name::End;

/// What state has for a network: the public half of its secrets, and its generated ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bindings {
    /// The public key of each tunnel.
    pub public_keys: BTreeMap<End, PublicKey>,
    /// The fingerprint of each preshared key that the file names.
    pub fingerprints: BTreeMap<SecretName, Fingerprint>,
    /// The port of each tunnel whose file says `auto`.
    pub ports: BTreeMap<End, u16>,
}

/// What this kernel, container and user may do, as far as a plan depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether the kernel has a WireGuard driver.
    pub kernel_wireguard: bool,
    /// Whether the kernel has VRF devices.
    pub vrf: bool,
    /// Whether a new namespace has IPv6: not without it in the kernel, nor where all are born with it switched off.
    pub ipv6: bool,
    /// Whether what is made in the default domain's namespace has IPv6.
    pub ipv6_at_home: bool,
}

impl Capabilities {
    /// What every kernel of a distribution has.
    pub const PLAIN: Self = Self { kernel_wireguard: false, vrf: false, ipv6: true, ipv6_at_home: true };
}
