//! Userspace engines as a supervisor has them: processes that outlive it, or, in a private copy that ends with it,
//! threads of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use caps::Capability;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc::{Sender, WeakSender};

use super::Event;
use super::residents::started;
use crate::backend::linux::monitor::Heard;
use crate::backend::linux::{EngineParts, Engines, SocketPlace, in_namespace};
use crate::engine::{Connection, Handed, give_up_but, keep_capabilities};
use crate::model::{DomainId, End};
use crate::state::{Directories, replace};
use crate::wireguard::{
    Changes, Device, LinkEvents, Offload, OpenSockets, Parts, Routes, UnderlaySockets, queues,
};

/// How long an engine must have lived for another one to be wanted at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How many devices are told of at once.
const TOLD_AT_ONCE: usize = 500;

/// Where a network's userspace engines run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lodging {
    /// In processes of their own, which outlive the supervisor.
    Apart,
    /// In the supervisor, with which they end: for a private copy, which ends with it too.
    Within,
}

/// What a supervisor goes on to need: to make and enter namespaces, to configure what is in them, to open sockets of
/// privileged ports for engines, to read keys that are another user's, to make control groups in a root directory that
/// nobody may write (kernfs has it 0555), to give the control socket to a group, to let engines give up what they may, and to end who lives in a domain that is to go.
const SUPERVISORS: [Capability; 8] = [
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_CHOWN,
    Capability::CAP_SETPCAP,
    Capability::CAP_KILL,
];

impl Lodging {
    /// Gives up what a supervisor with engines there does not need, `further` not among it; in a private copy its
    /// process is the user's, too.
    pub(super) fn confine(self) -> io::Result<()> {
        match self {
            Lodging::Apart => give_up_but(&SUPERVISORS),
            Lodging::Within => Ok(()),
        }
    }

    /// The engines; of the end of a process, and of what somebody else sets, `queue` is told.
    pub(super) fn engines(self, directories: &Directories, queue: Sender<Event>) -> Box<dyn Engines> {
        match self {
            Lodging::Apart => Box::new(Processes::watched(directories, queue)),
            Lodging::Within => Box::new(Hosted::watched(queue.downgrade())),
        }
    }
}

/// The processes that are engines of a network or were: number, and when they began.
pub(super) fn recorded(directories: &Directories) -> BTreeSet<(i32, u64)> {
    let entries = directories.runtime.join("engines").read_dir().into_iter().flatten().flatten();
    let records =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "pid"));
    let process = |path: PathBuf| {
        let text = fs::read_to_string(path).ok()?;
        let (pid, started) = text.trim_end().split_once(' ')?;
        Some((pid.parse().ok()?, started.parse().ok()?))
    };
    records.filter_map(process).collect()
}

/// The engines of one network, a process for each underlay. They outlive this.
pub(super) struct Processes {
    directory: PathBuf,
    log: PathBuf,
    engines: BTreeMap<DomainId, Connection>,
    queue: Option<Sender<Event>>,
}

impl Processes {
    /// Those of these directories, as far as they live.
    pub(super) fn of(directories: &Directories) -> Self {
        let (directory, log) = (directories.runtime.join("engines"), directories.runtime.join("log"));
        let mut processes = Self { directory, log, engines: BTreeMap::new(), queue: None };
        processes.adopt();
        processes
    }

    /// The same, each looked after.
    fn watched(directories: &Directories, queue: Sender<Event>) -> Self {
        let mut processes = Self::of(directories);
        processes.engines.values().for_each(|engine| look_after(engine, None, queue.clone()));
        processes.queue = Some(queue);
        processes
    }

    fn adopt(&mut self) {
        let entries = self.directory.read_dir().into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        for underlay in names.filter_map(|name| name.strip_suffix(".sock")?.parse::<DomainId>().ok()) {
            let path = self.path(underlay);
            match Connection::adopt(&path) {
                Ok(engine) => {
                    tracing::debug!(%underlay, pid = engine.pid(), "engine taken over");
                    self.record(underlay, &engine);
                    self.engines.insert(underlay, engine);
                }
                Err(error) => {
                    tracing::debug!(%underlay, %error, "no engine");
                    let _gone = fs::remove_file(path);
                }
            }
        }
    }

