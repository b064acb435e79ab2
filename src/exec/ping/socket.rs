//! The socket of a run: an unprivileged one (icmp(7), `net.ipv4.ping_group_range`) if it may be had, else a raw one.
//!
//! They differ: an unprivileged socket has its identifier from the kernel, which also keeps foreign replies away;
//! a raw one hears every ICMP message of the namespace, and an IPv4 one with the IP header before it.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6,
    SockaddrStorage, bind, getsockname, recvmsg, sendto, setsockopt, socket, sockopt,
};
use rand_core::{OsRng, RngCore};

use super::Ping;
use super::packet::{self, Echo, Family};
use super::probe::Refusal;

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

    /// Sets DF, and hears of errors that routers tell.
    pub(super) fn forbid_fragments(&self) -> Result<(), Errno> {
        let (level, discover, errors) = match self.family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_RECVERR),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_RECVERR),
        };
        // `IP_PMTUDISC_PROBE` and `IPV6_PMTUDISC_PROBE` are the same number.
        set_number(&self.fd, level, discover, libc::IP_PMTUDISC_PROBE)?;
        set_number(&self.fd, level, errors, 1)
    }

    pub(super) fn limit_hops(&self, hops: u8) -> Result<(), Errno> {
        let (level, option) = match self.family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_TTL),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        };
        set_number(&self.fd, level, option, i32::from(hops))
    }

    /// Why the request of this number did not arrive, and who says so, if somebody has.
    pub(super) fn refusal(&self, sequence: u16) -> io::Result<Option<(Option<IpAddr>, Refusal)>> {
        loop {
            // The error comes with the request that it is about.
            let mut bytes = vec![0; DATAGRAM_BYTES];
            let mut control =
                nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6, libc::c_int, libc::c_int);
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
            let received =
                recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags);
            let received = match received {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            };
            let told = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::Ipv4RecvErr(error, by) => {
                    Some((by.map(|by| IpAddr::V4(u32::from_be(by.sin_addr.s_addr).into())), refusal(&error)))
                }
                ControlMessageOwned::Ipv6RecvErr(error, by) => {
                    Some((by.map(|by| IpAddr::V6(by.sin6_addr.s6_addr.into())), refusal(&error)))
                }
                _ => None,
            });
            let length = received.bytes;
            bytes.truncate(length);
            let ours = packet::request_of(self.family, &bytes) == Some((self.identifier, sequence));
            if let Some(told) = told.filter(|_| ours) {
                return Ok(Some(told));
            }
        }
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

/// The kinds of errors that mean something here, of both families (linux/icmp.h, linux/icmpv6.h).
fn refusal(error: &libc::sock_extended_err) -> Refusal {
    match (error.ee_origin, error.ee_type, error.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, 11, 0) | (libc::SO_EE_ORIGIN_ICMP6, 3, 0) => Refusal::HopLimit,
        (libc::SO_EE_ORIGIN_ICMP, 3, 4) | (libc::SO_EE_ORIGIN_ICMP6, 2, _) => Refusal::TooBig(error.ee_info),
        _ => Refusal::Other(Errno::from_raw(error.ee_errno as i32)),
    }
}

fn set_number(fd: &OwnedFd, level: i32, option: i32, value: i32) -> Result<(), Errno> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // The kernel reads a number of this size and keeps none of it.
    let set = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    Errno::result(set).map(drop)
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
