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
    core.peers().for_each(|peer| describe_peer(&mut text, &peer));
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
    if let Some(route) = peer.endpoint {
        put(text, "endpoint", route.remote);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";

    fn read(text: &str) -> Result<Vec<Change>, Refusal> {
        let mut reader = Reader::default();
        let changes = text.lines().map(|line| reader.line(line));
        changes.filter_map(Result::transpose).collect()
    }

    fn errno(text: &str) -> i32 {
        read(text).map_or_else(|refusal| refusal.errno(), |_| 0)
    }

    #[test]
    fn every_key_is_read() {
        let text = format!(
            "private_key={KEY}\nlisten_port=12912\nfwmark=7\nreplace_peers=true\npublic_key={KEY}\nupdate_only=true\n\
             protocol_version=1\npreshared_key={KEY}\nendpoint=[abcd:23::33]:51820\n\
             persistent_keepalive_interval=25\nreplace_allowed_ips=true\nallowed_ip=192.168.4.7/24\n\
             allowed_ip=-fd00::/8\nremove=true\n"
        );
        let bytes = key_bytes(KEY).unwrap();
        let peer_settings = [
            PeerSetting::PresharedKey(Secret::new(bytes)),
            PeerSetting::Endpoint("[abcd:23::33]:51820".parse().unwrap()),
            PeerSetting::KeepaliveSecs(25),
            PeerSetting::ReplaceAllowedIps,
            PeerSetting::AllowedIp("192.168.4.0/24".parse().unwrap()),
            PeerSetting::NoAllowedIp("fd00::/8".parse().unwrap()),
        ];
        let mut expected = vec![
            Change::Setting(Setting::PrivateKey(Secret::new(bytes))),
            Change::ListenPort(12912),
            Change::Fwmark(7),
            Change::Setting(Setting::ReplacePeers),
            Change::Setting(Setting::Peer(PublicKey(bytes))),
            Change::Setting(Setting::UpdateOnly),
        ];
        expected.extend(peer_settings.map(|setting| Change::Setting(Setting::PeerSetting(setting))));
        expected.push(Change::Setting(Setting::Remove));
        assert_eq!(read(&text).unwrap(), expected);
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_right_number() {
        assert_eq!(errno("listen_port"), -libc::EPROTO);
        for line in [
            "listen_port=65536",
            "listen_port=+1",
            "listen_port=",
            "fwmark=-1",
            "replace_peers=false",
            "private_key=00",
            "colour=red",
            "endpoint=127.0.0.1:1",
            "allowed_ip=10.0.0.0/8",
        ] {
            assert_eq!(errno(line), -libc::EINVAL, "{line}");
        }
        for line in [
            "endpoint=127.0.0.1",
            "endpoint=example.org:1",
            "allowed_ip=10.0.0.0",
            "allowed_ip=10.0.0.0/33",
            "allowed_ip=fd00::/129",
            "persistent_keepalive_interval=off",
            "protocol_version=2",
            "listen_port=1",
            "public_key=zz",
        ] {
            assert_eq!(errno(&format!("public_key={KEY}\n{line}")), -libc::EINVAL, "{line}");
        }
    }

    #[test]
    fn an_endpoint_of_ipv4_in_ipv6_is_ipv4() {
        assert_eq!(endpoint("[::ffff:192.0.2.1]:7"), "192.0.2.1:7".parse().ok());
    }

    #[test]
    fn a_refusal_does_not_repeat_the_value() {
        let refusal = read(&format!("private_key={KEY}0")).unwrap_err();
        assert!(!format!("{refusal} {refusal:?}").contains(&KEY[..8]));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n]{0,200}") {
            let _read_or_refused = read(&text);
        }

        #[test]
        fn any_value_is_read_or_refused(
            key in prop::sample::select(vec!["endpoint", "allowed_ip", "public_key", "persistent_keepalive_interval"]),
            value in "[-0-9a-f:./\\[\\]%]{0,70}",
        ) {
            let _read_or_refused = read(&format!("public_key={KEY}\n{key}={value}"));
        }
    }
}
