//! The keeper's process: it alone starts services, so that it alone is their parent and hears of their end.
//!
//! One thread decides and acts; others only put what they hear into its queue: requests, and that a child has ended.
//! What services leave behind becomes its child (prctl(2), PR_SET_CHILD_SUBREAPER), and ends with it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, pipe2, setsid};
use tracing::{info, warn};

use super::connection::{Told, hear};
use super::keep::{Action, Happening, Keep};
use super::message::{Answer, PROTOCOL, Request};
use super::orphans::end_children;
use super::{guard, orphans, own, ready};
use crate::model::{NetworkName, Service, ServiceName, Sign};

/// What a keeper calls itself.
pub const PROCESS: &str = "rdom-services";

/// Makes the command that becomes these words where and as whom a service runs; it closes the descriptor, if there is
/// one, when it has become them, and writes to it before that if it cannot.
pub type Enter = Box<dyn Fn(&Service, &[String], Option<RawFd>) -> Command>;

/// How often it is looked whether what starts is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a command may take to say whether a service is ready.
const PROBE_WITHIN: Duration = Duration::from_secs(10);
/// How often logs are looked at, and how long a first call is awaited.
const IDLE: Duration = Duration::from_secs(5);
/// A log that is longer than this, in bytes, begins anew; what was in it is kept once.
const LOG_LIMIT: u64 = 8 << 20;

/// What the deciding thread hears.
pub(super) enum Heard {
    Came,
    Left,
    Told(Told),
    /// A child has ended.
    Child,
}

/// Keeps services for whoever connects to this listener, until there are neither services nor a connection. To be
/// called by the only thread of a process, which stays as its guard.
pub fn run(listener: UnixListener, network: &NetworkName, runtime: &Path, enter: Enter) -> io::Result<()> {
    guard::stand()?;
    let mark = orphans::mark(network)?;
    prctl::set_name(c"rdom-services")?;
    let _leads_already = setsid();
    prctl::set_child_subreaper(true)?;
    // The supervisor holds signals back, and its children begin so.
    let ended = SigSet::from(Signal::SIGCHLD);
    ended.thread_set_mask()?;
    let (tell, heard) = mpsc::sync_channel(32);
    let told = tell.clone();
    thread::Builder::new()
        .name("children".into())
        .spawn(move || while ended.wait().is_ok() && told.send(Heard::Child).is_ok() {})?;
    thread::Builder::new().name("callers".into()).spawn(move || hear(&listener, &tell))?;
    let runtime = runtime.to_owned();
    let mut keeper = Keeper {
        runtime,
        mark,
        enter,
        keep: Keep::default(),
        running: BTreeMap::new(),
        probes: BTreeMap::new(),
    };
    keeper.serve(&heard);
    end_children();
    Ok(())
}

struct Keeper {
    runtime: PathBuf,
    mark: String,
    enter: Enter,
    keep: Keep,
    /// The processes of services, by number.
    running: BTreeMap<i32, Running>,
    /// Commands that see whether a service is ready, likewise.
    probes: BTreeMap<i32, (ServiceName, Instant)>,
}

struct Running {
    name: ServiceName,
    /// At its end the process has become the program.
    became: File,
    /// Where its part of the log begins, in bytes.
    log_from: u64,
}

