//! wg(4) (sys/net/if_wg.c).

use std::net::{IpAddr, SocketAddr};

use rdomain::backend::openbsd::Output;
use rdomain::convert::openbsd::arguments::{KeyBytes, Refusal};
use rdomain::convert::openbsd::ifconfig::{Peer as PeerWords, Tunnel as TunnelWords};
use rdomain::model::PublicKey;
use rdomain::state::Secret;

use super::{Outcome, Peer, Simulator, Tunnel, failed, prefix, printed, refuse};

/// What names below `example` are resolved to.
const RESOLVED: [u8; 4] = [198, 51, 100, 7];

impl Simulator {
    pub(super) fn set_tunnel(&mut self, name: &str, words: &TunnelWords) -> Outcome {
        if *words == TunnelWords::default() {
            return Ok(());
        }
        let endpoints: Vec<Option<SocketAddr>> =
            words.peers.iter().map(endpoint).collect::<Result<_, _>>()?;
        let found = self.interface_mut(name);
        let (up, asleep) = (found.up, found.was_up && !found.up);
        let Some(tunnel) = &mut found.tunnel else {
            return refuse(format!("{name}: SIOCSWG: Inappropriate ioctl for device"));
        };
        let before = tunnel.clone();
        tunnel.port = words.port.unwrap_or(tunnel.port);
        tunnel.rtable = words.rtable.unwrap_or(tunnel.rtable);
        if let Some(why) = self.sockets_refused(name).filter(|_| up) {
            self.interface_mut(name).tunnel = Some(before);
            return refuse(format!("{name}: SIOCSWG: {why}"));
        }
        let Some(tunnel) = &mut self.interface_mut(name).tunnel else { return Ok(()) };
        if let Some(key) = words.key {
            let own = Secret::new(key.0).public_key();
            tunnel.key = Some(key.0);
            tunnel.peers.retain(|peer| peer.public() != own);
        }
        if words.without_peers {
            tunnel.peers.clear();
        }
        for (words, endpoint) in words.peers.iter().zip(endpoints) {
            set_peer(tunnel, words, endpoint, asleep);
        }
        Ok(())
    }

    /// The request behind the words: `struct wg_interface_io` and its peers, of a little-endian machine of 64 bits.
    pub(super) fn siocswg(&mut self, words: &[String]) -> Output {
        let [name, hex] = words else { return failed(1, "usage: siocswg IF HEX\n".to_owned()) };
        let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
        let Some(asked) = asked(&bytes) else { return failed(1, "Bad address\n".to_owned()) };
        if self.interface(name).is_none() {
            return failed(1, "Device not configured\n".to_owned());
        }
        match self.set_tunnel(name, &asked) {
            Ok(()) => printed(String::new()),
            Err(refusal) => failed(1, format!("{refusal}\n")),
        }
    }

    /// Why the sockets of a tunnel could not be opened: its rtable must exist (41), and the port be free in the
    /// rdomain of that (43).
    pub(super) fn sockets_refused(&self, name: &str) -> Option<&'static str> {
        let own = self.interface(name)?.tunnel.as_ref()?;
        let Some(rdomain) = self.rdomain_of(own.rtable) else { return Some("Invalid argument") };
        let others = self.interfaces.iter().filter(|other| other.name != name && other.up);
        let clash = others.filter_map(|other| other.tunnel.as_ref()).any(|other| {
            other.port == own.port && own.port != 0 && self.rdomain_of(other.rtable) == Some(rdomain)
        });
        clash.then_some("Address already in use")
    }
}

fn byte(digits: &[u8]) -> u8 {
    let digits = std::str::from_utf8(digits).expect("hexadecimal digits");
    u8::from_str_radix(digits, 16).expect("hexadecimal digits")
}

/// What a request asks for (sys/net/if_wg.h); nothing where the kernel would read beyond its end.
fn asked(bytes: &[u8]) -> Option<TunnelWords> {
    let key = |at: usize| Some(KeyBytes(bytes.get(at..at + 32)?.try_into().ok()?));
    let count = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let flags = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let interface_flags = flags(0)? & 0xff;
    assert_eq!(interface_flags & !2, 0, "only the private key is simulated");
    let mut asked = TunnelWords { key: Some(key(40)?), ..TunnelWords::default() };
    asked.key = asked.key.filter(|_| interface_flags == 2);
    let mut at = 80;
    for _ in 0..count(72)? {
        assert_eq!((flags(at)?, count(at + 200)?), (3, 0), "only the preshared key is simulated");
        asked.peers.push(PeerWords {
            key: PublicKey(key(at + 8)?.0),
            goes: false,
            endpoint: None,
            allowed_ips: Vec::new(),
            keepalive_secs: None,
            preshared_key: Some(key(at + 40)),
            description: None,
        });
        at += 208;
    }
    Some(asked)
}

/// A name is resolved when it is given, and never again (47).
fn endpoint(words: &PeerWords) -> Result<Option<SocketAddr>, Refusal> {
    let Some((host, port)) = &words.endpoint else { return Ok(None) };
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(Some(SocketAddr::new(address, *port))),
        Err(_) if host.ends_with(".example") => Ok(Some(SocketAddr::from((RESOLVED, *port)))),
        Err(_) => Err(Refusal("ifconfig: no address associated with name".to_owned())),
    }
}

fn set_peer(tunnel: &mut Tunnel, words: &PeerWords, endpoint: Option<SocketAddr>, asleep: bool) {
    if words.goes {
        tunnel.peers.retain(|peer| peer.key != words.key.0);
        return;
    }
    let own = tunnel.key.map(|key| Secret::new(key).public_key());
    if own == Some(words.key) {
        return;
    }
    if !words.allowed_ips.is_empty() {
        let taken =
            |own: &ipnetwork::IpNetwork| words.allowed_ips.iter().any(|new| prefix(*new) == prefix(*own));
        tunnel.peers.iter_mut().for_each(|peer| peer.allowed_ips.retain(|own| !taken(own)));
    }
    let at = tunnel.peers.iter().position(|peer| peer.key == words.key.0).unwrap_or_else(|| {
        tunnel.peers.push(Peer {
            key: words.key.0,
            description: String::new(),
            preshared: None,
            keepalive_secs: 0,
            endpoint: None,
            allowed_ips: Vec::new(),
        });
        tunnel.peers.len() - 1
    });
    let peer = &mut tunnel.peers[at];
    if !words.allowed_ips.is_empty() {
        peer.allowed_ips = words.allowed_ips.iter().rev().copied().collect();
    }
    peer.endpoint = endpoint.or(peer.endpoint);
    if let Some(preshared) = words.preshared_key {
        peer.preshared = preshared.map(|key| key.0);
    }
    peer.description = words.description.clone().unwrap_or_else(|| peer.description.clone());
    peer.keepalive_secs = words.keepalive_secs.filter(|_| !asleep).unwrap_or(peer.keepalive_secs);
}
