//! One device by itself, as `wireguard-go IFNAME` makes it: for scripts and test suites written for that.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::tun::request;
use super::{Device, LinkEvents, Parts, UnderlaySockets, open_tun};

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

/// Makes a TUN device in the calling thread's network namespace and runs WireGuard on it, sockets in the same
/// namespace, until the interface is deleted or SIGTERM, SIGINT or SIGHUP comes; these are
/// blocked for the calling thread from then on.
pub fn run_standalone(name: &str) -> io::Result<()> {
    let signals = blocked_signals()?;
    let tun = open_tun(name)?;
    set_mtu(name)?;
    let socket = UapiSocket::bind(name)?;
    let device = Device::spawn(Parts {
        name: name.to_owned(),
        tun,
        link: LinkEvents::open(name)?,
        uapi: socket.listener.try_clone()?,
        sockets: Box::new(UnderlaySockets::new(None)),
    })?;
    tracing::info!(interface = name, "wireguard engine runs");
    let mut fds = [device.ended(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    poll(&mut fds, PollTimeout::NONE)?;
    device.stop();
    Ok(())
}

/// A UAPI socket and its file, which goes when it is dropped.
struct UapiSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UapiSocket {
    fn bind(name: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o755).create(UAPI_DIRECTORY)?;
        let path = Path::new(UAPI_DIRECTORY).join(format!("{name}.sock"));
        if UnixStream::connect(&path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        // What a process that was killed left behind.
        let _absent = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }
}

impl Drop for UapiSocket {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.path);
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
