//! A tunnel as either engine has it, and the changes that both take: what `uapi` and `wireguard` have in common.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::model::{DomainId, Endpoint, Engine, Host, Key, Peer, Prefix, Preshared, PublicKey, WireGuard};
use crate::state::{Secret, TunnelRecord};

/// What an engine has.
#[derive(Clone, Debug, Default)]
pub(super) struct Current {
    /// Its own public key, if it has a private one.
    pub(super) key: Option<PublicKey>,
    /// 0 if none was chosen yet.
    pub(super) listen_port: u16,
    pub(super) peers: Vec<CurrentPeer>,
}

/// A peer that an engine has.
#[derive(Clone, Debug)]
pub(super) struct CurrentPeer {
    pub(super) key: PublicKey,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) allowed_ips: BTreeSet<Prefix>,
    pub(super) preshared_key: Option<Secret>,
    pub(super) persistent_keepalive_secs: u16,
}

impl CurrentPeer {
    pub(super) fn new(key: PublicKey) -> Self {
        let (endpoint, preshared_key) = (None, None);
        Self { key, endpoint, allowed_ips: BTreeSet::new(), preshared_key, persistent_keepalive_secs: 0 }
    }
}

/// A change that an engine makes whole or not at all.
#[derive(Clone, Debug)]
pub(super) enum Change<'a> {
    /// Another key or port.
    Tunnel { key: &'a Secret, listen_port: Option<u16> },
    /// A peer becomes this.
    Peer { key: PublicKey, peer: PeerChange<'a>, session: Session },
    /// A peer goes.
    NoPeer { key: PublicKey },
}

/// What becomes of a peer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// It goes on.
    Kept,
    /// It ends, for it stands on an older preshared key.
    Ended,
}

/// What a peer shall be.
#[derive(Clone, Debug)]
pub(super) struct PeerChange<'a> {
    /// Where it shall be looked for; `None` leaves what it has.
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) allowed_ips: &'a BTreeSet<Prefix>,
    pub(super) preshared_key: Option<&'a Secret>,
    pub(super) persistent_keepalive_secs: u16,
}

/// The model's view of it. Where the ledger knows what endpoint a peer was given, that is its endpoint, for where
/// it roamed to since is no difference.
pub(super) fn model(current: &Current, engine: Engine, record: &TunnelRecord) -> WireGuard {
    WireGuard {
        engine,
        underlay: DomainId::new(record.underlay).unwrap_or(DomainId::DEFAULT),
        listen_port: Some(current.listen_port).filter(|&port| port != 0),
        key: Key::Public(current.key.unwrap_or(PublicKey([0; 32]))),
        peers: current.peers.iter().map(|peer| (Key::Public(peer.key), peer_model(peer, record))).collect(),
    }
}

fn peer_model(peer: &CurrentPeer, record: &TunnelRecord) -> Peer {
    let endpoint = match record.endpoints.get(&peer.key.to_string()) {
        Some(given) => parse_endpoint(given),
        None => peer.endpoint.map(Endpoint::from),
    };
    Peer {
        name: None,
        endpoint,
        allowed_ips: peer.allowed_ips.clone(),
        preshared_key: peer.preshared_key.as_ref().map(|secret| Preshared::Known(secret.fingerprint())),
        persistent_keepalive_secs: peer.persistent_keepalive_secs,
    }
}

/// An endpoint from the text that it prints as; `None` from anything else.
fn parse_endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = bare.parse().map_or_else(|_| Host::Name(bare.to_owned()), Host::Address);
    Some(Endpoint { host, port: Some(port.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn endpoints_are_parsed_from_what_they_print_as() {
        for text in ["127.0.0.1:7222", "[fd00::1]:7222", "vpn.example.org:51820"] {
            assert_eq!(parse_endpoint(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_endpoint(""), None);
    }

    #[test]
    fn a_roamed_endpoint_is_no_difference_and_a_strange_peers_is_told() {
        let [known, passive, strange] = [1, 2, 3].map(|byte| PublicKey([byte; 32]));
        let roamed = Some("192.0.2.1:9".parse().unwrap());
        let peers =
            [known, passive, strange].map(|key| CurrentPeer { endpoint: roamed, ..CurrentPeer::new(key) });
        let current = Current { peers: peers.to_vec(), ..Current::default() };
        let given = [(known.to_string(), "vpn.example:1".to_owned()), (passive.to_string(), String::new())];
        let record = TunnelRecord { underlay: 3, endpoints: BTreeMap::from(given) };
        let tunnel = model(&current, Engine::Kernel, &record);
        let endpoint = |key| tunnel.peers[&Key::Public(key)].endpoint.as_ref().map(ToString::to_string);
        assert_eq!(endpoint(known).as_deref(), Some("vpn.example:1"));
        assert_eq!(endpoint(passive), None);
        assert_eq!(endpoint(strange).as_deref(), Some("192.0.2.1:9"));
        assert_eq!((tunnel.underlay.number(), tunnel.listen_port), (3, None));
    }
}
