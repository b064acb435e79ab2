//! The engine without its IO: packets, datagrams, settings and the time go in, a [`Batch`] comes out.
//!
//! Finds the peer (by inner address outwards, by receiver index or handshake inwards), holds the inner source of
//! every packet against the allowed IPs, follows peers that roam, answers with cookies under load (section 5.3 of
//! the WireGuard paper) and knows when it must be called again. One owner at a time; nothing in here blocks.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};
use rand_core::{OsRng, RngCore};
use x25519_dalek::StaticSecret;

use super::allowed_ips::AllowedIps;
use super::batch::Batch;
use super::message::{self, Kind};
use super::offload::{Segments, ecn};
use super::peer::{Peer, Received, SPARE_ROOM};
use super::route::{Route, Source};
use super::secret::Secret;
use super::train::Train;
use crate::model::PublicKey;

/// Handshake messages in a second before cookies are asked for.
const HANDSHAKES_PER_SEC: u64 = 100;
/// What must be free in a batch before a packet of any size goes in.
pub const ROOM_FOR_ANY: usize = 65_535 + message::DATA_OVERHEAD + 2 * SPARE_ROOM;
/// Data is padded to a multiple of this.
pub const PADDING: usize = 16;

/// The place of a peer in [`Core::peers`].
pub(super) type PeerId = usize;

/// One WireGuard interface.
pub struct Core {
    pub(super) identity: Option<Identity>,
    pub(super) peers: Vec<Option<Peer>>,
    pub(super) vacant: Vec<PeerId>,
    pub(super) by_key: HashMap<PublicKey, PeerId>,
    by_index: HashMap<u32, PeerId>,
    pub(super) allowed_ips: AllowedIps<PeerId>,
    schedule: BTreeSet<(Instant, PeerId)>,
    mtu: usize,
    activity: Activity,
}

/// Whether anything may be sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Running,
    Suspended,
}

/// What the datagram before was, in a train that mostly is of one peer.
#[derive(Default)]
struct Last {
    index: Option<u32>,
    id: Option<PeerId>,
    source: Option<IpAddr>,
}

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

impl Core {
    /// An interface without a key and without peers.
    pub fn new(mtu: usize) -> Self {
        Self {
            identity: None,
            peers: Vec::new(),
            vacant: Vec::new(),
            by_key: HashMap::new(),
            by_index: HashMap::new(),
            allowed_ips: AllowedIps::new(),
            schedule: BTreeSet::new(),
            mtu,
            activity: Activity::Running,
        }
    }

