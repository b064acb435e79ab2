//! A peer that one thread has to itself.

use std::collections::hash_map::Entry;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use rand_core::{OsRng, RngCore};

use super::core::{Core, PeerId, whole};
use super::peer::Peer;

/// A peer that is locked. In the end the schedule learns when it is to be looked at.
pub(super) struct HeldPeer<'c> {
    core: &'c Core,
    pub(super) id: PeerId,
    peer: MutexGuard<'c, Peer>,
}

impl HeldPeer<'_> {
    /// Ready for handshakes; `None` without a key, or while the interface is down.
    pub(super) fn armed(&mut self) -> Option<&mut Peer> {
        let identity = self.core.running()?;
        if self.peer.index().is_none() {
            let index = self.core.take_index(self.id);
            let tunn = identity.tunn(&self.peer, index);
            self.peer.arm(tunn, index);
        }
        Some(&mut self.peer)
    }
}

impl Deref for HeldPeer<'_> {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for HeldPeer<'_> {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

impl Drop for HeldPeer<'_> {
    fn drop(&mut self) {
        self.core.reschedule(self.id, &mut self.peer);
    }
}

impl Core {
    /// The peer of this place, which nobody else has meanwhile.
    pub(super) fn hold(&self, id: PeerId) -> Option<HeldPeer<'_>> {
        let peer = self.peers.get(id)?.as_ref()?;
        Some(HeldPeer { core: self, id, peer: whole(peer.lock()) })
    }

    /// Sees to it that the schedule holds the peer's deadline or something earlier. An entry that turns out to be
    /// too early costs one look; moving it at every packet would cost more.
    fn reschedule(&self, id: PeerId, peer: &mut Peer) {
        let Some(deadline) = self.running().and_then(|_| peer.deadline()) else { return };
        if peer.scheduled.is_some_and(|at| at <= deadline) {
            return;
        }
        let mut schedule = whole(self.schedule.lock());
        if let Some(at) = peer.scheduled.replace(deadline) {
            schedule.remove(&(at, id));
        }
        schedule.insert((deadline, id));
    }

    /// 24 bits that no peer has: 16 random ones, so that a late datagram of an old session finds nobody, and below them
    /// the peer's number, by which sockets of one port share the peers (`PEER_NUMBER_AT`).
    fn take_index(&self, id: PeerId) -> u32 {
        let mut taken = whole(self.by_index.write());
        loop {
            let index = (OsRng.next_u32() >> 16 << 8) | (id as u32 & 0xff);
            if let Entry::Vacant(free) = taken.entry(index) {
                free.insert(id);
                return index;
            }
        }
    }
}