impl Keeper {
    fn serve(&mut self, heard: &Receiver<Heard>) {
        let (mut callers, mut ending) = (0_u32, Vec::new());
        loop {
            match heard.recv_timeout(self.patience()) {
                Ok(Heard::Came) => callers += 1,
                Ok(Heard::Left) if callers == 1 && self.keep.is_empty() => return,
                Ok(Heard::Left) => callers -= 1,
                Ok(Heard::Child) => self.bury(),
                Ok(Heard::Told(Told { request: Request::End, reply })) => {
                    self.handle(Happening::Wanted(Vec::new()));
                    ending.push(reply);
                }
                Ok(Heard::Told(Told { request: Request::Hello, reply })) => {
                    drop(reply.send(Answer::Hello(PROTOCOL)));
                }
                Ok(Heard::Told(Told { request, reply })) => drop(reply.send(self.perform(request))),
                Err(RecvTimeoutError::Timeout) if callers == 0 && self.keep.is_empty() => return,
                Err(RecvTimeoutError::Timeout) => self.shorten_logs(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.look();
            self.handle(Happening::Tick);
            if self.keep.is_empty() && !ending.is_empty() {
                end_children();
                ending.iter().for_each(|reply| drop(reply.send(Answer::Services(Vec::new()))));
                // This process ends now: not before they have been answered.
                ending.iter().for_each(|reply| drop(reply.send(Answer::Services(Vec::new()))));
                return;
            }
        }
    }

    /// How long it may wait for something to happen.
    fn patience(&self) -> Duration {
        if !self.keep.starting().is_empty() {
            return LOOK_EVERY;
        }
        let due = self.keep.due().map(|due| due.saturating_duration_since(Instant::now()));
        due.map_or(IDLE, |due| due.min(IDLE))
    }

    fn perform(&mut self, request: Request) -> Answer {
        let known = |name: &ServiceName| match self.keep.has(name) {
            true => Ok(name.clone()),
            false => Err(Answer::Refused(format!("there is no service {name}"))),
        };
        let happening = match &request {
            Request::Keep(services) => Ok(Happening::Wanted(services.clone())),
            Request::Kill(name) => known(name).map(Happening::Kill),
            Request::Start(name) => known(name).map(Happening::Start),
            Request::Hello | Request::Status | Request::End => Ok(Happening::Tick),
        };
        match happening {
            Ok(happening) => {
                self.handle(happening);
                Answer::Services(self.keep.views(Instant::now()))
            }
            Err(refused) => refused,
        }
    }

    fn handle(&mut self, happening: Happening) {
        for action in self.keep.handle(happening, Instant::now()) {
            match action {
                Action::Signal(pid, signal) => signal_group(pid, signal),
                Action::Spawn(service) => {
                    let name = service.name.clone();
                    let came = self.spawn(&service);
                    self.handle(match came {
                        Ok(pid) => Happening::Spawned(name, pid),
                        Err(error) => {
                            warn!(service = %name, %error, "not started");
                            Happening::Ended(name, 126)
                        }
                    });
                }
            }
        }
    }

    fn spawn(&mut self, service: &Service) -> io::Result<i32> {
        let log = self.log(service)?;
        let log_from = log.metadata()?.len();
        let (became, tell) = pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&became, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = (self.enter)(service, &service.command, Some(tell.as_raw_fd()));
        command.env(orphans::VARIABLE, &self.mark).env(own::VARIABLE, service.name.to_string());
        let started = start(&mut command, service, &log, Some(tell)).inspect_err(|error| {
            let _ = writeln!(&log, "rdom: {}: {error}", service.directory.display());
        })?;
        info!(service = %service.name, pid = started, "started");
        let name = service.name.clone();
        self.running.insert(started, Running { name, became: became.into(), log_from });
        Ok(started)
    }

    fn log(&self, service: &Service) -> io::Result<File> {
        let path = super::log(&self.runtime, &service.name);
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
    }

    /// Takes note of children that have ended. Whom a service has started in its process group ends with it.
    fn bury(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        while let Ok(Some(pid)) = waitid(Id::All, flags | WaitPidFlag::WNOWAIT).map(|ended| ended.pid()) {
            if self.running.contains_key(&pid.as_raw()) {
                signal_group(pid.as_raw(), Signal::SIGKILL);
            }
            let status = match waitid(Id::Pid(pid), flags) {
                Ok(WaitStatus::Exited(_, status)) => u8::try_from(status).unwrap_or(1),
                Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as u8,
                Ok(_) | Err(_) => 1,
            };
            if let Some(Running { name, .. }) = self.running.remove(&pid.as_raw()) {
                info!(service = %name, status, "ended");
                self.handle(Happening::Ended(name, status));
            }
            if let Some((name, _)) = self.probes.remove(&pid.as_raw()).filter(|_| status == 0) {
                self.handle(Happening::Ready(name));
            }
        }
    }

    /// Whether what starts has become its program, or is ready.
    fn look(&mut self) {
        for (service, pid, became) in self.keep.starting() {
            let Some(running) = self.running.get_mut(&pid) else { continue };
            let happening = match (became, &service.ready) {
                (false, _) if matches!(running.became.read(&mut [0]), Ok(0)) => {
                    Happening::Became(service.name)
                }
                (true, Some(ready)) if self.is_ready(&service, pid, &ready.sign) => {
                    Happening::Ready(service.name)
                }
                (false | true, _) => continue,
            };
            self.handle(happening);
        }
    }

    fn is_ready(&mut self, service: &Service, pid: i32, sign: &Sign) -> bool {
        match sign {
            Sign::Tcp(port) => own::holds(&service.name, pid, &ready::listening(pid, *port)),
            Sign::Udp(port) => own::holds(&service.name, pid, &ready::bound(pid, *port)),
            Sign::Log(words) => {
                let from = self.running.get(&pid).map_or(0, |running| running.log_from);
                ready::has_said(&super::log(&self.runtime, &service.name), from, words)
            }
            Sign::Exec(command) => {
                self.probe(service, command);
                false
            }
        }
    }

    /// Has a command see whether the service is ready, unless one is at it.
    fn probe(&mut self, service: &Service, command: &[String]) {
        let running = self.probes.iter().find(|(_, (name, _))| *name == service.name);
        match running.map(|(pid, (_, started))| (*pid, started.elapsed() > PROBE_WITHIN)) {
            Some((pid, true)) => signal_group(pid, Signal::SIGKILL),
            Some((_, false)) => {}
            None => {
                let mut command = (self.enter)(service, command, None);
                let started = File::options().write(true).open("/dev/null");
                match started.and_then(|nowhere| start(&mut command, service, &nowhere, None)) {
                    Ok(pid) => drop(self.probes.insert(pid, (service.name.clone(), Instant::now()))),
                    Err(error) => warn!(service = %service.name, %error, "cannot see whether it is ready"),
                }
            }
        }
    }

    fn shorten_logs(&mut self) {
        for running in self.running.values_mut() {
            let path = super::log(&self.runtime, &running.name);
            if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_LIMIT) {
                let kept = fs::copy(&path, path.with_extension("log.1"));
                let emptied = kept.and_then(|_| File::options().write(true).open(&path)?.set_len(0));
                running.log_from = 0;
                if let Err(error) = emptied {
                    warn!(service = %running.name, %error, "its log goes on growing");
                }
            }
        }
    }
}

/// Starts a command in a session of its own, which nothing at a terminal is meant for, and that ends with this process.
fn start(command: &mut Command, service: &Service, out: &File, tell: Option<OwnedFd>) -> io::Result<i32> {
    command.envs(&service.env).current_dir(&service.directory);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out.try_clone()?);
    let tell = tell.as_ref();
    let told = tell.map(AsRawFd::as_raw_fd);
    let prepare = move || {
        setsid()?;
        SigSet::empty().thread_set_mask()?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if let Some(told) = told {
            // SAFETY: whoever calls `start` holds it open until the process is there.
            let told = unsafe { std::os::fd::BorrowedFd::borrow_raw(told) };
            fcntl(told, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    };
    // SAFETY: a few system calls, which may be made between fork and exec.
    let child = unsafe { command.pre_exec(prepare) }.spawn()?;
    Ok(child.id().cast_signed())
}

/// The process may have gone.
fn signal_group(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(-pid), signal);
}
