//! What happens to packets: a turn takes some in a row, and holds the peer that the last one was about, for mostly the
//! next one is about it too.

use std::net::IpAddr;
use std::time::Instant;

use super::batch::Batch;
use super::core::{Core, PADDING, PeerId};
use super::held::HeldPeer;
use super::message;
use super::offload::{Segments, ecn};
use super::peer::{Received, SPARE_ROOM, Waiting};
use super::route::Route;
use super::train::Train;

/// Packets in a row, one direction's. Whoever else is about the same peer waits until it has ended; what it has put into
/// a batch is to be sent afterwards.
pub struct Turn<'c> {
    core: &'c Core,
    now: Instant,
    held: Option<HeldPeer<'c>>,
    /// The receiver index of the data message before.
    index: Option<u32>,
    /// An inner address that is the held peer's.
    source: Option<IpAddr>,
}

impl Core {
    /// Begins a turn.
    pub fn turn(&self, now: Instant) -> Turn<'_> {
        Turn { core: self, now, held: None, index: None, source: None }
    }
}

impl<'c> Turn<'c> {
    /// A packet from the interface, of whose segments as many are taken as the batch has room for; the buffer has
    /// [`PADDING`] behind the packet.
    pub fn outbound(&mut self, segments: &mut Segments<'_>, batch: &mut Batch) {
        let (now, mtu, ecn) = (self.now, self.core.mtu(), segments.ecn());
        let carrier = self.core.carrier(segments.destination());
        let held = carrier.and_then(|id| self.hold(id)).filter(|held| held.endpoint.is_some());
        let Some(peer) = held.and_then(HeldPeer::armed) else { return segments.skip() };
        if peer.flush_first(now, batch) == Waiting::Some {
            return;
        }
        while let Some(length) = segments.next_length()
            && batch.free() >= length + PADDING + message::DATA_OVERHEAD + SPARE_ROOM
        {
            let Some((buffer, length)) = segments.take_next() else { break };
            with_padding(buffer, length, mtu, |packet| peer.seal(packet, ecn, now, batch));
        }
    }

    /// Datagrams from the sockets, of which as many are taken as the batch has room for.
    pub fn inbound(&mut self, train: &mut Train<'_>, batch: &mut Batch) {
        while let Some(datagram) = train.first()
            && batch.free() >= datagram.len() + SPARE_ROOM
        {
            train.advance();
            if let Some(length) = self.open(datagram, train.route(), batch)
                && ecn::decapsulate(train.ecn(), &mut batch.room()[..length]).is_some()
            {
                batch.push_packet(length);
            }
        }
    }

    /// The length of the packet that is in the batch's room then, if there is one that its sender may send.
    fn open(&mut self, datagram: &[u8], from: Route, batch: &mut Batch) -> Option<usize> {
        let now = self.now;
        let held = self.hold_sender(datagram, from, batch)?;
        let id = held.id;
        let Received::Packet(length, source) = held.armed()?.open(datagram, from, now, batch) else {
            return None;
        };
        if self.source != Some(source) {
            self.core.is_of(id, source).then(|| self.source = Some(source))?;
        }
        Some(length)
    }

    /// The peer that a datagram claims to be from: mostly that of the datagram before.
    fn hold_sender(&mut self, datagram: &[u8], from: Route, batch: &mut Batch) -> Option<&mut HeldPeer<'c>> {
        let index = message::data_receiver_index(datagram);
        if index.is_none() || index != self.index {
            let id = match index {
                None => self.core.handshaking(datagram, from, batch)?,
                Some(index) => self.core.indexed(index)?,
            };
            self.index = index;
            return self.hold(id);
        }
        self.held.as_mut()
    }

    /// No two at once, for another turn may have them the other way round.
    fn hold(&mut self, id: PeerId) -> Option<&mut HeldPeer<'c>> {
        if self.held.as_ref().is_none_or(|held| held.id != id) {
            (self.held, self.source) = (None, None);
            self.held = self.core.hold(id);
        }
        self.held.as_mut()
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
