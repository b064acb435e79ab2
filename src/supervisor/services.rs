//! Services as a supervisor has them kept: by a process that was started with all the rights that `rdom up` had, and
//! that outlives the supervisor; in a private copy by one that ends with the copy.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{self, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tokio::sync::mpsc::WeakSender;
use tracing::warn;

use super::engines::open_log;
use super::{Event, Lodging, Supervisor, UpError};
use crate::engine::keep_capabilities;
use crate::exec;
use crate::model::{DomainId, NetworkName, Service};
use crate::probe::Unsupported;
use crate::service::{self, Connection};
use crate::spec::Document;
use crate::state::Directories;
use crate::status::ServiceView;
use crate::transaction::Signals;

/// How long it is looked in any case.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many lines of a log are shown.
const LINES: usize = 5;

/// The services of one network.
pub(super) struct Services {
    network: NetworkName,
    directories: Directories,
    lodging: Lodging,
    connection: Option<Connection>,
    wanted: Vec<Service>,
    queue: WeakSender<Event>,
    /// What keeps them, where it ends with this.
    child: Option<Child>,
    /// Ends once what keeps them has been started.
    starting: Option<Receiver<Infallible>>,
}

impl Services {
    /// Takes over what keeps them, or starts it. To be called before rights are given up ([`Services::confine`]).
    pub(super) fn open(
        network: &NetworkName,
        directories: &Directories,
        lodging: Lodging,
        queue: WeakSender<Event>,
    ) -> io::Result<Self> {
        let (network, directories) = (network.clone(), directories.clone());
        let (connection, wanted, child, starting) = (None, Vec::new(), None, None);
        let mut services = Self { network, directories, lodging, connection, wanted, queue, child, starting };
        match (Connection::adopt(&services.socket()), lodging) {
            (Ok(keeper), _) => services.attend_to(keeper, || Ok(())),
            (Err(error), _) if error.kind() == io::ErrorKind::Unsupported => return Err(error),
            (Err(_), Lodging::Apart) => services.start()?,
            (Err(_), Lodging::Within) => {}
        }
        Ok(services)
    }

    fn socket(&self) -> PathBuf {
        service::socket(&self.directories.runtime)
    }

    /// Speaks to this keeper from now on; of its end the queue is told. Who waits for that starts it, if it has to be
    /// started: whoever starts a process waits until it has become its program.
    fn attend_to(&mut self, keeper: Connection, start: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.connection = Some(keeper);
        let (socket, queue) = (self.socket(), self.queue.clone());
        let (begun, starting) = channel();
        self.starting = Some(starting);
        let wait = move || {
            if let Err(error) = start() {
                warn!(%error, "services cannot be kept");
            }
            drop(begun);
            if let Err(error) = keep_capabilities(&[]) {
                warn!(%error, "who looks after the keeper of services keeps capabilities");
            }
            let _ended = Connection::wait(&socket);
            queue.upgrade().map(|queue| queue.blocking_send(Event::KeeperEnded))
        };
        if let Err(error) = thread::Builder::new().name("keeper".into()).spawn(wait) {
            warn!(%error, "nobody looks after what keeps the services");
        }
    }

    /// Gives up what a supervisor does not need, once what keeps them has been started with all of it.
    pub(super) fn confine(&mut self) -> io::Result<()> {
        let _begun = self.starting.take().map(|starting| starting.recv());
        self.lodging.confine()
    }

