//! The jobs of an interface: what it hands over is sealed and sent, what its sockets receive is opened and written,
//! and what is due is done. Each runs to completion: no queue between reading and writing.

use std::fs::File;
use std::io::{self, Read};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Instant;

use super::inbox::MESSAGES_MAX;
use super::scratch::{Reads, Scratch};
use super::workers::{Job, Next};
use super::{Shared, UdpPair};

/// How often a job reads before others have their turn.
const TURNS: usize = 16;

/// From a queue of the interface to the sockets.
pub(super) struct Outward {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
}

/// From a socket to the queue of its number.
pub(super) struct Inward {
    pub(super) shared: Arc<Shared>,
    pub(super) sockets: Arc<[UdpPair]>,
    pub(super) number: usize,
    pub(super) family: Family,
}

/// What peers need although no packet comes.
pub(super) struct Clock(pub(super) Arc<Shared>);

/// Which of a pair of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What reading the interface gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// There may be more.
    Enough,
    /// There is no more.
    All,
    /// The interface was deleted.
    Gone,
}

impl Job for Outward {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue().as_fd()
    }

    fn run(&self, scratch: &mut Scratch) -> Next {
        for _ in 0..TURNS {
            let taken = self.read(&mut scratch.reads);
            self.seal(scratch);
            match taken {
                Ok(Taken::Enough) => {}
                Ok(Taken::All) => break,
                Ok(Taken::Gone) => {
                    self.shared.gone();
                    return Next::Over;
                }
                Err(error) => {
                    tracing::error!(interface = self.shared.name, %error, "the wireguard engine ends");
                    self.shared.stop();
                    return Next::Over;
                }
            }
        }
        Next::Again
    }

    fn failed(&self) {
        self.shared.stop();
    }
}

impl Outward {
    fn queue(&self) -> &File {
        self.shared.tun.queue(self.number)
    }

    fn read(&self, reads: &mut Reads) -> io::Result<Taken> {
        let (mut queue, has_header) = (self.queue(), self.shared.tun.has_header());
        while let Some(room) = reads.room() {
            match queue.read(room) {
                Ok(length) => reads.push(length, has_header),
                Err(error) if error.raw_os_error() == Some(libc::EBADFD) => return Ok(Taken::Gone),
                Err(error) if is_momentary(&error) => return Ok(Taken::All),
                Err(error) => return Err(error),
            }
        }
        Ok(Taken::Enough)
    }

    fn seal(&self, scratch: &mut Scratch) {
        let Scratch { batch, reads, .. } = scratch;
        let now = Instant::now();
        let mut core = self.shared.core();
        let mut turn = core.turn(now);
        for mut segments in reads.packets() {
            turn.outbound(&mut segments, batch);
            while !segments.is_done() {
                drop(turn);
                drop(core);
                self.shared.flush(batch, self.number);
                core = self.shared.core();
                turn = core.turn(now);
                turn.outbound(&mut segments, batch);
            }
        }
        drop(turn);
        drop(core);
        reads.clear();
        self.shared.flush(batch, self.number);
    }
}

impl Job for Inward {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }

    fn run(&self, scratch: &mut Scratch) -> Next {
        for _ in 0..TURNS {
            match scratch.inbox.receive(self.socket()) {
                Ok(count) => {
                    self.open(scratch);
                    if count < MESSAGES_MAX {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!(%error, "a socket gave an error");
                    break;
                }
            }
        }
        Next::Again
    }

    fn failed(&self) {
        self.shared.stop();
    }
}

impl Inward {
    fn socket(&self) -> &UdpSocket {
        let pair = &self.sockets[self.number];
        match self.family {
            Family::V4 => &pair.v4,
            Family::V6 => pair.v6.as_ref().unwrap_or(&pair.v4),
        }
    }

    fn open(&self, scratch: &mut Scratch) {
        let Scratch { batch, inbox, .. } = scratch;
        let now = Instant::now();
        let mut core = self.shared.core();
        let mut turn = core.turn(now);
        for mut train in inbox.trains() {
            turn.inbound(&mut train, batch);
            while !train.is_empty() {
                drop(turn);
                drop(core);
                self.shared.flush(batch, self.number);
                core = self.shared.core();
                turn = core.turn(now);
                turn.inbound(&mut train, batch);
            }
        }
        drop(turn);
        drop(core);
        self.shared.flush(batch, self.number);
    }
}

impl Job for Clock {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.alarm.as_fd()
    }

    fn run(&self, scratch: &mut Scratch) -> Next {
        self.0.tick(&mut scratch.batch);
        self.0.flush(&mut scratch.batch, 0);
        Next::Again
    }

    fn failed(&self) {
        self.0.stop();
    }
}

/// Nothing there, or nothing yet. A TUN device that is down gives EIO.
fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(libc::EIO)
}
