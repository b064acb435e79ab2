//! The packet thread: TUN and UDP through the core, each packet run to completion, in batches.
//!
//! A loop of one `poll`, then at most a budget of packets from each side, so that no side starves another. To grow
//! into two threads, give each direction a loop and a [`Batch`] of its own; the core is shared already.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Shared, UdpPair};
use crate::wireguard::batch::Batch;
use crate::wireguard::core::{PADDING, ROOM_FOR_ANY};

/// Packets from one side before the other is looked at.
const BUDGET: usize = 64;
/// The largest IP packet and the largest UDP payload are both below this.
const LARGEST: usize = 65_535;
/// How long a full socket may hold up everything else before a datagram is dropped.
const SEND_WAIT_MS: u8 = 5;

/// The packet thread's own.
pub(super) struct Packets {
    shared: Arc<Shared>,
    tun: File,
    sockets: Option<Arc<UdpPair>>,
    batch: Batch,
    buffer: Box<[u8]>,
}

/// What `poll` found.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    stop: bool,
    nudge: bool,
    tun: bool,
    v4: bool,
    v6: bool,
}

/// What reading once gave.
enum Taken {
    Some,
    Nothing,
    /// The TUN device was deleted.
    Gone,
}

impl Packets {
    pub(super) fn new(shared: Arc<Shared>, tun: OwnedFd) -> Self {
        Self {
            shared,
            tun: tun.into(),
            sockets: None,
            batch: Batch::with_capacity(2 * ROOM_FOR_ANY),
            buffer: vec![0; LARGEST + PADDING].into(),
        }
    }

    /// Until told to stop, or until the TUN device is gone.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            let ready = self.wait()?;
            if ready.stop {
                return Ok(());
            }
            if ready.nudge {
                let _drained = self.shared.nudge.read();
                self.sockets = self.shared.sockets();
            }
            self.tick();
            self.receive(ready);
            if ready.tun && !self.transmit()? {
                tracing::info!(interface = self.shared.name, "interface was deleted");
                return Ok(());
            }
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let stop = self.shared.stop.as_fd();
        // Where there is no socket, the stop signal stands in: once that is readable nothing else matters.
        let v4 = self.sockets.as_ref().map_or(stop, |sockets| sockets.v4.as_fd());
        let v6 = self.sockets.as_ref().and_then(|sockets| sockets.v6.as_ref()).map_or(stop, |v6| v6.as_fd());
        let mut fds = [stop, self.shared.nudge.as_fd(), self.tun.as_fd(), v4, v6]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let deadline = self.shared.core().deadline();
        match poll(&mut fds, timeout(deadline)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let [stop, nudge, tun, v4, v6] = fds.map(|fd| fd.any().unwrap_or(true));
        Ok(Ready { stop, nudge, tun, v4, v6 })
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.shared.core().tick(now, &mut self.batch);
        self.flush();
    }

    /// From the sockets to the interface.
    fn receive(&mut self, ready: Ready) {
        let Some(sockets) = self.sockets.clone() else { return };
        let now = Instant::now();
        let v6 = sockets.v6.as_ref().filter(|_| ready.v6);
        for socket in [Some(&sockets.v4).filter(|_| ready.v4), v6].into_iter().flatten() {
            for _ in 0..BUDGET {
                self.make_room();
                let Some((length, from)) = receive_one(socket, &mut self.buffer) else { break };
                self.shared.core().inbound(&self.buffer[..length], from, now, &mut self.batch);
            }
            self.flush();
        }
    }

    /// From the interface to the sockets; `false` when the interface is gone.
    fn transmit(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        for _ in 0..BUDGET {
            self.make_room();
            match self.transmit_one(now)? {
                Taken::Some => {}
                Taken::Nothing => break,
                Taken::Gone => return Ok(false),
            }
        }
        self.flush();
        Ok(true)
    }

    fn transmit_one(&mut self, now: Instant) -> io::Result<Taken> {
        match self.tun.read(&mut self.buffer[..LARGEST]) {
            Ok(length) => {
                self.shared.core().outbound(&mut self.buffer, length, now, &mut self.batch);
                Ok(Taken::Some)
            }
            Err(error) if error.raw_os_error() == Some(libc::EBADFD) => Ok(Taken::Gone),
            Err(error) if is_momentary(&error) => Ok(Taken::Nothing),
            Err(error) => Err(error),
        }
    }

    fn make_room(&mut self) {
        if self.batch.free() < ROOM_FOR_ANY {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (to, datagram) in self.batch.datagrams() {
            if let Some(socket) = self.sockets.as_ref().and_then(|sockets| sockets.towards(to)) {
                send_one(socket, datagram, to);
            }
        }
        for packet in self.batch.packets() {
            // Refused while the interface is down, and if the packet is none that the kernel likes.
            if let Err(error) = (&self.tun).write(packet) {
                tracing::trace!(%error, "the interface refused a packet");
            }
        }
        self.batch.clear();
    }
}

/// Until the deadline, rounded up so that it is past when poll(2) returns.
fn timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now());
    let rounded = if left.is_zero() { left } else { left + Duration::from_millis(1) };
    PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX)
}

/// Errors of a UDP socket are news of earlier datagrams, or of memory: none of them ends it.
fn receive_one(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(buffer) {
        Ok(received) => Some(received),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) => {
            tracing::debug!(%error, "a socket gave an error");
            None
        }
    }
}

/// Sends a datagram, waiting a little for a full queue; what cannot be sent is dropped, as networks do.
fn send_one(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) {
    let mut sent = socket.send_to(datagram, to);
    if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        let _timed_out = poll(&mut fds, SEND_WAIT_MS);
        sent = socket.send_to(datagram, to);
    }
    if let Err(error) = sent {
        tracing::debug!(%error, "a datagram was not sent");
    }
}

/// Nothing there, or nothing yet. A TUN device that is down gives EIO.
fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::EIO)
}
