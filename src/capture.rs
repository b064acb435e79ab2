//! Packets as interfaces see them, of several interfaces in several domains at once, as one stream of pcapng.
//!
//! A tap is a packet(7) socket that was opened in its interface's namespace and stays there; who holds it may be
//! anywhere. Nothing is kept but what the kernel queues for each tap and one round of packets on their way; [`Ring`] keeps
//! the last packets, and no more bytes of them than it was told.

mod file;
mod ring;
mod tap;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

pub use ring::Ring;
pub use tap::{LinkType, Tap, TapError};

use file::Writer;
use tap::{PACKET_BYTES, Packet};

/// The most packets that one tap gives before the others and the end are looked at again.
const ROUND: usize = 64;
/// How often it is looked whether the interfaces are still there: not everything that takes one away wakes its tap.
const LOOK: Duration = Duration::from_secs(1);

/// When a recording ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// So many packets, over all taps.
    pub packets: Option<u64>,
    /// So long.
    pub time: Option<Duration>,
}

/// What a tap has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that were written.
    pub written: u64,
    /// Packets that the kernel had no room for.
    pub dropped: u64,
}

/// Writes every packet of the taps until a limit is reached, somebody can read from `stop`, all interfaces are gone,
/// or nobody reads what is written; returns what each tap has seen. Unless nobody reads it the stream is whole.
pub fn record(taps: &[Tap], out: File, limits: Limits, stop: BorrowedFd<'_>) -> io::Result<Vec<Tally>> {
    let mut tallies = vec![Tally::default(); taps.len()];
    let deadline = limits.time.map(|time| Instant::now() + time);
    let left = limits.packets.unwrap_or(u64::MAX);
    let reader = out.try_clone()?;
    let ended = Writer::begin(out, taps).and_then(|file| {
        let buffer = vec![0; PACKET_BYTES];
        let mut recording = Recording { taps, file, tallies: &mut tallies, buffer, left };
        // That nobody reads a pipe any more is an error, which is not asked for but told in any case.
        let reader = PollFd::new(reader.as_fd(), PollFlags::empty());
        recording.run(deadline, &[PollFd::new(stop, PollFlags::POLLIN), reader])?;
        recording.end()
    });
    match ended {
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        ended => ended?,
    }
    Ok(tallies)
}

struct Recording<'t> {
    taps: &'t [Tap],
    file: Writer,
    tallies: &'t mut [Tally],
    buffer: Vec<u8>,
    /// How many packets may still be written.
    left: u64,
}

impl Recording<'_> {
    fn run(&mut self, deadline: Option<Instant>, ends: &[PollFd<'_>]) -> io::Result<()> {
        while self.left > 0 {
            if wait(self.taps, deadline, ends)? {
                return self.catch_up();
            }
            if self.round()?.is_none() && self.taps.iter().all(Tap::is_gone) {
                break;
            }
            self.file.flush()?;
        }
        Ok(())
    }

    /// Writes what had arrived by now, however much arrives meanwhile.
    fn catch_up(&mut self) -> io::Result<()> {
        let now = since_1970();
        while self.left > 0 && self.round()?.is_some_and(|last| last < now) {}
        Ok(())
    }

    /// Writes some of what waits; returns the time of the last of it.
    fn round(&mut self) -> io::Result<Option<Duration>> {
        let mut packets = round(self.taps, &mut self.buffer)?;
        packets.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        for (number, packet) in &packets {
            self.file.packet(*number, packet)?;
            self.tallies[*number].written += 1;
        }
        self.left -= packets.len() as u64;
        Ok(packets.last().map(|(_, packet)| packet.time))
    }

    fn end(&mut self) -> io::Result<()> {
        for (tap, tally) in self.taps.iter().zip(&mut *self.tallies) {
            tally.dropped = tap.dropped()?;
        }
        self.tallies
            .iter()
            .enumerate()
            .try_for_each(|(number, tally)| self.file.statistics(number, *tally))?;
        self.file.flush()
    }
}

/// Some of what waits at each tap, with the tap's number, the oldest first.
fn round(taps: &[Tap], buffer: &mut [u8]) -> io::Result<Vec<(usize, Packet<'static>)>> {
    let mut packets = Vec::new();
    for (number, tap) in taps.iter().enumerate() {
        for _ in 0..ROUND {
            let Some(packet) = tap.receive(buffer)? else { break };
            packets.push((number, packet.into_owned()));
        }
    }
    packets.sort_by_key(|(_, packet)| packet.time);
    Ok(packets)
}

/// Waits for packets; returns whether it is time to end instead: the deadline is over, or one of `ends` has happened.
fn wait(taps: &[Tap], deadline: Option<Instant>, ends: &[PollFd<'_>]) -> io::Result<bool> {
    let listening = taps.iter().map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN));
    let mut polled: Vec<_> = ends.iter().cloned().chain(listening).collect();
    let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
    // Rounded up, so that the last wait is not many of nothing.
    let timeout = PollTimeout::try_from(left.min(LOOK).as_millis() + 1).unwrap_or(PollTimeout::MAX);
    match poll(&mut polled, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_ended = polled[..ends.len()].iter().any(|end| end.any().unwrap_or(false));
    Ok(is_ended || deadline.is_some_and(|deadline| Instant::now() >= deadline))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
