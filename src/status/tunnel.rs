//! The state of a WireGuard interface, as wg(4) and wg(8) tell it, whichever engine runs it.

use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text;
use crate::model::PublicKey;

/// A WireGuard interface as its engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunnelView {
    /// The number of the domain whose sockets carry its encrypted packets; 0 unless known to be another.
    pub underlay: u32,
    /// The UDP port of both sockets; 0 is none.
    pub listen_port: u16,
    /// Its own public key, if it has a key.
    #[serde(with = "text::option")]
    #[schemars(with = "Option<String>")]
    pub public_key: Option<PublicKey>,
    /// The mark of its encrypted packets; 0 is none.
    pub fwmark: u32,
    /// Its peers, in the engine's order.
    pub peers: Vec<PeerView>,
}

/// A peer of a WireGuard interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// What the file calls it; unknown to an engine.
    pub name: Option<String>,
    /// Its public key.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub public_key: PublicKey,
    /// Whether it has a preshared key.
    pub has_preshared_key: bool,
    /// Seconds between keepalives; 0 is off.
    pub persistent_keepalive_secs: u16,
    /// Where it is now.
    pub endpoint: Option<SocketAddr>,
    /// Where the file says that it is, if that is a name: `host:port`.
    pub endpoint_name: Option<String>,
    /// Encrypted bytes sent to it.
    pub tx_bytes: u64,
    /// Encrypted bytes received from it.
    pub rx_bytes: u64,
    /// Seconds since the last handshake, if there was one.
    pub last_handshake_secs_ago: Option<u64>,
    /// The inner addresses that are its.
    #[serde(with = "text::list")]
    #[schemars(with = "Vec<String>")]
    pub allowed_ips: Vec<IpNetwork>,
}

/// Whether a peer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It shook hands so lately that the session is good.
    Up,
    /// It did once; since then nothing was to be sent, or nobody answers.
    Stale,
    /// It never did.
    Never,
}

/// Seconds after a handshake for which its session is good: REJECT_AFTER_TIME of the WireGuard paper, section 6.1.
pub const REJECT_AFTER_SECS: u64 = 180;

impl PeerView {
    /// Whether it answers.
    pub fn health(&self) -> Health {
        match self.last_handshake_secs_ago {
            None => Health::Never,
            Some(0..=REJECT_AFTER_SECS) => Health::Up,
            Some(_) => Health::Stale,
        }
    }

    /// A peer of which only the key is known.
    pub fn new(public_key: PublicKey) -> Self {
        Self {
            name: None,
            public_key,
            has_preshared_key: false,
            persistent_keepalive_secs: 0,
            endpoint: None,
            endpoint_name: None,
            tx_bytes: 0,
            rx_bytes: 0,
            last_handshake_secs_ago: None,
            allowed_ips: Vec::new(),
        }
    }
}
