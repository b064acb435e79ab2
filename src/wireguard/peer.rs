//! One peer: boringtun's `Tunn` (handshakes, sessions, AEAD) with what it lacks around it.
//!
//! `Tunn` panics when its output buffer is too small, stamps what happens with the time of its last tick, queues on
//! its own and cannot have its keys changed: so buffers are measured here before every call, it is ticked before
//! every handshake message, its queue is flushed only when a session can carry it, and new keys make a new one. It is
//! not ticked for data: its stamps would then be fresh enough for it to find, after a pause, that the first packet
//! had gone unanswered for as long as the pause. It is built when first needed: ten thousand peers that never speak
//! cost no curve arithmetic.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime};

use boringtun::noise::Tunn;
use rand_core::{OsRng, RngCore};

use super::batch::Batch;
use super::message::{self, Kind};
use super::noise::{Noise, Outcome};
use super::route::Route;
use super::secret::Secret;
use super::timers::{Role, Timers};
use crate::model::{Prefix, PublicKey};

/// What the longest handshake message needs; `Tunn` may want to write one at any call.
const HANDSHAKE_ROOM: usize = 148;
/// What one call for one peer may need beside the packet: a tick's message, a keepalive and an initiation.
pub(super) const SPARE_ROOM: usize = 4 * HANDSHAKE_ROOM;

/// A peer: its configuration, its counters and, once it has spoken, its session.
pub(super) struct Peer {
    pub(super) public_key: PublicKey,
    pub(super) preshared_key: Secret,
    pub(super) endpoint: Option<Route>,
    pub(super) keepalive_secs: u16,
    pub(super) allowed_ips: BTreeSet<Prefix>,
    pub(super) counters: Counters,
    /// When the device will look at this peer again.
    pub(super) scheduled: Option<Instant>,
    noise: Option<Noise>,
    timers: Timers,
    wanted: Wanted,
}

/// What the next tick shall do whatever the clock says.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    keepalive: bool,
    handshake: bool,
    /// Packets may still wait in `Tunn`'s queue although there is a session.
    flush: bool,
}

/// What wg(8) shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// UDP payload sent, handshakes and keepalives included.
    pub(super) tx_bytes: u64,
    /// Authentic UDP payload received, handshakes and keepalives included.
    pub(super) rx_bytes: u64,
    /// When the last handshake was completed.
    pub(super) last_handshake: Option<SystemTime>,
}

/// What a datagram from a peer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// Not authentic, or not of now.
    Nothing,
    /// Authentic, and dealt with.
    Control,
    /// An IP packet of this length from this inner address, in the batch's room and not yet taken.
    Packet(usize, IpAddr),
}

/// Packets that waited for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    None,
    /// The batch had no room for them.
    Some,
}

