//! The supervisor's side: finds an engine by its socket, or starts one, and hands it what its devices work with.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::socket::sockopt::{PeerCredentials, ReceiveTimeout, SendTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, setsockopt,
    socket,
};
use nix::sys::time::TimeVal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, geteuid};

use super::message::{Answer, PROTOCOL, Request, receive, send};
use super::pidfd::Process;
use crate::model::InterfaceName;
use crate::wireguard::{LinkEvents, Offload, UdpPair};

/// How long an engine may take for an answer: a machine under load starts one in less.
const ANSWER_SECS: i64 = 10;
/// How long an engine without devices may take to end.
const ENDING: Duration = Duration::from_secs(2);
/// What of the environment is an engine's too.
const SETTINGS: [&str; 3] = ["RDOM_LOG", "RDOM_OFFLOADS", "RDOM_QUEUES"];
/// Why an engine is ended that does not answer, or nothing that makes sense.
const DISOBEDIENT: &str = "does not do what it is asked for";

/// What a device is handed, opened where it belongs.
pub struct Handed<'h> {
    /// The device, as `DOMAIN/INTERFACE`.
    pub device: String,
    /// The interface.
    pub interface: &'h InterfaceName,
    /// The queues of the TUN device.
    pub tun: Vec<OwnedFd>,
    /// Link events of the domain.
    pub link: LinkEvents,
    /// The listener for wg(8).
    pub uapi: UnixListener,
    /// What its UDP sockets are to be bound to.
    pub bound_to: Option<String>,
}

/// A living engine. To drop it is to leave it alone.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    path: PathBuf,
    pid: Pid,
    process: Process,
    devices: Vec<String>,
}

/// Another connection to an engine, by which it tells what others than this process set.
#[derive(Debug)]
pub struct News(OwnedFd);

impl News {
    /// Waits for devices that somebody else has set; an error says that the engine has ended.
    pub fn wait(&self) -> io::Result<Vec<String>> {
        send(self.0.as_fd(), &Request::Changes, &[])?;
        match receive(self.0.as_fd())?.0 {
            Answer::Changed { devices } => Ok(devices),
            other => Err(unexpected(other)),
        }
    }
}