    /// The size beyond which packets are not padded.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
    }

    /// When [`Core::tick`] is to be called, if nothing else is before.
    pub fn deadline(&self) -> Option<Instant> {
        self.schedule.first().map(|(at, _)| *at)
    }

    /// A packet from the interface, of whose segments as many are taken as the batch has room for; the buffer has
    /// [`PADDING`] behind the packet.
    pub fn outbound(&mut self, segments: &mut Segments<'_>, now: Instant, batch: &mut Batch) {
        let mtu = self.mtu;
        let carrier = self.allowed_ips.lookup(segments.destination());
        let carrier =
            carrier.filter(|id| self.peers[*id].as_ref().is_some_and(|peer| peer.endpoint.is_some()));
        let Some((id, peer)) = carrier.and_then(|id| Some((id, self.armed(id)?))) else {
            return segments.skip();
        };
        let ecn = segments.ecn();
        while let Some(length) = segments.next_length()
            && batch.free() >= length + PADDING + message::DATA_OVERHEAD + SPARE_ROOM
        {
            let Some((buffer, length)) = segments.take_next() else { break };
            with_padding(buffer, length, mtu, |packet| peer.seal(packet, ecn, now, batch));
        }
        self.reschedule(id);
    }

    /// Datagrams from the sockets, of which as many are taken as the batch has room for.
    pub fn inbound(&mut self, train: &mut Train<'_>, now: Instant, batch: &mut Batch) {
        let mut last = Last::default();
        while let Some(datagram) = train.first()
            && batch.free() >= datagram.len() + SPARE_ROOM
        {
            train.advance();
            let Some(id) = self.sender_after(&last, datagram, train.route(), batch) else { continue };
            if last.id != Some(id) {
                self.reschedule_last(&last);
                last = Last { index: message::data_receiver_index(datagram), id: Some(id), source: None };
            }
            let Some(peer) = self.armed(id) else { continue };
            if let Received::Packet(length, source) = peer.open(datagram, train.route(), now, batch)
                && (last.source == Some(source) || self.is_of(id, source))
            {
                last.source = Some(source);
                if ecn::decapsulate(train.ecn(), &mut batch.room()[..length]).is_some() {
                    batch.push_packet(length);
                }
            }
        }
        self.reschedule_last(&last);
    }

    fn reschedule_last(&mut self, last: &Last) {
        if let Some(id) = last.id {
            self.reschedule(id);
        }
    }

    /// Nothing can be sent from that address any more: peers that use it are answered from another one.
    pub fn forget_source(&mut self, source: Source) {
        for route in self.peers.iter_mut().flatten().filter_map(|peer| peer.endpoint.as_mut()) {
            route.source.take_if(|of| *of == source);
        }
    }

    /// Where peers are that are answered from an address of their choice.
    pub fn routes_with_source(&self) -> Vec<Route> {
        let endpoints = self.peers.iter().flatten().filter_map(|peer| peer.endpoint);
        endpoints.filter(|route| route.source.is_some()).collect()
    }

    /// These do not lead back to the addresses that peers spoke to: they are answered from another one.
    pub fn forget_sources_of(&mut self, routes: &[Route]) {
        for endpoint in self.peers.iter_mut().flatten().filter_map(|peer| peer.endpoint.as_mut()) {
            if routes.contains(endpoint) {
                endpoint.source = None;
            }
        }
    }

    /// Does what is due for as many peers as the batch has room for; the deadline tells of the rest.
    pub fn tick(&mut self, now: Instant, batch: &mut Batch) {
        while batch.free() >= ROOM_FOR_ANY
            && let Some((at, id)) = self.schedule.first().copied()
            && at <= now
        {
            self.schedule.remove(&(at, id));
            self.look_at(id, now, batch);
            self.reschedule(id);
        }
    }

    /// The interface is down: sessions end, settings stay, and nothing happens until it is up again.
    pub fn suspend(&mut self) {
        self.activity = Activity::Suspended;
        self.end_sessions();
    }

    /// The interface is up: whoever speaks to it is answered.
    pub fn resume(&mut self) {
        self.activity = Activity::Running;
    }

    fn end_sessions(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            peer.disarm();
            peer.scheduled = None;
        }
        self.by_index.clear();
        self.schedule.clear();
    }

    /// Speaks to those peers that are to hear from it without being asked.
    pub fn restart_keepalives(&mut self, now: Instant) {
        for id in 0..self.peers.len() {
            if let Some(peer) = &mut self.peers[id] {
                peer.restart_keepalive(now);
                self.reschedule(id);
            }
        }
    }

    /// Sets or takes away the interface's key: every session ends, and a peer with the same key is removed.
    pub(super) fn set_identity(&mut self, secret: Secret, now: Instant) {
        let secret = secret.clamped();
        if self.identity.as_ref().map(|identity| &identity.secret) == Some(&secret) {
            return;
        }
        self.identity = secret.bytes().map(|bytes| Identity::new(&secret, *bytes));
        if let Some(own) = self.identity.as_ref().and_then(|it| self.by_key.get(&it.public_key)) {
            self.remove_peer(*own);
        }
        self.end_sessions();
        self.restart_keepalives(now);
    }

    /// Forgets a peer's sessions, for its keys have changed.
    pub(super) fn disarm(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = &mut self.peers[id] else { return };
        if let Some(index) = peer.disarm() {
            self.by_index.remove(&index);
        }
        peer.restart_keepalive(now);
        self.reschedule(id);
    }

    /// Forgets a peer and what is its.
    pub(super) fn remove_peer(&mut self, id: PeerId) {
        let Some(mut peer) = self.peers[id].take() else { return };
        self.vacant.push(id);
        self.by_key.remove(&peer.public_key);
        if let Some(at) = peer.scheduled {
            self.schedule.remove(&(at, id));
        }
        if let Some(index) = peer.disarm() {
            self.by_index.remove(&index);
        }
        for prefix in peer.allowed_ips {
            self.allowed_ips.remove(prefix, id);
        }
    }

    /// Sees to it that the schedule holds the peer's deadline or something earlier. An entry that turns out to be
    /// too early costs one look; moving it at every packet would cost more.
    pub(super) fn reschedule(&mut self, id: PeerId) {
        if self.running().is_none() {
            return;
        }
        let Some(peer) = &mut self.peers[id] else { return };
        let Some(deadline) = peer.deadline() else { return };
        if peer.scheduled.is_some_and(|at| at <= deadline) {
            return;
        }
        if let Some(at) = peer.scheduled.replace(deadline) {
            self.schedule.remove(&(at, id));
        }
        self.schedule.insert((deadline, id));
    }

    fn look_at(&mut self, id: PeerId, now: Instant, batch: &mut Batch) {
        let Some(peer) = &mut self.peers[id] else { return };
        peer.scheduled = None;
        if peer.deadline().is_some_and(|deadline| deadline <= now)
            && let Some(peer) = self.armed(id)
        {
            peer.tick(now, batch);
        }
    }

    /// Which peer a datagram claims to be from: mostly the same one as that before it in its train.
    fn sender_after(&self, last: &Last, datagram: &[u8], route: Route, batch: &mut Batch) -> Option<PeerId> {
        match message::data_receiver_index(datagram) {
            None => self.handshaking(datagram, route, batch),
            index if index == last.index => last.id,
            Some(index) => self.running().and_then(|_| self.indexed(index)),
        }
    }

    /// Which peer a handshake message claims to be from; answers with a cookie where that must be proven first.
    fn handshaking(&self, datagram: &[u8], route: Route, batch: &mut Batch) -> Option<PeerId> {
        let identity = self.running()?;
        if let Some(Kind::Initiation | Kind::Response) = message::kind(datagram) {
            identity.limiter.reset_count();
        }
        let verified = identity.limiter.verify_packet(Some(route.remote.ip()), datagram, batch.room());
        match verified {
            Ok(Packet::HandshakeInit(initiation)) => {
                let public = x25519_dalek::PublicKey::from(identity.public_key.0);
                let half = parse_handshake_anon(&identity.private, &public, &initiation).ok()?;
                self.by_key.get(&PublicKey(half.peer_static_public)).copied()
            }
            Ok(Packet::HandshakeResponse(response)) => self.indexed(response.receiver_idx),
            Ok(Packet::PacketCookieReply(reply)) => self.indexed(reply.receiver_idx),
            Ok(Packet::PacketData(data)) => self.indexed(data.receiver_idx),
            Err(TunnResult::WriteToNetwork(cookie)) => {
                let length = cookie.len();
                batch.push_datagram(route, 0, length);
                None
            }
            Err(_) => None,
        }
    }

    fn indexed(&self, receiver_index: u32) -> Option<PeerId> {
        self.by_index.get(&(receiver_index >> 8)).copied()
    }

    /// Whether a packet from this inner address may come from the peer.
    fn is_of(&self, id: PeerId, source: IpAddr) -> bool {
        let is_its_own = self.allowed_ips.lookup(source) == Some(id);
        if !is_its_own {
            tracing::debug!(%source, "dropped a packet from an address that is not its sender's");
        }
        is_its_own
    }

    /// The peer, ready for handshakes; `None` without a peer or a key.
    fn armed(&mut self, id: PeerId) -> Option<&mut Peer> {
        let identity = self.identity.as_ref().filter(|_| self.activity == Activity::Running)?;
        let peer = self.peers[id].as_mut()?;
        if peer.index().is_none() {
            let index = unused_index(&self.by_index);
            self.by_index.insert(index, id);
            peer.arm(identity.tunn(peer, index), index);
        }
        Some(peer)
    }

    fn running(&self) -> Option<&Identity> {
        self.identity.as_ref().filter(|_| self.activity == Activity::Running)
    }
}

