//! `rdom status --watch`: looks when the supervisor tells that something has happened, and now and then, for what nobody
//! tells of: counters, ages, handshakes. Without a supervisor the kernel is looked at.

use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};

use super::super::live::Live;
use super::super::say::answer;
use super::super::trouble::Trouble;
use super::super::{Common, Ended};
use super::screen::{self, Screen};
use super::{seen, shown};
use crate::control::Client;
use crate::status::StatusView;

/// How long to look away while nothing is told.
const EVERY: Duration = Duration::from_secs(2);
/// How long at least to look away, however much happens.
const REST: Duration = Duration::from_millis(200);

/// How long the network may be out of sight, as while it is taken over, before that is an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is told while nobody looks.
#[derive(Clone, Copy, Debug)]
enum Sign {
    /// Something has happened to the network.
    Stirred,
    /// The supervisor tells no more.
    Silent,
    /// A signal has come.
    Signal(Signal),
}

/// What comes after a wait.
enum Next {
    Show,
    Down,
    Signal(Signal),
}

/// A network, and what it was when it was last looked at.
struct Watch<'l> {
    live: &'l Live,
    common: &'l Common,
    view: StatusView,
    looked: Instant,
    due: Instant,
    listens: bool,
    sender: Sender<Sign>,
    signs: Receiver<Sign>,
}

pub(super) fn run(live: &Live, view: StatusView, common: &Common) -> Ended {
    let redraws = screen::is_there() && !common.json;
    let (sender, signs) = channel();
    if redraws {
        hear_signals(sender.clone()).map_err(Trouble::failed)?;
    }
    let now = Instant::now();
    let mut watch =
        Watch { live, common, view, looked: now, due: now + EVERY, listens: false, sender, signs };
    watch.listen();
    if redraws { watch.redraw() } else { watch.print() }
}

/// From here on, in every thread that begins later.
fn hear_signals(sender: Sender<Sign>) -> io::Result<()> {
    let signals = SigSet::from_iter(screen::SIGNALS);
    signals.thread_block()?;
    let hear = move || while signals.wait().is_ok_and(|signal| sender.send(Sign::Signal(signal)).is_ok()) {};
    thread::Builder::new().name("signals".into()).spawn(hear).map(drop)
}

impl Watch<'_> {
    /// The whole, again and again, in the place of the terminal's text.
    fn redraw(&mut self) -> Ended {
        let mut screen = Screen::enter()?;
        loop {
            screen.draw(&shown(&self.view, self.common)?).map_err(Trouble::failed)?;
            match self.next()? {
                Next::Show | Next::Signal(Signal::SIGWINCH) => {}
                Next::Down => return Ok(ExitCode::SUCCESS),
                Next::Signal(Signal::SIGTSTP) => screen.stop()?,
                Next::Signal(signal) => return Ok(ExitCode::from(128_u8.wrapping_add(signal as u8))),
            }
        }
    }

    /// The whole whenever it is another one; for people, ages and counters alone make none.
    fn print(&mut self) -> Ended {
        let mut last = None;
        loop {
            let now =
                if self.common.json { self.view.clone() } else { self.view.without_ages_and_counters() };
            if last.as_ref() != Some(&now) {
                answer(shown(&self.view, self.common)?)?;
            }
            last = Some(now);
            if let Next::Down = self.next()? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }

    /// Waits until there is something to show.
    fn next(&mut self) -> Result<Next, Trouble> {
        loop {
            match self.signs.recv_timeout(self.due.saturating_duration_since(Instant::now())) {
                Ok(Sign::Signal(signal)) => return Ok(Next::Signal(signal)),
                Ok(Sign::Stirred) => self.due = self.due.min(self.looked + REST),
                Ok(Sign::Silent) => self.listens = false,
                Err(_) => return self.look(),
            }
        }
    }

    fn look(&mut self) -> Result<Next, Trouble> {
        let now = Instant::now();
        self.due = now + EVERY;
        if !self.live.is_there() {
            return Ok(Next::Down);
        }
        match seen(self.live) {
            Ok(view) => (self.view, self.looked) = (view, now),
            Err(trouble) if now > self.looked + PATIENCE => return Err(trouble),
            // It goes down, or is taken over.
            Err(_) => self.due = now + REST,
        }
        self.listen();
        Ok(Next::Show)
    }

    /// Unless that is done already, or there is nobody to listen to.
    fn listen(&mut self) {
        if self.listens || self.view.supervisor.is_none() {
            return;
        }
        let (client, sender) = (Client::of(&self.live.directories), self.sender.clone());
        let listen = move || {
            let stirred = || {
                let _nobody_watches = sender.send(Sign::Stirred);
            };
            if client.listen(stirred).is_ok() {
                stirred();
            }
            let _nobody_watches = sender.send(Sign::Silent);
        };
        self.listens = thread::Builder::new().name("listener".into()).spawn(listen).is_ok();
    }
}
