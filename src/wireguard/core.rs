//! The engine without its IO: packets, datagrams, settings and the time go in, a [`Batch`] comes out.
//!
//! Finds the peer (by inner address outwards, by receiver index or handshake inwards), holds the inner source of
//! every packet against the allowed IPs, follows peers that roam, answers with cookies under load (section 5.3 of
//! the WireGuard paper) and knows when it must be called again.
//!
//! Settings want it alone (`&mut`). Packets and the clock share it: each peer is behind a lock of its own, which is held
//! for a row of packets ([`Turn`](super::Turn)), so that processors that work for different peers do not wait for each
//! other. Whoever has a peer may take the locks of the indices or the schedule for a moment, never those of a second peer.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{LockResult, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use super::allowed_ips::AllowedIps;
use super::batch::Batch;
use super::identity::{Claim, Identity};
use super::message;
use super::peer::{Peer, SPARE_ROOM};
use super::route::{Route, Source};
use super::secret::Secret;
use crate::model::PublicKey;

/// What must be free in a batch before a packet of any size goes in.
pub const ROOM_FOR_ANY: usize = 65_535 + message::DATA_OVERHEAD + 2 * SPARE_ROOM;
/// Data is padded to a multiple of this.
pub const PADDING: usize = 16;

/// The place of a peer in [`Core`].
pub(super) type PeerId = usize;

/// One WireGuard interface.
pub struct Core {
    pub(super) identity: Option<Identity>,
    pub(super) by_key: HashMap<PublicKey, PeerId>,
    pub(super) allowed_ips: AllowedIps<PeerId>,
    pub(super) peers: Vec<Option<Mutex<Peer>>>,
    vacant: Vec<PeerId>,
    /// Of peers that have spoken, by the upper 24 bits of their receiver indices.
    pub(super) by_index: RwLock<HashMap<u32, PeerId>>,
    pub(super) schedule: Mutex<BTreeSet<(Instant, PeerId)>>,
    mtu: usize,
    activity: Activity,
}

/// Whether anything may be sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Running,
    Suspended,
}

