//! What a supervisor hears of signals and of its terminal.

use std::io::{self, IsTerminal};
use std::thread;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::transaction::Signals;

/// Puts each signal that comes into a queue, until nobody receives from it.
pub(super) fn forward<E>(signals: Signals, queue: mpsc::Sender<E>) -> io::Result<()>
where
    E: From<Signal> + Send + 'static,
{
    if signals.are_none() {
        return Ok(());
    }
    let tell = move || {
        while let Ok(signal) = signals.wait() {
            if queue.blocking_send(signal.into()).is_err() {
                break;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(tell).map(|_| ())
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