impl Identity {
    fn new(secret: &Secret, bytes: [u8; 32]) -> Self {
        let private = StaticSecret::from(bytes);
        let public = x25519_dalek::PublicKey::from(&private);
        Self {
            secret: secret.clone(),
            public_key: PublicKey(public.to_bytes()),
            private,
            limiter: RateLimiter::new(&public, HANDSHAKES_PER_SEC),
            unlimited: Arc::new(RateLimiter::new(&public, u64::MAX)),
        }
    }

    fn tunn(&self, peer: &Peer, index: u32) -> Tunn {
        let public = x25519_dalek::PublicKey::from(peer.public_key.0);
        let preshared = peer.preshared_key.bytes().copied();
        Tunn::new(self.private.clone(), public, preshared, None, index, Some(Arc::clone(&self.unlimited)))
    }
}

/// 24 random bits that no peer has, so that a late datagram of an old session finds nobody.
fn unused_index(taken: &HashMap<u32, PeerId>) -> u32 {
    loop {
        let index = OsRng.next_u32() >> 8;
        if !taken.contains_key(&index) {
            return index;
        }
    }
}

/// Gives the padded packet to `seal`; what lay where the padding is comes back.
fn with_padding(buffer: &mut [u8], length: usize, mtu: usize, seal: impl FnOnce(&[u8])) {
    let padded = padded(length, mtu);
    let mut kept = [0; PADDING];
    let kept = &mut kept[..padded - length];
    kept.copy_from_slice(&buffer[length..padded]);
    buffer[length..padded].fill(0);
    seal(&buffer[..padded]);
    buffer[length..padded].copy_from_slice(kept);
}

/// The length after padding: a multiple of 16, but not beyond the MTU.
fn padded(length: usize, mtu: usize) -> usize {
    length.next_multiple_of(PADDING).min(mtu.max(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_stops_at_the_mtu() {
        assert_eq!(padded(84, 1420), 96);
        assert_eq!(padded(96, 1420), 96);
        assert_eq!(padded(1419, 1420), 1420);
        assert_eq!(padded(1500, 1420), 1500);
    }
}
