//! The last packets of some interfaces, kept in memory until somebody wants them in a file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeWriter};
use std::mem::size_of;
use std::os::fd::AsFd;
use std::slice::from_ref;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use super::file::Writer;
use super::tap::{PACKET_BYTES, Packet, Tap};
use super::{Tally, round, since_1970, wait};

/// The last packets of its taps, so many bytes of them and no more.
#[derive(Debug)]
pub struct Ring {
    kept: Arc<Kept>,
    /// Whoever listens ends with it.
    _listens: PipeWriter,
}

#[derive(Debug)]
struct Kept {
    taps: Vec<Tap>,
    packets: Mutex<Packets>,
}

#[derive(Debug)]
struct Packets {
    /// Each with the number of its tap.
    last: VecDeque<(usize, Packet<'static>)>,
    bytes: usize,
    bytes_max: usize,
    /// What had to go, by tap.
    gone: Vec<u64>,
    buffer: Vec<u8>,
}

impl Ring {
    /// Begins to listen, and keeps at most so many bytes.
    pub fn start(taps: Vec<Tap>, bytes_max: usize) -> io::Result<Self> {
        let (ended, listens) = io::pipe()?;
        let packets = Packets::new(taps.len(), bytes_max);
        let kept = Arc::new(Kept { taps, packets: Mutex::new(packets) });
        let heard = Arc::clone(&kept);
        let listen = move || {
            let ended = PollFd::new(ended.as_fd(), PollFlags::POLLIN);
            while let Ok(false) = wait(&heard.taps, None, from_ref(&ended)) {
                let mut packets = heard.packets.lock().unwrap_or_else(PoisonError::into_inner);
                // What cannot be read is counted as lost in the end.
                let _ = packets.take_some(&heard.taps);
            }
        };
        thread::Builder::new().name("capture".into()).spawn(listen)?;
        Ok(Self { kept, _listens: listens })
    }

    /// Writes what was seen since a time, which counts from 1970, of the taps whose names are meant.
    pub fn save(&self, out: File, is_meant: impl Fn(&str) -> bool, since: Duration) -> io::Result<()> {
        let mut packets = self.kept.packets.lock().unwrap_or_else(PoisonError::into_inner);
        packets.catch_up(&self.kept.taps)?;
        let taps = self.kept.taps.iter().enumerate();
        let meant: Vec<(usize, &Tap)> = taps.filter(|(_, tap)| is_meant(tap.name())).collect();
        let mut file = Writer::begin(out, meant.iter().map(|(_, tap)| *tap))?;
        let mut tallies = vec![Tally::default(); meant.len()];
        for (tap, packet) in packets.last.iter().filter(|(_, packet)| packet.time >= since) {
            let Some(number) = meant.iter().position(|(meant, _)| meant == tap) else { continue };
            file.packet(number, packet)?;
            tallies[number].written += 1;
        }
        for (number, (at, tap)) in meant.into_iter().enumerate() {
            packets.gone[at] += tap.dropped()?;
            tallies[number].dropped = packets.gone[at];
            file.statistics(number, tallies[number])?;
        }
        file.flush()
    }
}

impl Packets {
    fn new(taps: usize, bytes_max: usize) -> Self {
        let (gone, buffer) = (vec![0; taps], vec![0; PACKET_BYTES]);
        Self { last: VecDeque::new(), bytes: 0, bytes_max, gone, buffer }
    }

    /// Takes what had arrived by now, however much arrives meanwhile.
    fn catch_up(&mut self, taps: &[Tap]) -> io::Result<()> {
        let now = since_1970();
        while self.take_some(taps)?.is_some_and(|last| last < now) {}
        Ok(())
    }

    /// Takes some of what waits; returns the time of the last of it.
    fn take_some(&mut self, taps: &[Tap]) -> io::Result<Option<Duration>> {
        let packets = round(taps, &mut self.buffer)?;
        let last = packets.last().map(|(_, packet)| packet.time);
        packets.into_iter().for_each(|(tap, packet)| self.keep(tap, packet));
        Ok(last)
    }

    fn keep(&mut self, tap: usize, packet: Packet<'static>) {
        self.bytes += held(&packet);
        self.last.push_back((tap, packet));
        while self.bytes > self.bytes_max
            && let Some((tap, packet)) = self.last.pop_front()
        {
            self.bytes -= held(&packet);
            self.gone[tap] += 1;
        }
    }
}

/// The bytes that a packet takes in memory.
fn held(packet: &Packet<'static>) -> usize {
    size_of::<(usize, Packet<'static>)>() + packet.data.len()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::tap::Direction;
    use super::*;

    #[test]
    fn no_more_is_kept_than_was_said() {
        let packet = || Packet {
            time: Duration::ZERO,
            direction: Direction::Inbound,
            original_bytes: 10,
            data: Cow::Owned(vec![0; 10]),
        };
        let each = held(&packet());
        let mut packets = Packets::new(2, 2 * each + 5);
        [0, 1, 1, 0].into_iter().for_each(|tap| packets.keep(tap, packet()));
        assert_eq!(packets.last.iter().map(|(tap, _)| *tap).collect::<Vec<_>>(), [1, 0]);
        assert_eq!((packets.bytes, packets.gone), (2 * each, vec![1, 1]));
    }
}
