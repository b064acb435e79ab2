//! A WireGuard interface and its peers, in the words of wg(8).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::key::{Key, Preshared};
use super::name::DomainId;
use super::prefix::Prefix;

/// What runs a WireGuard interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// Not chosen yet: the kernel's where it has one; gone once bound.
    Auto,
    /// The kernel's own driver.
    Kernel,
    /// The engine of this program, on a TUN device.
    Userspace,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Engine::Auto => "auto",
            Engine::Kernel => "kernel",
            Engine::Userspace => "userspace",
        })
    }
}

/// What makes an interface a WireGuard interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireGuard {
    /// What runs it.
    pub engine: Engine,
    /// The domain whose UDP sockets carry the encrypted packets.
    pub underlay: DomainId,
    /// The UDP port of both sockets; `None` is not chosen yet, and gone once bound.
    pub listen_port: Option<u16>,
    /// Its own key pair.
    pub key: Key,
    /// Its peers.
    pub peers: BTreeMap<Key, Peer>,
}

/// One peer of a WireGuard interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What the file calls it. For people: never compared, and unknown to a kernel.
    pub name: Option<String>,
    /// Where the file says that it is. Where it roamed to since is not part of the network.
    pub endpoint: Option<Endpoint>,
    /// The inner addresses that are its.
    pub allowed_ips: BTreeSet<Prefix>,
    /// The preshared key, if there is one.
    pub preshared_key: Option<Preshared>,
    /// Seconds between keepalives; 0 is off.
    pub persistent_keepalive_secs: u16,
}

/// Where a peer's UDP socket is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// An address, or a name to be resolved in the underlay.
    pub host: Host,
    /// The port; `None` is that of the peer's interface in the same file, and gone once bound.
    pub port: Option<u16>,
}

/// An address, or a name for some.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An address.
    Address(IpAddr),
    /// A name in the DNS or in hosts(5).
    Name(String),
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { host: Host::Address(address.ip()), port: Some(address.port()) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            Host::Name(name) => write!(f, "{name}")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}
