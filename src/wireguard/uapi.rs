//! The cross-platform configuration protocol, as text: what `wg` says to a userspace engine and what it is answered.
//!
//! Mirrors <https://www.wireguard.com/xplatform/#configuration-protocol> as wireguard-go speaks it: a request is an
//! operation and lines of `key=value` up to an empty line, an answer ends with `errno=N` (negative, as `wg` negates
//! it for its message) and an empty line. Settings take effect line by line: those before a refused one stay.

use std::fmt::{Display, Write};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use ipnetwork::IpNetwork;
use thiserror::Error;
use zeroize::Zeroizing;

use super::core::Core;
use super::peer::Peer;
use super::secret::Secret;
use crate::model::{Prefix, PublicKey};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Tell the configuration, counters and keys.
    Get,
    /// Change what the lines say.
    Set,
}

/// One line of a `set` request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Open the sockets on this port; 0 is any.
    ListenPort(u16),
    /// Mark outgoing datagrams (socket(7), SO_MARK); 0 is none.
    Fwmark(u32),
    /// What concerns the core alone.
    Setting(Setting),
}

/// A change of the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The interface's own key, or none.
    PrivateKey(Secret),
    /// Remove all peers.
    ReplacePeers,
    /// What follows is about this peer; it is created if it does not exist.
    Peer(PublicKey),
    /// But not if it does not exist.
    UpdateOnly,
    /// Remove the peer.
    Remove,
    /// A setting of the peer.
    PeerSetting(PeerSetting),
}

/// A setting of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerSetting {
    /// The preshared key, or none.
    PresharedKey(Secret),
    /// Where it is, until it roams.
    Endpoint(SocketAddr),
    /// Seconds between keepalives; 0 is off.
    KeepaliveSecs(u16),
    /// Take all allowed IPs from it.
    ReplaceAllowedIps,
    /// Give it a prefix.
    AllowedIp(Prefix),
    /// Take a prefix from it.
    NoAllowedIp(Prefix),
}

/// Why a request is refused.
#[derive(Debug, Error)]
pub enum Refusal {
    /// Not of the form `key=value`.
    #[error("a line is not `key=value`")]
    Protocol,
    /// No such key, or not there; or the value is none of its values. The value may be a secret.
    #[error("key `{0}` is unknown, misplaced or has a bad value")]
    Invalid(String),
    /// Neither `get=1` nor `set=1`.
    #[error("unknown operation")]
    Operation,
    /// The sockets could not be opened or changed.
    #[error("cannot change the sockets")]
    Socket(#[source] std::io::Error),
}

impl Refusal {
    /// The number after `errno=`.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Protocol => -libc::EPROTO,
            Self::Invalid(_) | Self::Operation => -libc::EINVAL,
            Self::Socket(error) => -error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

impl FromStr for Operation {
    type Err = Refusal;

    fn from_str(line: &str) -> Result<Self, Refusal> {
        match line {
            "get=1" => Ok(Self::Get),
            "set=1" => Ok(Self::Set),
            _ => Err(Refusal::Operation),
        }
    }
}

/// Reads the lines of one `set` request, first those about the interface and then those about peers.
#[derive(Clone, Copy, Debug, Default)]
pub enum Reader {
    /// No peer was named yet.
    #[default]
    Interface,
    /// A peer was named.
    Peer,
}

impl Reader {
    /// Reads one line; `None` is a line that changes nothing.
    pub fn line(&mut self, line: &str) -> Result<Option<Change>, Refusal> {
        let (key, value) = line.split_once('=').ok_or(Refusal::Protocol)?;
        if key == "public_key" {
            *self = Self::Peer;
        }
        let change = match self {
            Self::Interface => interface_change(key, value),
            Self::Peer if key == "protocol_version" && value == "1" => return Ok(None),
            Self::Peer => peer_change(key, value).map(Change::Setting),
        };
        change.map(Some).ok_or_else(|| Refusal::Invalid(key.to_owned()))
    }
}

/// The answer to `get`, up to but without `errno=`.
pub fn describe(core: &Core, listen_port: Option<u16>, fwmark: u32) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(described_length(core)));
    if let Some(identity) = &core.identity {
        put_key(&mut text, "private_key", identity.secret.bytes_or_zeros());
    }
    if let Some(port) = listen_port {
        put(&mut text, "listen_port", port);
    }
    if fwmark != 0 {
        put(&mut text, "fwmark", fwmark);
    }
    core.peers().for_each(|peer| describe_peer(&mut text, peer));
    text
}

