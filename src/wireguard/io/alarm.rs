//! The timer of a core's clock.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::wireguard::core::whole;

/// Readable once a deadline has come.
pub(super) struct Alarm {
    timer: TimerFd,
    set_to: Mutex<Option<Instant>>,
}

impl Alarm {
    /// One that is not set.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, set_to: Mutex::new(None) })
    }

    /// It goes off by then at the latest: too early costs one look.
    pub(super) fn set(&self, deadline: Instant) {
        let mut set_to = whole(self.set_to.lock());
        if set_to.is_some_and(|at| at <= deadline) {
            return;
        }
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(left));
        match self.timer.set(expiration, TimerSetTimeFlags::empty()) {
            Ok(()) => *set_to = Some(deadline),
            Err(error) => tracing::error!(%error, "a timer was not set"),
        }
    }

    /// It has gone off, and is not set any more.
    pub(super) fn went_off(&self) {
        let mut set_to = whole(self.set_to.lock());
        let _drained = nix::unistd::read(&self.timer, &mut [0; 8]);
        *set_to = None;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