impl Connection {
    /// Starts an engine in the calling thread's network namespace. It outlives this process; what it has to say goes
    /// to `log`.
    pub fn start(path: &Path, log: Stdio) -> io::Result<Self> {
        let listener = listen_at(path)?;
        let child = Command::new("/proc/self/exe")
            .arg0("rdom")
            .arg("engine")
            .env_clear()
            .envs(SETTINGS.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .current_dir("/")
            .stdin(listener)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        Self::to(path, Some(pid))
    }

    /// Takes over an engine that lives: of this user, and of this protocol. `ConnectionRefused` and `NotFound` say
    /// that there is none; one that cannot be spoken to is ended.
    pub fn adopt(path: &Path) -> io::Result<Self> {
        Self::to(path, None)
    }

    fn to(path: &Path, child: Option<Pid>) -> io::Result<Self> {
        let socket = connected_to(path)?;
        let peer = getsockopt(&socket, PeerCredentials)?;
        if peer.uid() != geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the engine is somebody else's"));
        }
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(ANSWER_SECS, 0))?;
        setsockopt(&socket, SendTimeout, &TimeVal::new(ANSWER_SECS, 0))?;
        let pid = child.unwrap_or(Pid::from_raw(peer.pid()));
        let process = Process::open(pid.as_raw())?;
        let mut engine = Self { socket, path: path.to_owned(), pid, process, devices: Vec::new() };
        match engine.ask(&Request::Hello, &[]) {
            Ok(Answer::Hello { protocol: PROTOCOL, devices }) => {
                engine.devices = devices;
                Ok(engine)
            }
            Ok(Answer::Hello { protocol, .. }) => {
                engine.kill(&format!(
                    "is of another version of rdom: it speaks protocol {protocol}, not {PROTOCOL}"
                ));
                Err(io::Error::from(io::ErrorKind::ConnectionRefused))
            }
            Ok(_) => {
                engine.kill(DISOBEDIENT);
                Err(io::Error::from(io::ErrorKind::ConnectionRefused))
            }
            Err(error) => {
                engine.kill(DISOBEDIENT);
                Err(error)
            }
        }
    }

    /// The devices that it runs, as `DOMAIN/INTERFACE`.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Whether its process lives.
    pub fn lives(&self) -> bool {
        !self.process.has_ended_by(Instant::now())
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Becomes readable when the process ends (pidfd_open(2)).
    pub fn process(&self) -> io::Result<OwnedFd> {
        self.process.handle().try_clone_to_owned()
    }

    /// Asks it for news.
    pub fn news(&self) -> io::Result<News> {
        connected_to(&self.path).map(News)
    }

    /// Runs a device.
    pub fn run(&mut self, handed: Handed<'_>) -> io::Result<()> {
        let Handed { device, interface, tun, link, uapi, bound_to } = handed;
        let (events, index) = link.into_subscription()?;
        let name = interface.to_string();
        let request = Request::Start { device: device.clone(), name, index, bound_to };
        let mut descriptors = vec![events.as_fd(), uapi.as_fd()];
        descriptors.extend(tun.iter().map(AsFd::as_fd));
        done(self.ask(&request, &descriptors)?)?;
        self.devices.push(device);
        Ok(())
    }

    /// Has a device use these sockets when it next wants some of this port, which is theirs.
    pub fn hand_sockets(&mut self, device: &str, port: u16, pairs: &[UdpPair]) -> io::Result<()> {
        let request = Request::Sockets { device: device.to_owned(), port };
        let sockets: Vec<_> = pairs.iter().flat_map(UdpPair::sockets).map(AsFd::as_fd).collect();
        done(self.ask(&request, &sockets)?)
    }

    /// The offloads that a device does without.
    pub fn offloads_off(&self, device: &str) -> io::Result<Vec<Offload>> {
        match self.ask(&Request::OffloadsOff { device: device.to_owned() }, &[])? {
            Answer::OffloadsOff { offloads } => Ok(offloads),
            other => Err(unexpected(other)),
        }
    }

    /// Ends a device. One that does not answer is ended with all that it runs.
    pub fn stop(&mut self, device: &str) -> io::Result<()> {
        self.devices.retain(|known| known != device);
        let stopped = self.ask(&Request::Stop { device: device.to_owned() }, &[]).and_then(done);
        match stopped {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(_) => {
                self.kill(DISOBEDIENT);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Lets an engine without devices end, and removes its socket.
    pub fn end(self) {
        drop(self.socket);
        let deadline = Instant::now() + ENDING;
        if !self.process.has_ended_by(deadline) {
            self.process.signal(Signal::SIGKILL);
        }
        bury(self.pid);
        let _gone = std::fs::remove_file(&self.path);
    }

    fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> io::Result<Answer> {
        send(self.socket.as_fd(), request, descriptors)?;
        receive(self.socket.as_fd()).map(|(answer, _)| answer)
    }

    /// Ends a process that still holds the other end of this connection, and so still is what its number says.
    fn kill(&mut self, why: &str) {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        let hung_up = fds[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP));
        if polled.is_ok() && !hung_up {
            tracing::warn!(
                pid = self.pid(),
                "the engine {why}; it is ended, and another one takes its tunnels"
            );
            self.process.signal(Signal::SIGKILL);
            self.process.has_ended_by(Instant::now() + ENDING);
        }
        bury(self.pid);
        self.devices.clear();
    }
}

/// Reaps a child; an engine that was taken over is none.
fn bury(pid: Pid) {
    let _none_of_ours = waitpid(pid, Some(WaitPidFlag::WNOHANG));
}

fn done(answer: Answer) -> io::Result<()> {
    match answer {
        Answer::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// What an answer that was not hoped for says.
fn unexpected(answer: Answer) -> io::Error {
    match answer {
        Answer::NoDevice => io::ErrorKind::NotFound.into(),
        Answer::Failed { errno: Some(errno), .. } => io::Error::from_raw_os_error(errno),
        Answer::Failed { errno: None, reason } => io::Error::other(reason),
        Answer::Hello { .. } | Answer::Changed { .. } | Answer::OffloadsOff { .. } | Answer::Done => {
            io::ErrorKind::InvalidData.into()
        }
    }
}

fn connected_to(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    for_path(path, |address| Ok(connect(socket.as_raw_fd(), address)?))?;
    Ok(socket)
}

/// A socket there, in place of one that an engine left behind.
fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    for_path(path, |address| {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(bind(listener.as_raw_fd(), address)?)
    })?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(&listener, Backlog::new(16)?)?;
    Ok(listener)
}

/// The address of a path of any length: by way of a descriptor of its directory, for an address has 107 bytes.
fn for_path<T>(path: &Path, task: impl FnOnce(&UnixAddr) -> io::Result<T>) -> io::Result<T> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(directory)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    task(&UnixAddr::new(&short)?)
}
