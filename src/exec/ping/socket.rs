//! The socket of a run: an unprivileged one (icmp(7), `net.ipv4.ping_group_range`) if it may be had, else a raw one.
//!
//! They differ: an unprivileged socket has its identifier from the kernel, which also keeps foreign replies away;
//! a raw one hears every ICMP message of the namespace, and an IPv4 one with the IP header before it.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6,
    SockaddrStorage, bind, getsockname, recvmsg, sendto, setsockopt, socket, sockopt,
};
use rand_core::{OsRng, RngCore};

use super::Ping;
use super::packet::{self, Echo, Family};

/// Room for the largest datagram.
const DATAGRAM_BYTES: usize = 65536;

/// A socket that sends to one destination and hears at least its answers.
#[derive(Debug)]
pub(super) struct EchoSocket {
    fd: OwnedFd,
    family: Family,
    access: Access,
    identifier: u16,
    destination: SockaddrStorage,
}

/// How the socket was had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Unprivileged,
    Raw,
}

/// Something that arrived.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) from: IpAddr,
    /// The TTL or hop limit that it had.
    pub(super) ttl: u8,
    bytes: Vec<u8>,
}

impl EchoSocket {
    /// A socket in the calling thread's namespace.
    pub(super) fn open(options: &Ping) -> io::Result<Self> {
        let family = Family::of(options.address);
        let (fd, access) = match open(family, SockType::Datagram) {
            Ok(fd) => (fd, Access::Unprivileged),
            Err(Errno::EACCES | Errno::EPERM | Errno::EPROTONOSUPPORT) => {
                (open(family, SockType::Raw)?, Access::Raw)
            }
            Err(errno) => return Err(errno.into()),
        };
        set_options(&fd, family, options)?;
        let identifier = match access {
            Access::Unprivileged => identifier_of(&fd, family)?,
            Access::Raw => OsRng.next_u32() as u16,
        };
        Ok(Self { fd, family, access, identifier, destination: destination(options) })
    }

    pub(super) fn send(&self, sequence: u16, data: &[u8]) -> Result<(), Errno> {
        let request = packet::request(self.family, self.identifier, sequence, data);
        sendto(self.fd.as_raw_fd(), &request, &self.destination, MsgFlags::empty()).map(|_| ())
    }

    /// Returns when something has arrived or the time has come.
    pub(super) fn wait_until(&self, until: Instant) -> Result<(), Errno> {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, so that a wait of less than a millisecond does not become a busy loop.
        let millis = left.as_nanos().div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(millis.min(i32::MAX as u128) as i32).unwrap_or(PollTimeout::MAX);
        poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout).map(|_| ())
    }

    /// The next thing that arrived; `None` if nothing more has.
    pub(super) fn receive(&self) -> io::Result<Option<Arrival>> {
        let mut bytes = vec![0; DATAGRAM_BYTES];
        let mut control = nix::cmsg_space!(libc::c_int, libc::c_int);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let received =
            match recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                Ok(received) => received,
                Err(errno) => return quiet(errno),
            };
        let ttl = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => Some(ttl as u8),
            _ => None,
        });
        let from = received.address.as_ref().and_then(address);
        let length = received.bytes;
        bytes.truncate(length);
        Ok(from.map(|from| Arrival { from, ttl: ttl.unwrap_or(0), bytes }))
    }

    /// The answer that an arrival is, if it is one to this socket.
    pub(super) fn answer<'a>(&self, arrival: &'a Arrival) -> Option<Echo<'a>> {
        let message = match (self.access, self.family) {
            (Access::Raw, Family::V4) => packet::behind_header(&arrival.bytes)?,
            (Access::Raw, Family::V6) | (Access::Unprivileged, _) => &arrival.bytes,
        };
        packet::reply(self.family, message).filter(|echo| echo.identifier == self.identifier)
    }
}

fn open(family: Family, kind: SockType) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC;
    match family {
        Family::V4 => socket(AddressFamily::Inet, kind, flags, SockProtocol::Icmp),
        Family::V6 => socket(AddressFamily::Inet6, kind, flags, SockProtocol::IcmpV6),
    }
}

fn set_options(fd: &OwnedFd, family: Family, options: &Ping) -> Result<(), Errno> {
    if let Some(device) = &options.device {
        setsockopt(fd, sockopt::BindToDevice, &device.as_str().into())?;
    }
    match family {
        Family::V4 => {
            setsockopt(fd, sockopt::Ipv4Ttl, &i32::from(options.ttl))?;
            setsockopt(fd, sockopt::Ipv4RecvTtl, &true)
        }
        Family::V6 => setsockopt(fd, sockopt::Ipv6RecvHopLimit, &true),
    }
}

/// The identifier that the kernel chose; it is chosen at bind(2).
fn identifier_of(fd: &OwnedFd, family: Family) -> Result<u16, Errno> {
    let raw = fd.as_raw_fd();
    match family {
        Family::V4 => {
            bind(raw, &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))?;
            getsockname::<SockaddrIn>(raw).map(|name| name.port())
        }
        Family::V6 => {
            bind(raw, &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0)))?;
            getsockname::<SockaddrIn6>(raw).map(|name| name.port())
        }
    }
}

fn destination(options: &Ping) -> SockaddrStorage {
    match options.address {
        IpAddr::V4(address) => SocketAddrV4::new(address, 0).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, options.scope_id).into(),
    }
}

fn address(name: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = name.as_sockaddr_in().map(|name| IpAddr::V4(name.ip()));
    v4.or_else(|| name.as_sockaddr_in6().map(|name| IpAddr::V6(name.ip())))
}

/// Errors that are no fault of the socket: nothing there, or an ICMP error about an earlier request.
fn quiet(errno: Errno) -> io::Result<Option<Arrival>> {
    match errno {
        Errno::EAGAIN | Errno::EINTR | Errno::ECONNREFUSED | Errno::EHOSTUNREACH | Errno::ENETUNREACH => {
            Ok(None)
        }
        errno => Err(errno.into()),
    }
}
