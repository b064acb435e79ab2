//! The interface's own key, and who a handshake message is from.

use std::net::IpAddr;
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use x25519_dalek::StaticSecret;

use super::message::{self, Kind};
use super::peer::Peer;
use super::secret::Secret;
use crate::model::PublicKey;

/// Handshake messages in a second before cookies are asked for.
const HANDSHAKES_PER_SEC: u64 = 100;

/// The interface's own key and what follows from it.
pub(super) struct Identity {
    pub(super) secret: Secret,
    pub(super) public_key: PublicKey,
    private: StaticSecret,
    /// Counts handshake messages and asks for cookies.
    limiter: RateLimiter,
    /// `Tunn` checks every handshake message once more; this one never asks for anything.
    unlimited: Arc<RateLimiter>,
}

/// Whom a message names as its sender, without a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The owner of this key.
    Key(PublicKey),
    /// The peer to whom this receiver index was given.
    Index(u32),
    /// Nobody yet: the first so many bytes of the room are a cookie, by which it can prove its address.
    Cookie(usize),
}

impl Identity {
    /// None without a key.
    pub(super) fn of(secret: &Secret) -> Option<Self> {
        let private = StaticSecret::from(*secret.bytes()?);
        let public = x25519_dalek::PublicKey::from(&private);
        Some(Self {
            secret: secret.clone(),
            public_key: PublicKey(public.to_bytes()),
            private,
            limiter: RateLimiter::new(&public, HANDSHAKES_PER_SEC),
            unlimited: Arc::new(RateLimiter::new(&public, u64::MAX)),
        })
    }

    /// What handshakes with a peer need, which will send this index.
    pub(super) fn tunn(&self, peer: &Peer, index: u32) -> Tunn {
        let public = x25519_dalek::PublicKey::from(peer.public_key.0);
        let preshared = peer.preshared_key.bytes().copied();
        Tunn::new(self.private.clone(), public, preshared, None, index, Some(Arc::clone(&self.unlimited)))
    }

    /// Whom a message names that came from this address; nobody if it makes no sense.
    pub(super) fn claim(&self, datagram: &[u8], from: IpAddr, room: &mut [u8]) -> Option<Claim> {
        if let Some(Kind::Initiation | Kind::Response) = message::kind(datagram) {
            self.limiter.reset_count();
        }
        match self.limiter.verify_packet(Some(from), datagram, room) {
            Ok(Packet::HandshakeInit(initiation)) => {
                let public = x25519_dalek::PublicKey::from(self.public_key.0);
                let half = parse_handshake_anon(&self.private, &public, &initiation).ok()?;
                Some(Claim::Key(PublicKey(half.peer_static_public)))
            }
            Ok(Packet::HandshakeResponse(response)) => Some(Claim::Index(response.receiver_idx)),
            Ok(Packet::PacketCookieReply(reply)) => Some(Claim::Index(reply.receiver_idx)),
            Ok(Packet::PacketData(data)) => Some(Claim::Index(data.receiver_idx)),
            Err(TunnResult::WriteToNetwork(cookie)) => Some(Claim::Cookie(cookie.len())),
            Err(_) => None,
        }
    }
}