impl Core {
    /// An interface without a key and without peers.
    pub fn new(mtu: usize) -> Self {
        Self {
            identity: None,
            by_key: HashMap::new(),
            allowed_ips: AllowedIps::new(),
            peers: Vec::new(),
            vacant: Vec::new(),
            by_index: RwLock::default(),
            schedule: Mutex::default(),
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
        whole(self.schedule.lock()).first().map(|(at, _)| *at)
    }

    /// Does what is due for as many peers as the batch has room for; the deadline tells of the rest.
    pub fn tick(&self, now: Instant, batch: &mut Batch) {
        while batch.free() >= ROOM_FOR_ANY
            && let Some((at, id)) = self.take_due(now)
        {
            let Some(mut held) = self.hold(id) else { continue };
            held.scheduled.take_if(|scheduled| *scheduled == at);
            if held.deadline().is_some_and(|deadline| deadline <= now)
                && let Some(peer) = held.armed()
            {
                peer.tick(now, batch);
            }
        }
    }

    /// Nothing can be sent from that address any more: peers that use it are answered from another one.
    pub fn forget_source(&self, source: Source) {
        for mut peer in self.peers() {
            if let Some(route) = &mut peer.endpoint {
                route.source.take_if(|of| *of == source);
            }
        }
    }

    /// Where peers are that are answered from an address of their choice.
    pub fn routes_with_source(&self) -> Vec<Route> {
        let endpoints = self.peers().filter_map(|peer| peer.endpoint);
        endpoints.filter(|route| route.source.is_some()).collect()
    }

    /// These do not lead back to the addresses that peers spoke to: they are answered from another one.
    pub fn forget_sources_of(&self, routes: &[Route]) {
        for mut peer in self.peers() {
            if let Some(endpoint) = peer.endpoint.as_mut().filter(|endpoint| routes.contains(endpoint)) {
                endpoint.source = None;
            }
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

    /// Speaks to those peers that are to hear from it without being asked.
    pub fn restart_keepalives(&self, now: Instant) {
        let all = (0..self.peers.len()).filter_map(|id| self.hold(id));
        all.for_each(|mut peer| peer.restart_keepalive(now));
    }

    /// Sets or takes away the interface's key: every session ends, and a peer with the same key is removed.
    pub(super) fn set_identity(&mut self, secret: Secret, now: Instant) {
        let secret = secret.clamped();
        if self.identity.as_ref().map(|identity| &identity.secret) == Some(&secret) {
            return;
        }
        self.identity = Identity::of(&secret);
        if let Some(own) = self.identity.as_ref().and_then(|it| self.by_key.get(&it.public_key)) {
            self.remove_peer(*own);
        }
        self.end_sessions();
        self.restart_keepalives(now);
    }

    /// Peers in the order in which they were added, as far as places were not used twice.
    pub(super) fn peers(&self) -> impl Iterator<Item = MutexGuard<'_, Peer>> {
        self.peers.iter().flatten().map(|peer| whole(peer.lock()))
    }

    /// The peer of this place, to be set.
    pub(super) fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers[id].as_mut().map(|peer| whole(peer.get_mut()))
    }

    /// A peer that nothing is known of but its key.
    pub(super) fn add_peer(&mut self, key: PublicKey) -> PeerId {
        let id = self.vacant.pop().unwrap_or(self.peers.len());
        if id == self.peers.len() {
            self.peers.push(None);
        }
        self.peers[id] = Some(Mutex::new(Peer::new(key)));
        self.by_key.insert(key, id);
        id
    }

    /// Forgets a peer and what is its.
    pub(super) fn remove_peer(&mut self, id: PeerId) {
        let Some(peer) = self.peers[id].take() else { return };
        let mut peer = whole(peer.into_inner());
        self.vacant.push(id);
        self.by_key.remove(&peer.public_key);
        if let Some(at) = peer.scheduled {
            whole(self.schedule.get_mut()).remove(&(at, id));
        }
        if let Some(index) = peer.disarm() {
            whole(self.by_index.get_mut()).remove(&index);
        }
        for prefix in peer.allowed_ips {
            self.allowed_ips.remove(prefix, id);
        }
    }

    /// Forgets all of them.
    pub(super) fn remove_all_peers(&mut self) {
        for id in 0..self.peers.len() {
            self.remove_peer(id);
        }
        self.peers.clear();
        self.vacant.clear();
    }

    /// Forgets a peer's sessions, for its keys have changed.
    pub(super) fn disarm(&self, id: PeerId, now: Instant) {
        let Some(mut peer) = self.hold(id) else { return };
        if let Some(index) = peer.disarm() {
            whole(self.by_index.write()).remove(&index);
        }
        peer.restart_keepalive(now);
    }

    pub(super) fn mtu(&self) -> usize {
        self.mtu
    }

    /// Whose packets to this inner address are.
    pub(super) fn carrier(&self, destination: IpAddr) -> Option<PeerId> {
        self.allowed_ips.lookup(destination)
    }

    /// Whether a packet from this inner address may come from the peer.
    pub(super) fn is_of(&self, id: PeerId, source: IpAddr) -> bool {
        let is_its_own = self.allowed_ips.lookup(source) == Some(id);
        if !is_its_own {
            tracing::debug!(%source, "dropped a packet from an address that is not its sender's");
        }
        is_its_own
    }

    /// Which peer a handshake message claims to be from; answers with a cookie where that must be proven first.
    pub(super) fn handshaking(&self, datagram: &[u8], from: Route, batch: &mut Batch) -> Option<PeerId> {
        match self.running()?.claim(datagram, from.remote.ip(), batch.room())? {
            Claim::Key(key) => self.by_key.get(&key).copied(),
            Claim::Index(index) => self.indexed(index),
            Claim::Cookie(length) => {
                batch.push_datagram(from, 0, length);
                None
            }
        }
    }

    pub(super) fn indexed(&self, receiver_index: u32) -> Option<PeerId> {
        whole(self.by_index.read()).get(&(receiver_index >> 8)).copied()
    }

    pub(super) fn running(&self) -> Option<&Identity> {
        self.identity.as_ref().filter(|_| self.activity == Activity::Running)
    }

    fn end_sessions(&mut self) {
        for peer in self.peers.iter_mut().flatten().map(|peer| whole(peer.get_mut())) {
            peer.disarm();
            peer.scheduled = None;
        }
        whole(self.by_index.get_mut()).clear();
        whole(self.schedule.get_mut()).clear();
    }

    fn take_due(&self, now: Instant) -> Option<(Instant, PeerId)> {
        let mut schedule = whole(self.schedule.lock());
        let is_due = schedule.first().is_some_and(|(at, _)| *at <= now);
        if is_due { schedule.pop_first() } else { None }
    }
}

/// What is locked is whole between two calls, so a panic of another thread does not spoil it.
pub(super) fn whole<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}
