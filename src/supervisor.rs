//! Makes a network so, keeps it, and takes it down again.
//!
//! One process a network, under the network's lock. It is told things by signals, by its control socket, by the end of an
//! engine and by the kernel about changes of others, one at a time. Userspace engines are processes of their own, which outlive it and are taken over by
//! the next one; in a private copy they are threads of it.

mod admission;
mod apply;
mod confirm;
mod decide;
mod drift;
mod endpoints;
mod engines;
mod entrance;
mod explain;
mod history;
mod impair;
mod lookup;
mod neighbours;
mod place;
mod pointing;
mod residents;
mod service_manager;
mod services;
mod signals;
mod surroundings;
mod watching;

pub use confirm::confirmed_instead_of;
pub use entrance::Entrances;
pub use explain::{explain_all, explain_lacks};
pub use neighbours::Clash;
pub use place::{Misplaced, misplaced};
pub use residents::{KeptError, Resident, kill_all, residents};
use signals::Terminal;
pub use surroundings::{Ahead, hazards_within};

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Instant;

use nix::sys::signal::Signal;
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::backend::linux::monitor::{Heard, Monitor};
use crate::backend::linux::{Linux, Survey};
use crate::backend::{Backend, BackendError};
use crate::control::enter::{self, Ask, Opened};
use crate::control::{self, Answer, Request, Residents, Server};
use crate::diagnostic::chain;
use crate::exec::group;
use crate::model::{Network, NetworkName, ServiceName};
use crate::plan::{Step, bind, plan};
use crate::probe::{self, Hazard, Need, Unsupported};
use crate::service::Connection;
use crate::spec::Document;
use crate::state::{
    Directories, KeyRing, Lock, LockError, Missing, StateError, Store, Stored, write_lookups,
};
use crate::status::{Occurrence, ServiceView, StatusView};
use crate::transaction::{Failure, Outcome, Signals, converge};
use apply::texts;
use confirm::Pending;
use decide::Watch;
use endpoints::Endpoints;
use engines::Processes;
pub use engines::{Hosted, Lodging, NoEngines};
use history::History;
use lookup::Found;
use residents::Eviction;
use services::Services;

/// A network that is up, held by this process.
pub struct Supervisor {
    document: Document,
    desired: Network,
    warnings: Vec<String>,
    directories: Directories,
    backend: Linux,
    watch: Watch,
    endpoints: Endpoints,
    unconfirmed: Option<Pending>,
    services: Services,
    history: History,
    monitor: Option<Monitor>,
    sender: mpsc::WeakSender<Event>,
    queue: mpsc::Receiver<Event>,
    /// What came first while something else was awaited.
    came_first: Option<Event>,
    server: Server,
    door: Option<Opened>,
    _lock: Lock,
}

