//! boringtun's `Tunn`, with its results freed from its buffers and the sessions that it has known from outside.

use std::net::IpAddr;
use std::time::Instant;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};

use super::message;
use super::timers::{REJECT_AFTER_TIME, Role};

/// The handshakes and sessions with one peer. Every call wants room for a handshake message in `room`, beside what it
/// says: `Tunn` panics otherwise.
pub(super) struct Noise {
    tunn: Box<Tunn>,
    /// The upper 24 bits of the receiver indices that the peer will send.
    pub(super) index: u32,
    /// The sessions that `Tunn` may still have, in its order: by the receiver index modulo 8.
    sessions: [Option<Session>; 8],
}

/// A session as seen from outside.
#[derive(Clone, Copy)]
struct Session {
    receiver_index: u32,
    since: Instant,
    /// Whether the peer has shown that it has the keys.
    confirmed: bool,
}

/// A `TunnResult` without the buffer: what it made always starts where the room does.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// No handshake succeeded for too long: all sessions and queued packets are gone.
    GaveUp,
    Datagram(usize),
    Packet(usize, IpAddr),
}

impl Noise {
    pub(super) fn new(tunn: Tunn, index: u32) -> Self {
        Self { tunn: Box::new(tunn), index, sessions: [None; 8] }
    }

    /// Whether there is a session to send with.
    pub(super) fn has_session(&self) -> bool {
        self.tunn.time_since_last_handshake().is_some()
    }

    /// Seals a packet into room for 32 bytes more, or queues it and begins a handshake.
    pub(super) fn seal(&mut self, packet: &[u8], room: &mut [u8]) -> Outcome {
        Outcome::of(self.tunn.encapsulate(packet, room))
    }

    /// Opens a datagram into room for as many bytes.
    pub(super) fn open(&mut self, datagram: &[u8], room: &mut [u8]) -> Outcome {
        Outcome::of(self.tunn.decapsulate(None, datagram, room))
    }

    /// Seals the next packet that waited for a session into room for the largest one.
    pub(super) fn next_queued(&mut self, room: &mut [u8]) -> Outcome {
        Outcome::of(self.tunn.decapsulate(None, &[], room))
    }

    /// Begins a handshake, unless one is under way.
    pub(super) fn initiate(&mut self, room: &mut [u8]) -> Outcome {
        Outcome::of(self.tunn.format_handshake_initiation(room, false))
    }

    /// Tells it the time.
    pub(super) fn tick(&mut self, room: &mut [u8]) -> Outcome {
        Outcome::of(self.tunn.update_timers(room))
    }

    /// Whether a data message is for a session that is young enough: `Tunn` looks at ages only when it is ticked.
    pub(super) fn knows(&mut self, datagram: &[u8], now: Instant) -> bool {
        self.session(datagram).is_some_and(|session| now < session.since + REJECT_AFTER_TIME)
    }

    /// There is a session with this receiver index.
    pub(super) fn remember(&mut self, receiver_index: Option<u32>, role: Role, now: Instant) {
        let Some(receiver_index) = receiver_index else { return };
        let session = Session { receiver_index, since: now, confirmed: role == Role::Initiator };
        self.sessions[place(receiver_index)] = Some(session);
    }

    /// An authentic data message came; if it is the first one of a session that the peer began, tells since when
    /// there is that session.
    pub(super) fn confirm(&mut self, datagram: &[u8]) -> Option<Instant> {
        let session = self.session(datagram).filter(|session| !session.confirmed)?;
        session.confirmed = true;
        Some(session.since)
    }

    fn session(&mut self, datagram: &[u8]) -> Option<&mut Session> {
        let index = message::receiver_index(datagram)?;
        self.sessions[place(index)].as_mut().filter(|session| session.receiver_index == index)
    }
}

impl Outcome {
    fn of(result: TunnResult<'_>) -> Self {
        match result {
            TunnResult::Done => Self::Done,
            TunnResult::Err(WireGuardError::ConnectionExpired) => Self::GaveUp,
            TunnResult::Err(error) => {
                tracing::trace!(?error, "nothing came of a packet");
                Self::Failed
            }
            TunnResult::WriteToNetwork(datagram) => Self::Datagram(datagram.len()),
            TunnResult::WriteToTunnelV4(packet, source) => Self::Packet(packet.len(), source.into()),
            TunnResult::WriteToTunnelV6(packet, source) => Self::Packet(packet.len(), source.into()),
        }
    }
}

fn place(receiver_index: u32) -> usize {
    receiver_index as usize % 8
}
