//! The thread for everything that is no packet: UAPI clients, opening sockets, link events. One for all interfaces of
//! the process, so that an idle one costs no thread.
//!
//! It waits on one epoll(7) instance. Descriptors tell of changes only (EPOLLET), so whoever has a turn looks at all
//! of its own until none is ready, or until its budget is spent and it has another turn.
//!
//! Interfaces that came up in some order may be found up in another one. So nobody is spoken to for one that has come up
//! until nothing else is ready: a peer that came up before it listens by then. Otherwise the first handshake would be
//! lost, and tried again only after five seconds (the Rekey-Timeout of the WireGuard paper, 6.1).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};

use super::control::Control;
use super::events::Events;

/// How many events one call may bring.
const EVENTS_MAX: usize = 32;

/// The running thread.
pub(super) struct Controls {
    common: Arc<Common>,
    thread: Option<JoinHandle<()>>,
}

/// Names a control that was added.
#[derive(Clone, Copy, Debug)]
pub(super) struct ControlId(u64);

/// Has the thread give a control its turn.
pub(super) struct Watch {
    common: Arc<Common>,
    id: ControlId,
}

/// What a turn left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nothing, until a descriptor is ready.
    Nothing,
    /// Something at this time, whatever happens.
    At(Instant),
    /// Nothing, ever.
    Over,
}

struct Common {
    events: Events,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    by_id: BTreeMap<u64, Control>,
    last_id: u64,
}

impl Controls {
    /// That of this process: the running one, or a new one, which lives in the namespaces of the calling thread.
    pub(super) fn of_process() -> io::Result<Arc<Self>> {
        static RUNNING: Mutex<Weak<Controls>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(controls) = running.upgrade() {
            return Ok(controls);
        }
        let controls = Arc::new(Self::start()?);
        *running = Arc::downgrade(&controls);
        Ok(controls)
    }

    /// Adds what is made. Its descriptors wait until it has been added.
    pub(super) fn add(&self, make: impl FnOnce(Watch) -> io::Result<Control>) -> io::Result<ControlId> {
        let mut running = self.common.running();
        running.last_id += 1;
        let id = ControlId(running.last_id);
        let control = make(Watch { common: Arc::clone(&self.common), id })?;
        running.by_id.insert(id.0, control);
        Ok(id)
    }

    /// Ends it, after its turn.
    pub(super) fn remove(&self, id: ControlId) {
        self.common.running().by_id.remove(&id.0);
    }

    /// Whether it has not ended.
    pub(super) fn is_running(&self, id: ControlId) -> bool {
        self.common.running().by_id.contains_key(&id.0)
    }

    fn start() -> io::Result<Self> {
        let common = Arc::new(Common { events: Events::new()?, running: Mutex::default() });
        let of_thread = Arc::clone(&common);
        let thread = thread::Builder::new().name("wg-settings".into()).spawn(move || of_thread.work())?;
        Ok(Self { common, thread: Some(thread) })
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        self.common.events.stop();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Watch {
    /// From now on, until the descriptor is closed.
    pub(super) fn add(&self, descriptor: impl AsFd) -> io::Result<()> {
        let changes = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        self.common.events.add(descriptor, EpollEvent::new(changes, self.id.0))
    }
}

impl Common {
    fn work(&self) {
        let mut room = [EpollEvent::empty(); EVENTS_MAX];
        let (mut due, mut silent) = (BTreeMap::new(), BTreeSet::new());
        loop {
            let timeout = if silent.is_empty() { timeout(&due) } else { EpollTimeout::ZERO };
            let mut ids: BTreeSet<u64> = match self.events.wait(&mut room, timeout) {
                Ok(Some(ids)) => ids.collect(),
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, "the thread of wireguard's settings ends"),
            };
            let now = Instant::now();
            ids.extend(due.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id));
            if ids.is_empty() {
                std::mem::take(&mut silent).into_iter().for_each(|id| self.speak(id));
            }
            for id in ids {
                match self.turn(id, &mut silent) {
                    Left::At(at) => due.insert(id, at),
                    Left::Nothing | Left::Over => due.remove(&id),
                };
            }
        }
    }

    /// Gives a control its turn, after which it may have ended, or is silent yet.
    fn turn(&self, id: u64, silent: &mut BTreeSet<u64>) -> Left {
        let mut running = self.running();
        let Some(control) = running.by_id.get_mut(&id) else { return Left::Over };
        let left = catch_unwind(AssertUnwindSafe(|| control.turn())).unwrap_or(Left::Over);
        if control.is_silent() {
            silent.insert(id);
        }
        if left == Left::Over {
            running.by_id.remove(&id);
        }
        left
    }

    fn speak(&self, id: u64) {
        if let Some(control) = self.running().by_id.get_mut(&id) {
            control.speak();
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until the first of these.
fn timeout(due: &BTreeMap<u64, Instant>) -> EpollTimeout {
    due.values().min().map_or(EpollTimeout::NONE, |at| {
        let left = at.saturating_duration_since(Instant::now());
        let left = if left.is_zero() { left } else { left + Duration::from_millis(1) };
        EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
    })
}