impl Peer {
    pub(super) fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            preshared_key: Secret::none(),
            endpoint: None,
            keepalive_secs: 0,
            allowed_ips: BTreeSet::new(),
            counters: Counters::default(),
            scheduled: None,
            noise: None,
            timers: Timers::default(),
            wanted: Wanted::default(),
        }
    }

    /// The upper 24 bits of its receiver indices, if it has spoken.
    pub(super) fn index(&self) -> Option<u32> {
        self.noise.as_ref().map(|noise| noise.index)
    }

    /// Gives it what handshakes need; it must have this before it seals, opens or ticks.
    pub(super) fn arm(&mut self, tunn: Tunn, index: u32) {
        self.noise = Some(Noise::new(tunn, index));
    }

    /// Forgets sessions and handshakes; returns the index that is free now.
    pub(super) fn disarm(&mut self) -> Option<u32> {
        self.timers = Timers::default();
        self.wanted = Wanted::default();
        self.noise.take().map(|noise| noise.index)
    }

    /// When it must be ticked again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.deadline(self.keepalive())
    }

    /// Changes the interval; a keepalive that is switched on is sent at once.
    pub(super) fn set_keepalive(&mut self, secs: u16, now: Instant) {
        let switched_on = self.keepalive_secs == 0 && secs != 0;
        self.keepalive_secs = secs;
        if switched_on {
            self.restart_keepalive(now);
        }
    }

    /// Sends a keepalive at the next tick, if it has persistent ones and somewhere to send them.
    pub(super) fn restart_keepalive(&mut self, now: Instant) {
        if self.keepalive().is_some() {
            self.wanted.keepalive = true;
            self.timers.ask(now);
        }
    }

    /// Sends what waited for a session, for what comes now is to go after it.
    pub(super) fn flush_first(&mut self, now: Instant, batch: &mut Batch) -> Waiting {
        if std::mem::take(&mut self.wanted.flush) {
            self.flush(now, batch);
        }
        if self.wanted.flush { Waiting::Some } else { Waiting::None }
    }

    /// Seals an IP packet, padded already, or queues it and begins a handshake.
    pub(super) fn seal(&mut self, packet: &[u8], ecn: u8, now: Instant, batch: &mut Batch) {
        if !self.has_session() {
            self.refresh(now, batch);
        }
        let Some(noise) = &mut self.noise else { return };
        if batch.free() < packet.len() + message::DATA_OVERHEAD + SPARE_ROOM {
            return;
        }
        let outcome = noise.seal(packet, batch.room());
        self.send_with(outcome, ecn, now, batch);
        if self.timers.rekey_on_send(now) {
            self.initiate(now, batch);
        }
    }

    /// Opens a datagram whose receiver index or handshake named this peer.
    pub(super) fn open(&mut self, datagram: &[u8], from: Route, now: Instant, batch: &mut Batch) -> Received {
        let kind = message::kind(datagram);
        if kind != Some(Kind::Data) {
            self.refresh(now, batch);
        }
        let Some(noise) = &mut self.noise else { return Received::Nothing };
        if batch.free() < datagram.len() + SPARE_ROOM
            || kind == Some(Kind::Data) && !noise.knows(datagram, now)
        {
            return Received::Nothing;
        }
        let outcome = noise.open(datagram, batch.room());
        match (kind, outcome) {
            (None, _) | (_, Outcome::Failed | Outcome::GaveUp) => Received::Nothing,
            (Some(Kind::Cookie), _) => Received::Control,
            (Some(Kind::Initiation), _) => self.answer(outcome, datagram, from, now, batch),
            (Some(Kind::Response), _) => self.complete(outcome, datagram, from, now, batch),
            (Some(Kind::Data), _) => self.take_data(outcome, datagram, from, now),
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Instant, batch: &mut Batch) {
        let keepalive_due = self.timers.keepalive_due(self.keepalive(), now);
        if self.timers.is_due(now) {
            self.tick_tunn(now, batch);
        }
        self.timers.looked_at();
        let wanted = std::mem::take(&mut self.wanted);
        if wanted.keepalive || keepalive_due {
            self.send_keepalive(now, batch);
        }
        let unanswered = self.timers.take_unanswered(now);
        if unanswered {
            self.forget_source();
        }
        if unanswered || wanted.handshake {
            self.initiate(now, batch);
        }
        if wanted.flush {
            self.flush(now, batch);
        }
    }

    fn keepalive(&self) -> Option<Duration> {
        let on = self.keepalive_secs != 0 && self.endpoint.is_some();
        on.then(|| Duration::from_secs(self.keepalive_secs.into()))
    }

    fn has_session(&self) -> bool {
        self.noise.as_ref().is_some_and(Noise::has_session)
    }

    /// Brings `Tunn`'s idea of the time up to date.
    fn refresh(&mut self, now: Instant, batch: &mut Batch) {
        if self.timers.is_stale(now) {
            self.tick_tunn(now, batch);
        }
    }

    fn tick_tunn(&mut self, now: Instant, batch: &mut Batch) {
        let Some(noise) = &mut self.noise else { return };
        if batch.free() < SPARE_ROOM {
            return;
        }
        let outcome = noise.tick(batch.room());
        if let Outcome::GaveUp = outcome {
            self.timers.gave_up();
        }
        self.timers.ticked(now);
        self.send(outcome, now, batch);
    }

    /// The peer began a handshake, and the room holds our response.
    fn answer(
        &mut self,
        outcome: Outcome,
        datagram: &[u8],
        from: Route,
        now: Instant,
        batch: &mut Batch,
    ) -> Received {
        let Outcome::Datagram(_) = outcome else { return Received::Nothing };
        self.authentic(datagram.len(), from);
        self.timers.received(now);
        self.timers.derived(now);
        if let Some(noise) = &mut self.noise {
            noise.remember(message::sender_index(batch.room()), Role::Responder, now);
        }
        self.send(outcome, now, batch);
        Received::Control
    }

    /// The peer answered our handshake, and the room holds the keepalive that confirms it.
    fn complete(
        &mut self,
        outcome: Outcome,
        datagram: &[u8],
        from: Route,
        now: Instant,
        batch: &mut Batch,
    ) -> Received {
        let Outcome::Datagram(_) = outcome else { return Received::Nothing };
        self.authentic(datagram.len(), from);
        self.timers.received(now);
        self.timers.derived(now);
        self.timers.established(Role::Initiator, now);
        if let Some(noise) = &mut self.noise {
            noise.remember(message::response_receiver_index(datagram), Role::Initiator, now);
        }
        self.counters.last_handshake = Some(SystemTime::now());
        self.send(outcome, now, batch);
        self.flush(now, batch);
        Received::Control
    }

    fn take_data(&mut self, outcome: Outcome, datagram: &[u8], from: Route, now: Instant) -> Received {
        self.authentic(datagram.len(), from);
        self.confirm(datagram);
        let received = match outcome {
            Outcome::Packet(length, source) => {
                self.timers.received_data(now);
                Received::Packet(length, source)
            }
            Outcome::Done | Outcome::Datagram(_) | Outcome::Failed | Outcome::GaveUp => {
                self.timers.received(now);
                Received::Control
            }
        };
        self.wanted.handshake |= self.timers.rekey_on_receive(now);
        if self.wanted.handshake || self.wanted.flush {
            self.timers.ask(now);
        }
        received
    }

    fn authentic(&mut self, length: usize, from: Route) {
        self.counters.rx_bytes += length as u64;
        self.endpoint = Some(from);
    }

    /// The first packet on a session that the peer began completes its handshake.
    fn confirm(&mut self, datagram: &[u8]) {
        let Some(noise) = &mut self.noise else { return };
        if let Some(derived) = noise.confirm(datagram) {
            self.timers.established(Role::Responder, derived);
            self.wanted.flush = true;
            self.counters.last_handshake = Some(SystemTime::now());
        }
    }

    /// Sends what waited for a session, as far as the batch has room; the rest goes at the next tick. Without a
    /// session `Tunn` would queue again what it takes out, in another order.
    fn flush(&mut self, now: Instant, batch: &mut Batch) {
        loop {
            if !self.has_session() {
                return;
            }
            if batch.free() < usize::from(u16::MAX) + SPARE_ROOM {
                self.wanted.flush = true;
                return self.timers.ask(now);
            }
            let Some(noise) = &mut self.noise else { return };
            let outcome = noise.next_queued(batch.room());
            let Outcome::Datagram(_) = outcome else { return };
            self.send(outcome, now, batch);
        }
    }

    /// An empty packet; without a session, a handshake instead, for `Tunn` would queue the emptiness.
    fn send_keepalive(&mut self, now: Instant, batch: &mut Batch) {
        self.timers.kept_alive(now);
        if !self.has_session() {
            return self.initiate(now, batch);
        }
        let Some(noise) = &mut self.noise else { return };
        let outcome = noise.seal(&[], batch.room());
        self.send(outcome, now, batch);
        if self.timers.rekey_on_send(now) {
            self.initiate(now, batch);
        }
    }

    /// Begins a handshake, unless one is under way.
    fn initiate(&mut self, now: Instant, batch: &mut Batch) {
        self.refresh(now, batch);
        let Some(noise) = &mut self.noise else { return };
        let outcome = noise.initiate(batch.room());
        self.send(outcome, now, batch);
    }

    /// Where nothing comes back, the address that the peer spoke to last may be why: no way leads from it any more
    /// (drivers/net/wireguard/timers.c, `wg_socket_clear_peer_endpoint_src`).
    fn forget_source(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.source = None;
        }
    }

    fn send(&mut self, outcome: Outcome, now: Instant, batch: &mut Batch) {
        self.send_with(outcome, 0, now, batch);
    }

    /// Takes the datagram that lies in the batch's room.
    fn send_with(&mut self, outcome: Outcome, ecn: u8, now: Instant, batch: &mut Batch) {
        let Outcome::Datagram(length) = outcome else { return };
        match message::kind(&batch.room()[..length]) {
            Some(Kind::Initiation) => {
                if self.timers.awaits_response() {
                    self.forget_source();
                }
                self.timers.initiated(now, jitter());
            }
            Some(Kind::Data) if length > message::DATA_OVERHEAD => self.timers.sent_data(now),
            Some(Kind::Data | Kind::Response | Kind::Cookie) | None => self.timers.sent(now),
        }
        let Some(endpoint) = self.endpoint else { return };
        self.counters.tx_bytes += length as u64;
        batch.push_datagram(endpoint, ecn, length);
    }
}

/// Between 20 and 353 ms: at most a third of a second as the paper has it, and never before `Tunn`'s own 5 seconds.
fn jitter() -> Duration {
    Duration::from_millis(20 + u64::from(OsRng.next_u32() % 334))
}
