//! What a supervisor is told while its network is up, one thing at a time, and what it does then.

use std::{io, thread};

use nix::sys::signal::Signal;
use tracing::{info, warn};

use super::apply::texts;
use super::lookup::Found;
use super::residents::{Eviction, Resident, end_all, residents_of};
use super::signals::Terminal;
use super::{
    DownError, Entrances, KeptError, Lodging, Supervisor, admission, confirm, forget, greet, open_door,
    residents, service_manager, signals, take_down_kept,
};
use crate::backend::BackendError;
use crate::backend::linux::monitor::Heard;
use crate::control::enter::Ask;
use crate::control::{self, Request, Residents, Terms};
use crate::diagnostic::chain;
use crate::exec::group;
use crate::memory;
use crate::model::Control;
use crate::status::Occurrence;
use crate::transaction::Failure;

/// What a supervisor is told.
#[derive(Debug)]
pub(super) enum Event {
    Request(Request),
    Ask(Ask),
    Signal(Signal),
    /// A process with userspace engines is gone.
    EngineEnded,
    /// What keeps services is gone.
    KeeperEnded,
    /// Something has changed in namespaces of the network, or time has passed.
    Heard(Heard),
    /// The name of an endpoint has been looked up.
    Found(Found),
    /// A change may have waited long enough to be confirmed.
    TimeIsUp,
    /// A service manager waits for a sign of life.
    LifeAskedFor,
}

impl From<Request> for Event {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Ask> for Event {
    fn from(ask: Ask) -> Self {
        Self::Ask(ask)
    }
}

impl From<Signal> for Event {
    fn from(signal: Signal) -> Self {
        Self::Signal(signal)
    }
}

impl Supervisor {
    /// Keeps the network until a signal or a request ends it, then takes it down. Where processes live in its domains a
    /// request without further terms changes nothing, and a signal leaves it to the next supervisor.
    pub fn serve(mut self) -> Result<(), DownError> {
        service_manager::ready(&self.desired);
        let terminal = Terminal::now();
        self.hear_signals();
        self.begin_to_watch();
        memory::give_back();
        while let Some(event) = self.came_first.pop_front().or_else(|| self.queue.blocking_recv()) {
            match event {
                Event::Request(Request::Status(reply)) => drop(reply.send(self.status())),
                Event::Ask(Ask { caller, word, reply }) => {
                    drop(reply.send(admission::admit(&self.desired, &self.directories, &caller, &word)));
                }
                Event::Request(Request::Impair(wanted, reply)) => drop(reply.send(self.impair(&wanted))),
                Event::Request(Request::Confirm(reply)) => drop(reply.send(self.confirm())),
                Event::Request(Request::Down(Residents::Kill, reply)) => {
                    let (name, directories) = (self.desired.name.clone(), self.directories.clone());
                    let then = Request::Down(Residents::Keep, reply);
                    self.evict(move || residents(&name, &directories), then);
                }
                Event::Request(Request::Down(Residents::Keep, reply)) => {
                    if let Err(kept) = self.clear() {
                        drop(reply.send(Err(kept.text())));
                        continue;
                    }
                    let ended = self.down().inspect(|()| confirm::forget(&self.directories));
                    let answer = ended.as_ref().map(|()| "{}".to_owned()).map_err(ToString::to_string);
                    drop(reply.send(answer));
                    self.server.finish();
                    return Ok(ended?);
                }
                Event::Request(Request::Apply(
                    wanted,
                    terms @ Terms { residents: Residents::Kill, .. },
                    reply,
                )) => {
                    let (name, directories) = (self.desired.name.clone(), self.directories.clone());
                    let deleted = self.deleted_by(&wanted, &terms);
                    let then = Request::Apply(wanted, Terms { residents: Residents::Keep, ..terms }, reply);
                    self.evict(move || residents_of(&deleted, &name, &directories), then);
                }
                Event::Request(Request::Apply(wanted, terms, reply)) => {
                    drop(reply.send(self.apply(&wanted, &terms)));
                    drop(wanted);
                    memory::give_back();
                }
                Event::Signal(Signal::SIGHUP) if !terminal.is_gone() => {
                    self.apply_again();
                    memory::give_back();
                }
                Event::Signal(signal) => {
                    info!(signal = signal.as_str(), "ending");
                    break;
                }
                Event::EngineEnded => {
                    self.happened(Occurrence::EngineEnded);
                    self.repair();
                }
                Event::KeeperEnded => self.keeper_ended(),
                Event::Heard(heard) => {
                    self.hear(heard);
                    self.point();
                }
                Event::Found(found) => self.found(&found),
                Event::TimeIsUp => self.go_back_if_due(),
                Event::LifeAskedFor => service_manager::alive(),
            }
        }
        self.clear()?;
        self.down()?;
        self.server.finish();
        Ok(())
    }

