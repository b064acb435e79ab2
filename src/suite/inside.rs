//! What a program in a domain would see of the network, seen by a thread of this one: in the domain's namespace, with
//! sockets that are bound to the domain's VRF device where it has no namespace of its own.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, setsockopt, socket,
    sockopt,
};

use crate::backend::linux::Namespace;
use crate::backend::linux::namespace::NamespaceError;
use crate::exec::ping::{Fate, Probe, probe};
use crate::model::InterfaceName;

/// A domain, from inside.
pub(super) struct Inside<'a> {
    pub(super) namespace: &'a Namespace,
    /// What sockets are bound to.
    pub(super) device: Option<InterfaceName>,
}

impl Inside<'_> {
    /// What becomes of one echo request.
    pub(super) fn probe(&self, request: Probe) -> io::Result<Fate> {
        let request = Probe { device: self.device.clone(), ..request };
        self.namespace.run(|| probe(&request)).map_err(io::Error::other)?
    }

    /// A small one, that may go as far as any.
    pub(super) fn echo(&self, to: IpAddr, wait: Duration) -> io::Result<Fate> {
        self.probe(Probe::new(to, wait))
    }

    /// A TCP connection there, made within this time.
    pub(super) fn call(&self, to: SocketAddr, wait: Duration) -> Result<TcpStream, Errno> {
        self.run(|| connected(to, self.device.as_ref(), wait)).map(TcpStream::from)
    }

    /// A UDP socket that hears of errors of its one destination.
    pub(super) fn datagrams_to(&self, to: SocketAddr) -> Result<UdpSocket, Errno> {
        let open = || {
            let socket = new_socket(to, SockType::Datagram, SockFlag::empty(), self.device.as_ref())?;
            connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
            Ok(socket)
        };
        self.run(open).map(UdpSocket::from)
    }

    /// A socket that is bound there.
    pub(super) fn bound(&self, at: SocketAddr, kind: SockType) -> Result<OwnedFd, Errno> {
        self.run(|| {
            let socket = new_socket(at, kind, SockFlag::empty(), self.device.as_ref())?;
            setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            bind(socket.as_raw_fd(), &SockaddrStorage::from(at))?;
            Ok(socket)
        })
    }

    fn run<T: Send>(&self, inside: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T, Errno> {
        let errno = |error: NamespaceError| error.errno().unwrap_or(Errno::EIO);
        self.namespace.run(inside).map_err(errno)?
    }
}

fn new_socket(
    like: SocketAddr,
    kind: SockType,
    flags: SockFlag,
    device: Option<&InterfaceName>,
) -> Result<OwnedFd, Errno> {
    let family = if like.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC | flags, None)?;
    if let Some(device) = device {
        setsockopt(&socket, sockopt::BindToDevice, &device.as_str().into())?;
    }
    Ok(socket)
}

/// As `TcpStream::connect_timeout`, which cannot bind to a device first.
fn connected(to: SocketAddr, device: Option<&InterfaceName>, wait: Duration) -> Result<OwnedFd, Errno> {
    let socket = new_socket(to, SockType::Stream, SockFlag::SOCK_NONBLOCK, device)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Err(Errno::EINPROGRESS) => {}
        other => return other.map(|()| socket),
    }
    let deadline = Instant::now() + wait;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        // Rounded up, so that a wait of less than a millisecond is none of nothing.
        let timeout = PollTimeout::try_from(left as u64 + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], timeout) {
            Ok(0) => return Err(Errno::ETIMEDOUT),
            Ok(_) => {
                return match getsockopt(&socket, sockopt::SocketError)? {
                    0 => Ok(socket),
                    error => Err(Errno::from_raw(error)),
                };
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
