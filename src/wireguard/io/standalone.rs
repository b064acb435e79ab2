//! One device by itself, as `wireguard-go IFNAME` makes it: for scripts and test suites written for that.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::tun::request;
use super::{Device, LinkEvents, Parts, Routes, UnderlaySockets, open_tun, queues};

/// Where `wg` looks for UAPI sockets.
const UAPI_DIRECTORY: &str = "/var/run/wireguard";
/// The largest inner packet whose outer one fits into 1,500 bytes, with IPv6 outside.
const MTU: libc::c_int = 1420;

nix::ioctl_write_ptr_bad!(
    /// Sets an interface's MTU (netdevice(7)).
    set_interface_mtu,
    libc::SIOCSIFMTU,
    libc::ifreq
);

/// What a standalone engine is given in place of what it would open itself.
#[derive(Debug, Default)]
pub struct Given {
    /// A TUN device.
    pub tun: Option<OwnedFd>,
    /// A listening socket for `wg`; whoever made its file removes it.
    pub uapi: Option<OwnedFd>,
}

/// Makes a TUN device in the calling thread's network namespace and runs WireGuard on it, sockets in the same
/// namespace, until the interface or the socket's file is deleted or SIGTERM, SIGINT or SIGHUP comes; these are
/// blocked for the calling thread from then on. `ready` is called once `wg` can connect.
pub fn run_standalone(name: &str, given: Given, ready: impl FnOnce()) -> io::Result<()> {
    let signals = blocked_signals()?;
    let (tun, name) = match given.tun {
        Some(tun) => {
            let name = super::tun::place(&tun)?.0;
            (vec![non_blocking(tun)?], name)
        }
        None => {
            // The kernel would give the device of a running engine further queues.
            refuse_second(name)?;
            (open_tun(name, queues())?, name.to_owned())
        }
    };
    set_mtu(&name)?;
    let (socket, uapi) = match given.uapi {
        Some(uapi) => (None, uapi.into()),
        None => {
            let socket = UapiSocket::bind(&name)?;
            let listener = socket.listener.try_clone()?;
            (Some(socket), listener)
        }
    };
    let link = LinkEvents::open(&name)?;
    let sockets = Box::new(UnderlaySockets::new(None));
    let routes = Some(Routes::open()?);
    let parts = Parts { name: name.clone(), tun, link, uapi, sockets, routes, changes: None };
    let device = Device::spawn(parts)?;
    tracing::info!(interface = name, "wireguard engine runs");
    ready();
    wait_for_end(&device, &signals, socket.as_ref())?;
    device.stop();
    Ok(())
}

fn wait_for_end(device: &Device, signals: &SignalFd, socket: Option<&UapiSocket>) -> io::Result<()> {
    let mut ends = vec![device.ended(), signals.as_fd()];
    ends.extend(socket.map(|socket| socket.watch.as_fd()));
    let mut fds: Vec<_> = ends.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
    Ok(())
}

fn non_blocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(fd)
}

/// A UAPI socket and its file, which goes when it is dropped.
struct UapiSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Becomes readable when the file is deleted: scripts for `wireguard-go` end it so.
    watch: Inotify,
}

impl UapiSocket {
    fn bind(name: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o755).create(UAPI_DIRECTORY)?;
        refuse_second(name)?;
        let path = uapi_path(name);
        // What a process that was killed left behind.
        let _absent = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        watch.add_watch(&path, AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_ATTRIB)?;
        Ok(Self { listener, path, watch })
    }
}

impl Drop for UapiSocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
    }
}

fn uapi_path(name: &str) -> PathBuf {
    Path::new(UAPI_DIRECTORY).join(format!("{name}.sock"))
}

/// An engine that answers for this name is an error.
fn refuse_second(name: &str) -> io::Result<()> {
    match UnixStream::connect(uapi_path(name)) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(_) => Ok(()),
    }
}

fn blocked_signals() -> io::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?)
}

fn set_mtu(name: &str) -> io::Result<()> {
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = MTU;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    // SAFETY: the kernel reads one `ifreq`, which lives until the call returns.
    unsafe { set_interface_mtu(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}
