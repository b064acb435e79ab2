//! The signals that a supervisor is told by, held back until it asks: it is never interrupted, only told.

use std::io::{self, IsTerminal};
use std::mem::MaybeUninit;
use std::thread;

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use tokio::sync::mpsc;

/// SIGINT, SIGTERM and SIGHUP, blocked in this thread and in those that it starts.
#[derive(Debug)]
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

    /// Puts each one that comes into a queue, until nobody receives from it.
    pub(super) fn forward<E: From<Signal> + Send + 'static>(&self, queue: mpsc::Sender<E>) -> io::Result<()> {
        let set = self.set;
        let tell = move || {
            while let Ok(signal) = set.wait() {
                if queue.blocking_send(signal.into()).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(tell).map(|_| ())
    }
}

/// The terminal that this process speaks to, if it does. A hangup means the end of it, or else a wish (signal(7)).
#[derive(Clone, Copy, Debug)]
pub(super) enum Terminal {
    /// Standard error was one.
    Here,
    /// It was something else.
    None,
}

impl Terminal {
    /// The one that there is at this moment.
    pub(super) fn now() -> Self {
        if io::stderr().is_terminal() { Self::Here } else { Self::None }
    }

    /// Whether it has hung up: one that has answers nothing any more.
    pub(super) fn is_gone(self) -> bool {
        match self {
            Terminal::Here => !io::stderr().is_terminal(),
            Terminal::None => false,
        }
    }
}