    /// What kept the services has ended. Unless that was to be, another one has been started by its guard, and has the
    /// same services run; an error where it was not.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        let mut keeper = Connection::adopt(&self.socket()).map_err(|_| gone())?;
        keeper.keep(&self.wanted)?;
        self.attend_to(keeper, || Ok(()));
        warn!("what keeps the services was killed, and they with it: all are started again");
        Ok(())
    }

    /// Whether there shall be a keeper, and it is not the one that there was.
    pub(super) fn is_bereft(&mut self) -> bool {
        self.connection.take().is_some_and(|mut keeper| match keeper.services() {
            Ok(kept) if kept.len() >= self.wanted.len() => {
                self.connection = Some(keeper);
                false
            }
            // The next one has not been told what is wanted.
            Ok(_) | Err(_) => true,
        })
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("rdom");
        let log = match self.lodging {
            Lodging::Apart => {
                command.arg("-v");
                open_log(&self.directories.runtime.join("log"))?
            }
            Lodging::Within => {
                self.bind_to_this_thread(&mut command);
                Stdio::inherit()
            }
        };
        command.args(["services", "-n", self.network.as_str()]).stderr(log);
        let socket = self.socket();
        service::end_orphans(&self.network, &socket);
        let connection = Connection::ahead_of(&socket, &mut command)?;
        match self.lodging {
            Lodging::Apart => self.attend_to(connection, move || command.spawn().map(drop)),
            Lodging::Within => {
                self.child = Some(command.spawn()?);
                self.attend_to(connection, || Ok(()));
            }
        }
        Ok(())
    }

    /// It finds this network, and ends with the thread that starts it.
    fn bind_to_this_thread(&self, command: &mut Command) {
        let Directories { state, runtime } = &self.directories;
        let roots = [("RDOM_STATE_DIR", state), ("RDOM_RUNTIME_DIR", runtime)];
        command.envs(roots.into_iter().filter_map(|(name, own)| Some((name, own.parent()?))));
        // SAFETY: a system call and nothing else.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
    }

    /// These are to run from now on, and no others.
    pub(super) fn keep(&mut self, wanted: &[Service]) -> io::Result<()> {
        match (self.lodging, &self.connection) {
            (_, None) if wanted.is_empty() => return Ok(()),
            // It need not be waited for until it has begun.
            (_, Some(keeper)) if wanted.is_empty() && keeper.is_new() => return Ok(()),
            (Lodging::Within, None) => self.start()?,
            (Lodging::Apart | Lodging::Within, _) => {}
        }
        self.wanted = wanted.to_vec();
        self.ask(|keeper| keeper.keep(wanted)).map(drop)
    }

    /// What each does; nothing where that cannot be seen.
    pub(super) fn views(&mut self) -> io::Result<Vec<ServiceView>> {
        if self.is_idle() {
            return Ok(Vec::new());
        }
        self.ask(Connection::services)
    }

    /// Waits until nothing comes of waiting any more, or until it is over; what each does then.
    pub(super) fn settled(
        &mut self,
        wanted: &[Service],
        is_over: impl Fn() -> bool,
    ) -> io::Result<Vec<ServiceView>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let within = wanted.iter().filter_map(|service| Some(service.ready.as_ref()?.within));
        let deadline = Instant::now() + PATIENCE + within.sum::<Duration>();
        self.ask(|keeper| keeper.settled(|| is_over() || Instant::now() > deadline))
    }

    /// Waits until those have ended that are to end.
    fn stopped(&mut self) -> io::Result<()> {
        match &self.connection {
            Some(_) => self.ask(|keeper| keeper.stopped(service::END_WITHIN)),
            None => Ok(()),
        }
    }

    /// A private copy without services has nothing that keeps them.
    fn is_idle(&self) -> bool {
        self.connection.is_none() && self.lodging == Lodging::Within
    }

    /// What is wrong with a service, and what it said last.
    fn complaint(&self, view: &ServiceView) -> String {
        let said = service::last_words(&self.directories.runtime, view, LINES);
        said.iter().fold(view.text(), |text, line| format!("{text}\n  {line}"))
    }

    /// Ends them, and what keeps them.
    pub(super) fn end(&mut self) {
        let ended = self.connection.take().map(Connection::end);
        match (ended, &mut self.child) {
            (_, Some(child)) => {
                let _has_ended = child.kill();
                let _nobody_else_waits = child.wait();
            }
            (Some(Err(error)), None) => warn!(%error, "services are left behind"),
            (Some(Ok(())) | None, None) => {}
        }
    }

    /// Asks the keeper, or the next one if it has ended. What it says too late is not taken for another answer.
    fn ask<A>(&mut self, question: impl Fn(&mut Connection) -> io::Result<A>) -> io::Result<A> {
        match question(self.connection.as_mut().ok_or_else(gone)?) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.connection = None;
                self.revive()?;
                question(self.connection.as_mut().ok_or_else(gone)?)
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.connection = Connection::to_end(&self.socket()).ok();
                Err(error)
            }
            answer => answer,
        }
    }
}

