//! The signals that a change is interrupted by, held back until it asks: it is never interrupted, only told.

use std::io;
use std::mem::MaybeUninit;

use nix::libc;
use nix::sys::signal::{SigSet, Signal};

/// SIGINT, SIGTERM and SIGHUP, blocked in this thread and in those that it starts.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    set: SigSet,
}

impl Signals {
    /// Holds them back. To be called before there is a second thread.
    pub fn hold() -> io::Result<Self> {
        let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        set.thread_block()?;
        Ok(Self { set })
    }

    /// Holds none back: for a private copy, which they may end.
    pub fn none() -> Self {
        Self { set: SigSet::empty() }
    }

    /// Whether none is held back.
    pub fn are_none(&self) -> bool {
        self.set.iter().next().is_none()
    }

    /// Whether one has come and waits.
    pub fn pending(&self) -> bool {
        let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
        // The kernel fills the set in, or says why not.
        if unsafe { libc::sigpending(pending.as_mut_ptr()) } != 0 {
            return false;
        }
        let pending = unsafe { SigSet::from_sigset_t_unchecked(pending.assume_init()) };
        self.set.iter().any(|signal| pending.contains(signal))
    }

    /// Waits for one of them.
    pub fn wait(&self) -> io::Result<Signal> {
        Ok(self.set.wait()?)
    }
}