    /// The engine of this underlay, started if there is none.
    fn engine(&mut self, underlay: DomainId, namespace: &OwnedFd) -> io::Result<&mut Connection> {
        if let Some(ended) = self.engines.remove(&underlay) {
            if ended.lives() {
                return Ok(self.engines.entry(underlay).or_insert(ended));
            }
            ended.end();
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let (path, log) = (self.path(underlay), open_log(&self.log)?);
        let start = || Connection::start(&path, log);
        let engine = in_namespace(namespace, start).map_err(io::Error::other)??;
        tracing::info!(%underlay, pid = engine.pid(), "engine started");
        self.record(underlay, &engine);
        if let Some(queue) = &self.queue {
            look_after(&engine, Some(Instant::now()), queue.clone());
        }
        Ok(self.engines.entry(underlay).or_insert(engine))
    }

    /// Writes down that a process is an engine: a name is no mark, for any process may take it.
    fn record(&self, underlay: DomainId, engine: &Connection) {
        let Some(started) = started(engine.pid()) else { return };
        let path = self.path(underlay).with_extension("pid");
        if let Err(error) = replace(&path, &format!("{} {started}\n", engine.pid())) {
            tracing::warn!(%underlay, %error, "an engine is not recorded, and taken for a resident");
        }
    }

    fn running(&mut self, at: &End) -> Option<DomainId> {
        let device = at.to_string();
        let mut engines = self.engines.iter();
        engines.find(|(_, engine)| engine.devices().contains(&device)).map(|(underlay, _)| *underlay)
    }

    fn path(&self, underlay: DomainId) -> PathBuf {
        self.directory.join(format!("{underlay}.sock"))
    }
}

impl Engines for Processes {
    fn queues(&self) -> usize {
        queues()
    }

    fn start(&mut self, at: &End, parts: EngineParts) -> io::Result<()> {
        let link = link_events(at, &parts.domain)?;
        let EngineParts { tun, uapi, underlay, sockets, domain: _ } = parts;
        let bound_to = sockets.device.as_ref().map(ToString::to_string);
        let interface = &at.interface;
        let handed = Handed { device: at.to_string(), interface, tun, link, uapi, bound_to };
        self.engine(underlay, &sockets.namespace)?.run(handed)
    }

    /// Opens the sockets where that takes a privilege, or a buffer larger than the system lets everybody have. If they
    /// cannot be had it is for the engine to say so: it may have them already.
    fn prepare(&mut self, at: &End, port: u16, queues: usize, place: SocketPlace) -> io::Result<()> {
        let Some(engine) = self.running(at).and_then(|underlay| self.engines.get_mut(&underlay)) else {
            return Ok(());
        };
        let device = place.device.map(|device| device.to_string().into());
        match UnderlaySockets::new(Some(place.namespace)).bound_to(device).open(port, queues) {
            Ok(pairs) => engine.hand_sockets(&at.to_string(), port, &pairs),
            Err(error) => {
                tracing::debug!(%at, port, %error, "no sockets for the engine");
                Ok(())
            }
        }
    }

    fn offloads_off(&mut self, at: &End) -> io::Result<Vec<String>> {
        let engine = self.running(at).and_then(|underlay| self.engines.get(&underlay));
        let engine = engine.ok_or(io::ErrorKind::NotFound)?;
        engine.offloads_off(&at.to_string()).map(words)
    }

    fn stop(&mut self, at: &End) -> io::Result<()> {
        let underlay = self.running(at).ok_or(io::ErrorKind::NotFound)?;
        let Some(mut engine) = self.engines.remove(&underlay) else { return Ok(()) };
        let stopped = engine.stop(&at.to_string());
        match engine.devices().is_empty() {
            true => engine.end(),
            false => drop(self.engines.insert(underlay, engine)),
        }
        stopped
    }
}

/// What a process that outlives this one writes to: the log of a supervisor without a terminal, so that it keeps no
/// terminal and no pipe from ending; the journal, if that is where the supervisor's goes.
pub(super) fn open_log(path: &Path) -> io::Result<Stdio> {
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        return Ok(Stdio::inherit());
    }
    let options = File::options().append(true).create(true).mode(0o600).clone();
    Ok(options.clone().custom_flags(libc::O_NOFOLLOW).open(path)?.into())
}