fn gone() -> io::Error {
    let gone = "the process that keeps the services has gone, and they with it; \
                a new supervisor starts it again: rdom down, and rdom up";
    io::Error::new(io::ErrorKind::NotConnected, gone)
}

impl Supervisor {
    /// Starts the document's services and waits until they are ready. In a private copy one that is not is an error,
    /// for nothing shall be tried without it; elsewhere the network stands without it, and without what keeps them.
    pub(super) fn begin_services(&mut self, lodging: Lodging, signals: &Signals) -> Result<(), UpError> {
        let unwell = self.start_services(signals);
        match (lodging, unwell) {
            (Lodging::Within, Ok(unwell)) if unwell.is_empty() => {}
            (Lodging::Within, Ok(unwell)) => return Err(UpError::Unwell(unwell)),
            (Lodging::Within, Err(error)) => return Err(UpError::Services(error)),
            (Lodging::Apart, Ok(unwell)) => self.warnings.extend(unwell),
            (Lodging::Apart, Err(error)) => self.warnings.push(error.to_string()),
        }
        Ok(())
    }

    /// What is wrong with those that are not ready.
    fn start_services(&mut self, signals: &Signals) -> io::Result<Vec<String>> {
        let wanted = self.gist.services.clone();
        self.services.keep(&wanted)?;
        let views = self.services.settled(&wanted, || signals.pending())?;
        Ok(views.iter().filter(|view| !view.is_well()).map(|view| self.services.complaint(view)).collect())
    }

    /// Ends those services that will not be what they are, or whose domain goes, before the network changes. Whatever
    /// comes of that, [`Self::keep_services`] has the last word.
    pub(super) fn pause_services(
        &mut self,
        document: &Document,
        deleted: &BTreeSet<DomainId>,
    ) -> io::Result<()> {
        let next = of(document);
        let goes_on = |service: &Service| next.contains(service) && !deleted.contains(&service.domain);
        let mut kept = self.gist.services.clone();
        kept.retain(goes_on);
        self.services.keep(&kept)?;
        self.services.stopped()
    }

    /// What keeps the services has ended, one way or another.
    pub(super) fn keeper_ended(&mut self) {
        if !self.services.is_bereft() {
            return;
        }
        if let Err(error) = self.services.revive() {
            warn!("{error}");
        }
    }

    /// Has the document's services run, which is the network's by now.
    pub(super) fn keep_services(&mut self) {
        if let Err(error) = self.services.keep(&self.gist.services) {
            warn!(%error, "services are not as they shall be");
            self.warnings.push(error.to_string());
        }
    }
}

/// What services do whose supervisor is no more.
pub(super) fn left_behind(directories: &Directories) -> Vec<ServiceView> {
    let keeper = Connection::adopt(&service::socket(&directories.runtime));
    keeper.and_then(|mut keeper| keeper.services()).unwrap_or_default()
}

/// What a supervisor that is no more had kept, of whatever version, if that lives; else nothing of it is left after this.
pub(super) fn keeper_left_behind(network: &NetworkName, directories: &Directories) -> Option<Connection> {
    let socket = service::socket(&directories.runtime);
    let keeper = Connection::to_end(&socket).ok();
    if keeper.is_none() {
        service::end_orphans(network, &socket);
    }
    keeper
}

/// A document's services, their directories told from the root.
pub(super) fn of(document: &Document) -> Vec<Service> {
    let absolute = |directory: &PathBuf| match directory.as_os_str().is_empty() {
        true => path::absolute("."),
        false => path::absolute(directory),
    };
    let services = document.lowered.services.values().map(|(service, _)| Service {
        directory: absolute(&service.directory).unwrap_or_else(|_| service.directory.clone()),
        ..service.clone()
    });
    services.collect()
}

/// What a service needs and is not here: its program, or its user.
pub(super) fn unmet(document: &Document) -> Option<(&Service, Unsupported)> {
    document.lowered.services.values().find_map(|(service, _)| {
        let path = service.env.get("PATH").map(String::as_str);
        let program = exec::named(&service.command).try_for_each(|program| exec::is_here(program, path));
        let user = || service.user.as_deref().map_or(Ok(()), |user| exec::user(user).map(drop));
        program.and_then(|()| user()).err().map(|lack| (service, lack))
    })
}