fn interface_change(key: &str, value: &str) -> Option<Change> {
    Some(match key {
        "private_key" => Change::Setting(Setting::PrivateKey(Secret::new(key_bytes(value)?))),
        "listen_port" => Change::ListenPort(number(value)?),
        "fwmark" => Change::Fwmark(number(value)?),
        "replace_peers" => Change::Setting(truth(value, Setting::ReplacePeers)?),
        _ => return None,
    })
}

fn peer_change(key: &str, value: &str) -> Option<Setting> {
    Some(match key {
        "public_key" => Setting::Peer(PublicKey(key_bytes(value)?)),
        "update_only" => truth(value, Setting::UpdateOnly)?,
        "remove" => truth(value, Setting::Remove)?,
        _ => Setting::PeerSetting(peer_setting(key, value)?),
    })
}

fn peer_setting(key: &str, value: &str) -> Option<PeerSetting> {
    Some(match key {
        "preshared_key" => PeerSetting::PresharedKey(Secret::new(key_bytes(value)?)),
        "endpoint" => PeerSetting::Endpoint(endpoint(value)?),
        "persistent_keepalive_interval" => PeerSetting::KeepaliveSecs(number(value)?),
        "replace_allowed_ips" => truth(value, PeerSetting::ReplaceAllowedIps)?,
        "allowed_ip" => match value.strip_prefix('-') {
            Some(value) => PeerSetting::NoAllowedIp(prefix(value)?),
            None => PeerSetting::AllowedIp(prefix(value)?),
        },
        _ => return None,
    })
}

fn key_bytes(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_digit(digits[0])? << 4 | hex_digit(digits[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Digits only: `FromStr` would also take a sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn truth<T>(text: &str, meaning: T) -> Option<T> {
    (text == "true").then_some(meaning)
}

/// An address and a port; IPv4 in IPv6's clothes is IPv4.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let address: SocketAddr = text.parse().ok()?;
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => Some(SocketAddr::new(ip.into(), address.port())),
        IpAddr::V6(_) => Some(address),
    }
}

/// An address with a length; host bits are dropped.
fn prefix(text: &str) -> Option<Prefix> {
    if !text.contains('/') {
        return None;
    }
    text.parse::<IpNetwork>().ok().map(Prefix::containing)
}

/// An upper bound, so that the text with the secrets in it is never moved to a larger place.
fn described_length(core: &Core) -> usize {
    256 + core.peers().map(|peer| 640 + 64 * peer.allowed_ips.len()).sum::<usize>()
}

fn describe_peer(text: &mut String, peer: &Peer) {
    put_key(text, "public_key", &peer.public_key.0);
    put_key(text, "preshared_key", peer.preshared_key.bytes_or_zeros());
    put(text, "protocol_version", 1);
    if let Some(endpoint) = peer.endpoint {
        put(text, "endpoint", endpoint);
    }
    let handshake = since_epoch(peer.counters.last_handshake);
    put(text, "last_handshake_time_sec", handshake.as_secs());
    put(text, "last_handshake_time_nsec", handshake.subsec_nanos());
    put(text, "tx_bytes", peer.counters.tx_bytes);
    put(text, "rx_bytes", peer.counters.rx_bytes);
    put(text, "persistent_keepalive_interval", peer.keepalive_secs);
    for prefix in &peer.allowed_ips {
        put(text, "allowed_ip", prefix);
    }
}

fn since_epoch(at: Option<SystemTime>) -> Duration {
    at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default()
}

fn put(text: &mut String, key: &str, value: impl Display) {
    let _infallible = writeln!(text, "{key}={value}");
}

fn put_key(text: &mut String, key: &str, bytes: &[u8; 32]) {
    let _infallible = write!(text, "{key}=");
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text.push('\n');
}