/// Hears of what others set, and waits for the end of an engine's process, on a thread of its own. One that ends again
/// and again is not told of more often than once a second.
fn look_after(engine: &Connection, started: Option<Instant>, queue: Sender<Event>) {
    let (Ok(process), Ok(news)) = (engine.process(), engine.news()) else { return };
    let wait = move || {
        let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        if let Err(error) = keep_capabilities(&[]) {
            tracing::warn!(%error, "who looks after the engine keeps capabilities");
        }
        let tell =
            |devices: Vec<_>| queue.blocking_send(Event::Heard(stirred(&devices))).map_err(io::Error::other);
        let silent = loop {
            if let Err(error) = news.wait().and_then(tell) {
                break error;
            }
        };
        tracing::debug!(error = %silent, "no more news of the engine");
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if started.is_some_and(|started| started.elapsed() < SHORT_LIFE) {
            thread::sleep(SHORT_LIFE);
        }
        let _nobody_listens = queue.blocking_send(Event::EngineEnded);
    };
    if let Err(error) = thread::Builder::new().name("engine".into()).spawn(wait) {
        tracing::warn!(%error, "nobody looks after the engine");
    }
}

/// These devices were set by somebody else: their domains are worth a look.
fn stirred(devices: &[String]) -> Heard {
    let domains = devices.iter().filter_map(|device| device.split_once('/')?.0.parse().ok());
    Heard { stirred: domains.collect(), ..Heard::default() }
}

fn words(offloads: Vec<Offload>) -> Vec<String> {
    offloads.iter().map(ToString::to_string).collect()
}

fn link_events(at: &End, domain: &OwnedFd) -> io::Result<LinkEvents> {
    let name = at.interface.to_string();
    in_namespace(domain, || LinkEvents::open(&name)).map_err(io::Error::other)?
}

/// The engines of one network in this process, by the place of their interfaces; they end with it.
#[derive(Default)]
pub struct Hosted {
    devices: BTreeMap<End, Device>,
    changes: Option<Arc<Changes>>,
}

impl Hosted {
    /// None yet; of what somebody else sets `queue` is told.
    fn watched(queue: WeakSender<Event>) -> Self {
        let hear = |changes: &Arc<Changes>| {
            changes.keep_by(std::process::id().cast_signed());
            let heard = Arc::clone(changes);
            let tell = move |devices: Vec<String>| {
                queue.upgrade()?.blocking_send(Event::Heard(stirred(&devices))).ok()
            };
            let wait = move || while heard.wait(TOLD_AT_ONCE).and_then(&tell).is_some() {};
            thread::Builder::new().name("engine".into()).spawn(wait).map(drop)
        };
        let changes = Changes::new().and_then(|changes| hear(&changes).map(|()| changes));
        let told = changes.inspect_err(|error| tracing::warn!(%error, "what others set will not be noticed"));
        Self { devices: BTreeMap::new(), changes: told.ok() }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.changes.iter().for_each(|changes| changes.end());
    }
}

impl Engines for Hosted {
    fn queues(&self) -> usize {
        queues()
    }

    fn start(&mut self, at: &End, parts: EngineParts) -> io::Result<()> {
        let link = link_events(at, &parts.domain)?;
        let device = parts.sockets.device.map(|device| device.to_string().into());
        let routes = in_namespace(&parts.sockets.namespace, Routes::open).map_err(io::Error::other)??;
        let sockets = Box::new(UnderlaySockets::new(Some(parts.sockets.namespace)).bound_to(device));
        let name = at.interface.to_string();
        let EngineParts { tun, uapi, .. } = parts;
        let changes = self.changes.as_ref().map(|changes| changes.of(at.to_string()));
        let device = Device::spawn(Parts { name, tun, uapi, link, sockets, routes: Some(routes), changes })?;
        self.devices.insert(at.clone(), device);
        Ok(())
    }

    fn offloads_off(&mut self, at: &End) -> io::Result<Vec<String>> {
        self.devices.get(at).map(|device| words(device.offloads_off())).ok_or(io::ErrorKind::NotFound.into())
    }

    fn stop(&mut self, at: &End) -> io::Result<()> {
        self.devices.remove(at).map(Device::stop).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// For a process that only looks.
#[derive(Debug)]
pub struct NoEngines;

impl Engines for NoEngines {
    fn start(&mut self, at: &End, _: EngineParts) -> io::Result<()> {
        Err(io::Error::other(format!("no engine for {at}: only a supervisor has engines")))
    }

    fn stop(&mut self, _: &End) -> io::Result<()> {
        Ok(())
    }
}
