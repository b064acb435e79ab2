//! Interfaces and their addresses.

use std::collections::BTreeSet;
use std::fmt;

use super::name::{End, InterfaceName};
use super::wireguard::WireGuard;
use ipnetwork::IpNetwork;

/// An address of an interface: host address, length of the network on the link, and how it is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The host's address and the length of its network.
    pub network: IpNetwork,
    /// Whether IPv6 looks for another owner first (RFC 4862, 5.4); `false` for every IPv4 address.
    pub duplicate_detection: bool,
}

impl Address {
    /// An address that is usable at once.
    pub fn new(network: IpNetwork) -> Self {
        Self { network, duplicate_detection: false }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)
    }
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The loopback, which every domain is born with.
    Loopback,
    /// One end of a link; the other end says the same of this one.
    Veth {
        /// The other end.
        peer: End,
    },
    /// A software switch; its ports name it.
    Bridge,
    /// A tunnel.
    WireGuard(WireGuard),
    /// Somebody else's: it must exist, and is neither made nor removed.
    Existing,
}

impl Kind {
    /// The word for it, as ip-link(8) has it.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Loopback => "loopback",
            Kind::Veth { .. } => "veth",
            Kind::Bridge => "bridge",
            Kind::WireGuard(_) => "wireguard",
            Kind::Existing => "existing",
        }
    }

    /// Bytes of the largest packet where nobody says otherwise; a bridge takes the least of its ports'.
    pub fn default_mtu(&self) -> Option<u32> {
        match self {
            Kind::Loopback => Some(65536),
            Kind::Veth { .. } => Some(1500),
            Kind::WireGuard(_) => Some(1420),
            Kind::Bridge | Kind::Existing => None,
        }
    }
}

/// An interface of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is.
    pub kind: Kind,
    /// Its addresses. Those that nobody asked this program for are not among them.
    pub addresses: BTreeSet<Address>,
    /// Bytes of the largest packet; in a desired network `None` leaves what the kind has.
    pub mtu: Option<u32>,
    /// Whether it is administratively up.
    pub up: bool,
    /// The bridge that it is a port of.
    pub bridge: Option<InterfaceName>,
}

impl Interface {
    /// An interface of this kind, up, with nothing on it.
    pub fn new(kind: Kind) -> Self {
        Self { kind, addresses: BTreeSet::new(), mtu: None, up: true, bridge: None }
    }

    /// The tunnel that it is, if it is one.
    pub fn wireguard(&self) -> Option<&WireGuard> {
        match &self.kind {
            Kind::WireGuard(wireguard) => Some(wireguard),
            Kind::Loopback | Kind::Veth { .. } | Kind::Bridge | Kind::Existing => None,
        }
    }
}