    /// Has what signals say arrive in the queue, as all else. Those that have come since they are held back do too.
    fn hear_signals(&mut self) {
        let queue = self.sender.upgrade().ok_or(io::ErrorKind::BrokenPipe.into());
        if let Err(error) = queue.and_then(|queue| signals::forward(self.signals, queue)) {
            warn!(%error, "signals are not heard");
            self.came_first.push_back(Event::Signal(Signal::SIGTERM));
        }
    }

    /// Ends residents, on a thread of its own: they may take their time, and the supervisor answers meanwhile. What they
    /// are ended for is asked for afterwards.
    fn evict(
        &self,
        residents: impl Fn() -> Result<Vec<Resident>, BackendError> + Send + 'static,
        then: Request,
    ) {
        let queue = self.sender.clone();
        let evict = move || {
            if let Err(error) = end_all(&residents) {
                warn!(%error, "nobody is ended");
            }
            queue.upgrade().map(|queue| queue.blocking_send(Event::Request(then)))
        };
        if let Err(error) = thread::Builder::new().name("eviction".into()).spawn(evict) {
            warn!(%error, "nobody is ended");
        }
    }

    /// Nobody lives in its domains, or it is an error.
    fn clear(&self) -> Result<(), KeptError> {
        let name = &self.desired.name;
        Eviction::all(name, &|| residents(name, &self.directories)).carry_out(Residents::Keep)
    }

    /// Makes the network what it shall be again: an engine that is gone is started, and all else stays as it is.
    fn repair(&mut self) {
        match self.mend_all() {
            Ok(taken) if taken.is_empty() => {}
            Ok(taken) => {
                greet(&mut self.backend);
                info!(network = %self.desired.name, steps = taken.len(), "repaired");
                self.happened(Occurrence::Repaired { steps: texts(&taken) });
                self.follow_endpoints(&taken);
                self.renew_groups();
            }
            Err(error) => warn!(%error, "not repaired"),
        }
    }

    /// Programs of domains without a namespace learn which interfaces these have.
    pub(super) fn renew_groups(&self) {
        let entrances = Entrances { network: &self.desired.name, directories: &self.directories };
        if let Err(error) = entrances.renew(&self.desired) {
            warn!(%error, "programs that run cannot use what is new");
        }
    }

    /// The control socket is for whom the file says.
    pub(super) fn share_control(&mut self) {
        let control = match self.lodging {
            Lodging::Apart => self.gist.control.clone(),
            // A private copy is its user's alone, whose groups are not there.
            Lodging::Within => Control::default(),
        };
        if let Err(error) = control::give(&self.directories, &control) {
            self.warnings.push(format!("nobody but the owner reaches the control socket: {error}"));
        }
        self.server.permit(control);
    }

    /// The door is there while the file lets anybody in.
    pub(super) fn open_or_close_door(&mut self) {
        if self.door.is_some() == admission::is_open(&self.desired) {
            return;
        }
        self.door = None;
        let Some(queue) = self.sender.upgrade() else { return };
        match open_door(&self.desired, &self.directories, queue) {
            Ok(door) => self.door = door,
            Err(error) => self.warnings.push(format!("nobody gets in: {}", chain(&error))),
        }
    }

    /// Takes the network down.
    pub fn down(&mut self) -> Result<(), Box<Failure>> {
        service_manager::stopping();
        self.hear_no_more();
        self.door = None;
        self.services.end();
        let steps = take_down_kept(&mut self.backend, &self.desired)?;
        for residents in group::remove_all(&self.desired.name) {
            warn!("{residents}");
        }
        // Who follows the log takes its removal for its end.
        info!(network = %self.desired.name, steps, "down");
        forget(&self.directories);
        self.happened(Occurrence::Down);
        Ok(())
    }

    /// Has the monitor end on a thread of its own: as many sockets as there are domains take long to close.
    fn hear_no_more(&mut self) {
        let monitor = self.monitor.take();
        let _here_if_there_is_no_thread =
            thread::Builder::new().name("silence".into()).spawn(move || drop(monitor));
    }

    /// Remembers it, and tells everybody who listens.
    pub(super) fn happened(&mut self, what: Occurrence) {
        self.history.add(&what);
        self.server.tell(what);
    }
}
