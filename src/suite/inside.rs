//! What a program in a domain would see of the network, seen by a thread of this one: in the domain's namespace, with
//! sockets that are bound to the domain's VRF device where it has no namespace of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket, sockopt,
};

use crate::backend::linux::Namespace;
use crate::exec::ping::{Ping, ping};
use crate::model::InterfaceName;
use crate::spec::Connection;

/// A domain, from inside.
pub(super) struct Inside<'a> {
    pub(super) namespace: &'a Namespace,
    /// What sockets are bound to.
    pub(super) device: Option<InterfaceName>,
}

impl Inside<'_> {
    /// One echo request; an error says why it was not answered.
    pub(super) fn echo(&self, to: IpAddr, wait: Duration) -> Result<(), String> {
        let request = Ping { count: Some(1), wait, device: self.device.clone(), ..Ping::new(to) };
        let mut said = Vec::new();
        let answered = self.namespace.run(|| ping(&request, &mut said)).map_err(|error| error.to_string())?;
        match answered {
            Ok(summary) if summary.received > 0 => Ok(()),
            Ok(_) => Err(format!("no answer from {to}")),
            Err(error) => Err(format!("no answer from {to}: {error}")),
        }
    }

    /// What becomes of a TCP connection there within this time.
    pub(super) fn call(&self, to: SocketAddr, wait: Duration) -> Connection {
        let called = self.namespace.run(|| connected(to, self.device.as_ref(), wait));
        match called.map_err(io::Error::other) {
            Ok(Ok(())) => Connection::Open,
            Ok(Err(Errno::ECONNREFUSED)) => Connection::Refused,
            Ok(Err(_)) | Err(_) => Connection::Unreachable,
        }
    }
}

/// As `TcpStream::connect_timeout`, which cannot bind to a device first.
fn connected(to: SocketAddr, device: Option<&InterfaceName>, wait: Duration) -> Result<(), Errno> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if let Some(device) = device {
        setsockopt(&socket, sockopt::BindToDevice, &device.as_str().into())?;
    }
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(to)) {
        Err(Errno::EINPROGRESS) => {}
        other => return other,
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
                    0 => Ok(()),
                    error => Err(Errno::from_raw(error)),
                };
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