/// What a supervisor is told.
#[derive(Debug)]
enum Event {
    Request(Request),
    Ask(Ask),
    Signal(Signal),
    /// A process with userspace engines is gone.
    EngineEnded,
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

/// How much a supervisor may be told before it has listened; who comes then waits.
const QUEUE_LENGTH: usize = 32;

/// Why a network did not come up.
#[derive(Debug, Error)]
pub enum UpError {
    /// Another process has it.
    #[error("network {network} is up already{}", pid.map_or(String::new(), |pid| format!(": process {pid}")))]
    Taken {
        /// The network.
        network: NetworkName,
        /// Who holds its lock.
        pid: Option<i32>,
    },
    /// Not permitted or not supported here.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Something that the network needs is missing here.
    #[error("{}", lacks.first().map_or_else(String::new, |(need, lack)| format!("{}: {lack}", need.object)))]
    Lacking {
        /// All that is missing, and what needs it.
        lacks: Vec<(Need, Unsupported)>,
    },
    /// Something that a service needs is missing here.
    #[error("service {name}: {lack}")]
    ServiceLacks {
        /// The service.
        name: ServiceName,
        /// What is missing.
        lack: Unsupported,
    },
    /// Keys, ports or the lock could not be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel could not be opened.
    #[error("{0}")]
    Backend(#[from] BackendError),
    /// A step failed; what was there before has been restored.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// Another network has a number of it.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// Somebody lives in what is to go.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Every step was taken, but a socket is not where it belongs.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// Privileges that a supervisor does not need could not be given up.
    #[error("cannot give up privileges")]
    Privileges(#[source] io::Error),
    /// What keeps services could not be started, or does not answer.
    #[error("cannot run services")]
    Services(#[source] io::Error),
    /// Services of a private copy are not what they shall be.
    #[error("{}", .0.join("\n"))]
    Unwell(Vec<String>),
    /// The control socket could not be made.
    #[error("cannot listen at {}", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a network that was to end is not down.
#[derive(Debug, Error)]
pub enum DownError {
    /// Somebody lives there: it is left as it is.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A step failed.
    #[error(transparent)]
    Failed(#[from] Box<Failure>),
}

impl Supervisor {
    /// Brings a document's network up and checks that it is: the plan is empty and every tunnel's sockets are in their
    /// domain. An interruption or a failure leaves nothing behind.
    pub fn up(
        document: &Document,
        directories: &Directories,
        signals: &Signals,
        lodging: Lodging,
    ) -> Result<Self, UpError> {
        probe::administration()?;
        let lock = take_lock(&document.lowered.network.name, directories)?;
        let Prepared { desired, keys, mut warnings } = prepare(document, directories)?;
        let (sender, queue) = mpsc::channel(QUEUE_LENGTH);
        let engines = lodging.engines(directories, sender.clone());
        let mut backend = Linux::open(desired.name.clone(), directories, keys, engines)?;
        backend.tidy()?;
        let weak = sender.downgrade();
        let unconfirmed = Pending::resumed(document, directories, &weak)?;
        let services = Services::open(&desired.name, directories, lodging).map_err(UpError::Services)?;
        match bring_up(&mut backend, &desired, directories, signals, sender, lodging) {
            Ok(Up { hazards, server, door }) => {
                let (document, directories) = (document.clone(), directories.clone());
                warnings.extend(hazards.iter().map(ToString::to_string));
                let mut supervisor = Self {
                    watch: Watch::new(document.lowered.drift),
                    endpoints: Endpoints::of(&desired, Instant::now()),
                    unconfirmed,
                    services,
                    history: History::default(),
                    monitor: None,
                    sender: weak,
                    document,
                    desired,
                    warnings,
                    directories,
                    backend,
                    queue,
                    came_first: None,
                    server,
                    door,
                    _lock: lock,
                };
                supervisor.await_endpoints();
                supervisor.begin_services(lodging, signals)?;
                Ok(supervisor)
            }
            Err(error) => {
                forget_if_nothing_is_left(&mut backend, directories);
                Err(error)
            }
        }
    }

    /// The network as it was asked for, with its keys and ports.
    pub fn desired(&self) -> &Network {
        &self.desired
    }

    /// What its operator should know, one sentence each: of the files that it was made of, and of what is in its way
    /// without an error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What there is, as its status document.
    pub fn status(&mut self) -> Answer {
        let view = self.kept().map_err(|error| error.to_string())?;
        serde_json::to_string(&view).map_err(|error| error.to_string())
    }

    fn kept(&mut self) -> Result<StatusView, BackendError> {
        let observed = self.backend.observe()?;
        let survey = Survey::of(&self.directories)?;
        let view = survey.status(&observed, Some(&self.desired), engine_reason())?;
        let missing = plan(&self.desired, &observed);
        let misplaced = misplaced(&survey, &self.desired)?;
        let steps = missing.iter().map(ToString::to_string);
        let mut differs: Vec<_> = steps.chain(misplaced.iter().map(ToString::to_string)).collect();
        let services = self.services.views().unwrap_or_else(|error| {
            let wanted = !self.document.lowered.services.is_empty();
            differs.extend(wanted.then(|| error.to_string()));
            Vec::new()
        });
        differs.extend(services.iter().filter(|service| !service.is_well()).map(ServiceView::text));
        let left = self.unconfirmed.as_ref().map(Pending::left_secs);
        let view = view.kept_by(std::process::id(), differs, self.history.view()).going_back_in(left);
        Ok(view.impaired(self.impaired()).running(services))
    }

    /// Keeps the network until a signal or a request ends it, then takes it down. Where processes live in its domains a
    /// request without further terms changes nothing, and a signal leaves it to the next supervisor.
    pub fn serve(mut self) -> Result<(), DownError> {
        service_manager::ready(&self.desired);
        let terminal = Terminal::now();
        self.begin_to_watch();
        while let Some(event) = self.came_first.take().or_else(|| self.queue.blocking_recv()) {
            match event {
                Event::Request(Request::Status(reply)) => drop(reply.send(self.status())),
                Event::Ask(Ask { caller, word, reply }) => {
                    drop(reply.send(admission::admit(&self.desired, &self.directories, &caller, &word)));
                }
                Event::Request(Request::Impair(wanted, reply)) => drop(reply.send(self.impair(&wanted))),
                Event::Request(Request::Confirm(reply)) => drop(reply.send(self.confirm())),
                Event::Request(Request::Down(residents, reply)) => {
                    if let Err(kept) = self.clear(residents) {
                        drop(reply.send(Err(kept.text())));
                        continue;
                    }
                    let ended = self.down().inspect(|()| confirm::forget(&self.directories));
                    let answer = ended.as_ref().map(|()| "{}".to_owned()).map_err(ToString::to_string);
                    drop(reply.send(answer));
                    self.server.finish();
                    return Ok(ended?);
                }
                Event::Request(Request::Apply(wanted, terms, reply)) => {
                    drop(reply.send(self.apply(&wanted, &terms)));
                }
                Event::Signal(Signal::SIGHUP) if !terminal.is_gone() => self.apply_again(),
                Event::Signal(signal) => {
                    info!(signal = signal.as_str(), "ending");
                    break;
                }
                Event::EngineEnded => {
                    self.happened(Occurrence::EngineEnded);
                    self.repair();
                }
                Event::Heard(heard) => {
                    self.hear(heard);
                    self.point();
                }
                Event::Found(found) => self.found(&found),
                Event::TimeIsUp => self.go_back_if_due(),
                Event::LifeAskedFor => service_manager::alive(),
            }
        }
        self.clear(Residents::Keep)?;
        self.down()?;
        self.server.finish();
        Ok(())
    }

    /// Nobody lives in its domains after this, or it is an error.
    fn clear(&self, what: Residents) -> Result<(), KeptError> {
        let name = &self.desired.name;
        Eviction::all(name, &|| residents(name, &self.directories)).carry_out(what)
    }

    /// Makes the network what it shall be again: an engine that is gone is started, and all else stays as it is.
    fn repair(&mut self) {
        match converge(&mut self.backend, &self.desired, &|| false) {
            Ok(Outcome { taken }) if taken.is_empty() => {}
            Ok(Outcome { taken }) => {
                greet(&mut self.backend);
                info!(network = %self.desired.name, steps = taken.len(), "repaired");
                self.happened(Occurrence::Repaired { steps: texts(&taken) });
                self.follow_endpoints(&taken);
                self.renew_groups();
            }
            Err(failure) => warn!(%failure, cause = %failure.cause, "not repaired"),
        }
    }

    /// Programs of domains without a namespace learn which interfaces these have.
    fn renew_groups(&self) {
        let entrances = Entrances { network: &self.desired.name, directories: &self.directories };
        if let Err(error) = entrances.renew(&self.desired) {
            warn!(%error, "programs that run cannot use what is new");
        }
    }

    /// The door is there while the file lets anybody in.
    fn open_or_close_door(&mut self) {
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
        self.door = None;
        self.services.end();
        let steps = take_down(&mut self.backend, &self.desired.name)?;
        forget(&self.directories);
        for residents in group::remove_all(&self.desired.name) {
            warn!("{residents}");
        }
        info!(network = %self.desired.name, steps, "down");
        self.happened(Occurrence::Down);
        Ok(())
    }

    /// Remembers it, and tells everybody who listens.
    fn happened(&mut self, what: Occurrence) {
        self.history.add(&what);
        self.server.tell(what);
    }
}

/// A network at a glance, as the kernel has it; `desired`, where it is known, gives peers their names.
pub fn status(
    backend: &mut Linux,
    directories: &Directories,
    desired: Option<&Network>,
) -> Result<StatusView, BackendError> {
    let observed = backend.observe()?;
    let view = Survey::of(directories)?.status(&observed, desired, engine_reason())?;
    Ok(view.running(services::left_behind(directories)))
}

fn engine_reason() -> String {
    let reason = match probe::kernel_wireguard() {
        true => "the kernel has WireGuard; userspace where the file asks for it",
        false => "the kernel has no WireGuard, so userspace",
    };
    reason.to_owned()
}

/// A document's network with nothing left open.
struct Prepared {
    desired: Network,
    keys: KeyRing,
    warnings: Vec<String>,
}

/// Finds or makes the keys and ports that a document leaves open, and looks whether everything that it needs is here.
fn prepare(document: &Document, directories: &Directories) -> Result<Prepared, UpError> {
    let (network, secrets) = (&document.lowered.network, &document.lowered.secrets);
    if let Some(clash) = neighbours::clash(network, directories) {
        return Err(clash.into());
    }
    let Stored { bindings, keys, mut warnings } =
        Store::of(directories).bindings(network, secrets, Missing::Generate)?;
    warnings.extend(probe::isolation_held_back(network));
    let desired = bind(network, &bindings, &probe::capabilities());
    let lacks = probe::unmet(&desired);
    if !lacks.is_empty() {
        return Err(UpError::Lacking { lacks });
    }
    match services::unmet(document) {
        Some((service, lack)) => Err(UpError::ServiceLacks { name: service.name.clone(), lack }),
        None => Ok(Prepared { desired, keys, warnings }),
    }
}

/// What there is besides the kernel's part once everything is up.
struct Up {
    hazards: Vec<Hazard>,
    server: Server,
    door: Option<Opened>,
}

/// Takes the steps, checks where sockets are, and opens the control socket; what fails after the steps undoes them.
fn bring_up(
    backend: &mut Linux,
    desired: &Network,
    directories: &Directories,
    signals: &Signals,
    sender: mpsc::Sender<Event>,
    lodging: Lodging,
) -> Result<Up, UpError> {
    let outcome = converge(backend, desired, &|| signals.pending()).map_err(UpError::Failed)?;
    greet(backend);
    let checked = Survey::of(directories).map_err(UpError::from).and_then(|survey| {
        place::check(&survey, desired)?;
        write_lookups(desired, directories)?;
        let hazards = hazards_within(&survey, desired)?;
        lodging.confine().map_err(UpError::Privileges)?;
        let door = open_door(desired, directories, sender.clone())?;
        let server = listen(directories, signals, sender)?;
        Ok(Up { hazards, server, door })
    });
    match checked {
        Ok(_) => info!(network = %desired.name, steps = outcome.taken.len(), "up"),
        Err(_) => drop(take_down(backend, &desired.name)),
    }
    checked
}

/// A peer that is not greeted takes longer to notice that its session is gone.
fn greet(backend: &mut Linux) {
    if let Err(error) = backend.greet() {
        warn!(%error, "peers were not greeted");
    }
}

/// The same after steps that made tunnels of a network that was up anew.
fn greet_anew(backend: &mut Linux, taken: &[Step]) {
    if let Err(error) = backend.greet_anew(taken) {
        warn!(%error, "peers were not greeted");
    }
}

/// Removes what a supervisor that is no more left behind, and returns the number of steps that it took.
pub fn clean_up(network: &NetworkName, directories: &Directories, what: Residents) -> Result<usize, UpError> {
    probe::administration()?;
    let lock = take_lock(network, directories)?;
    let keeper = services::keeper_left_behind(network, directories);
    Eviction::all(network, &|| residents(network, directories)).carry_out(what)?;
    if let Some(Err(error)) = keeper.map(Connection::end) {
        warn!(%error, "services are left behind");
    }
    let engines = Box::new(Processes::of(directories));
    let mut backend = Linux::open(network.clone(), directories, KeyRing::default(), engines)?;
    let steps = take_down(&mut backend, network).map_err(UpError::Failed)?;
    confirm::forget(directories);
    forget(directories);
    drop(lock);
    Ok(steps)
}

fn take_lock(network: &NetworkName, directories: &Directories) -> Result<Lock, UpError> {
    Lock::take(directories).map_err(|error| match error {
        LockError::Held(pid) => UpError::Taken { network: network.clone(), pid },
        LockError::State(error) => error.into(),
    })
}

fn take_down(backend: &mut Linux, network: &NetworkName) -> Result<usize, Box<Failure>> {
    let outcome = converge(backend, &Network::empty(network.clone()), &|| false)?;
    if let Err(error) = backend.tidy() {
        warn!(%error, "left behind");
    }
    Ok(outcome.taken.len())
}

/// Opens the control socket and answers on it; what it is told and what signals say arrive in one queue.
fn listen(
    directories: &Directories,
    signals: &Signals,
    sender: mpsc::Sender<Event>,
) -> Result<Server, UpError> {
    let path = control::socket(directories);
    let open = || {
        if path.exists() {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        signals::forward(*signals, sender.clone())?;
        service_manager::ask_for_life(sender.clone());
        control::serve(listener, sender)
    };
    open().map_err(|source| UpError::Control { path: path.clone(), source })
}

/// Opens the door, if the file lets anybody in.
fn open_door(
    desired: &Network,
    directories: &Directories,
    queue: mpsc::Sender<Event>,
) -> Result<Option<Opened>, UpError> {
    if !admission::is_open(desired) {
        enter::close(directories);
        return Ok(None);
    }
    let opened = enter::listen(directories).and_then(|listener| enter::open(listener, queue));
    opened.map(Some).map_err(|source| UpError::Control { path: directories.runtime.clone(), source })
}

/// Removes the runtime files of a network that did not come up, unless they are still needed to take it down.
fn forget_if_nothing_is_left(backend: &mut Linux, directories: &Directories) {
    let empty = |seen: Network| plan(&Network::empty(seen.name.clone()), &seen).is_empty();
    if backend.observe().is_ok_and(empty) {
        forget(directories);
    }
}

/// Removes the runtime files of a network that is down; its keys and ports stay.
fn forget(directories: &Directories) {
    if let Err(error) = fs::remove_dir_all(&directories.runtime) {
        warn!(directory = %directories.runtime.display(), %error, "left behind");
    }
    // The directory of all networks goes with the last of them.
    let _ = directories.runtime.parent().map(fs::remove_dir);
}
