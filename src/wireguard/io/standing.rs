//! Tells a queue that only makes everything late from one that takes up a burst: CoDel (RFC 8289), for what waits in a
//! socket.
//!
//! Short queues come and go. One in which datagrams have waited for longer than [`TARGET`] through a whole [`INTERVAL`],
//! and more of them than are one burst, stands: whoever fills it is to slow down, and is told so more and more often until
//! it does.

use std::time::{Duration, Instant};

use super::udp::BUFFER_BYTES;

/// A tenth of the interval, at the upper end of what the RFC has.
const TARGET: Duration = Duration::from_millis(1);
/// More than a round trip on one machine or in one building.
const INTERVAL: Duration = Duration::from_millis(10);
/// What a socket's buffer holds may have come at once, however long it takes to read it on a busy machine.
const BURST_BYTES: usize = BUFFER_BYTES;
/// What does not slow down is not told more often than this many times in an interval.
const TOLD_MAX: u32 = 10;

/// What is known of a queue.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// When somebody is told next, if the queue stands until then.
    next: Option<Instant>,
    /// How often somebody was told since it stands.
    told: u32,
    /// How much was read since it stands.
    bytes: usize,
}

impl Standing {
    /// Whether the sender of so many bytes, of which the first have waited for so long, is to be told.
    pub(super) fn tells(&mut self, bytes: usize, waited: Duration, now: Instant) -> bool {
        if waited < TARGET {
            *self = Self::default();
            return false;
        }
        self.bytes += bytes;
        if now < *self.next.get_or_insert(now + INTERVAL) || self.bytes <= BURST_BYTES {
            return false;
        }
        self.told += 1;
        let often = f64::from(self.told).sqrt().min(f64::from(TOLD_MAX));
        self.next = Some(now + INTERVAL.div_f64(often));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(2);
    const READ: usize = 64 << 10;

    /// How often somebody is told in a hundred intervals in which everything waits for so long.
    fn told(waited: impl Fn(u32) -> Duration) -> usize {
        let (mut standing, start) = (Standing::default(), Instant::now());
        (0..10_000).filter(|step| standing.tells(READ, waited(*step), start + *step * INTERVAL / 100)).count()
    }

    #[test]
    fn a_queue_that_stands_is_told_of_more_and_more_often() {
        let mut standing = Standing::default();
        let start = Instant::now();
        let times: Vec<_> =
            (0..500).filter(|step| standing.tells(READ, LATE, start + *step * INTERVAL / 100)).collect();
        let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(times[0], 100, "not before an interval is over");
        assert!(gaps.is_sorted_by(|a, b| a >= b) && gaps.last() < Some(&50), "{times:?}");
    }

    #[test]
    fn not_more_often_than_helps() {
        let told = told(|_| LATE);
        assert!((500..=100 * TOLD_MAX as usize).contains(&told), "{told}");
    }

    #[test]
    fn bursts_are_let_through() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let mut steps = 0..(BURST_BYTES / READ) as u32;
        assert!(!steps.any(|step| standing.tells(READ, LATE, start + step * INTERVAL)), "on a busy machine");
        assert_eq!(told(|_| TARGET / 2), 0);
        assert_eq!(told(|step| if step % 50 == 0 { Duration::ZERO } else { LATE }), 0);
    }
}
