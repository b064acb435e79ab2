//! The outer sockets: one for IPv4 and one for IPv6 alone, on the same port, bound to the wildcard address, in the
//! underlay's network namespace and nowhere else; bound to its VRF device, too, where that is the underlay.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{
    BindToDevice, Ipv6V6Only, Mark, RcvBuf, RcvBufForce, SndBuf, SndBufForce, UdpGsoSegment,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, getsockopt, setsockopt, socket,
};

use super::namespace::in_namespace;
use super::offloads::Wanted;
use super::routes::Routes;

/// Where IPv6's port must be free as well, this many ports that the kernel picks for IPv4 are tried.
const PORT_ATTEMPTS: usize = 100;
/// What may wait in a socket: less loses packets in bursts, more makes every packet wait when there is too much to do.
const BUFFER_BYTES: usize = 1 << 20;

/// Opens sockets in the underlay. An implementation may ask another process for them.
pub trait OpenSockets: Send {
    /// Opens one IPv4 and one IPv6-only socket on the same port; port 0 picks one that both get.
    fn open(&mut self, port: u16) -> io::Result<UdpPair>;
}

/// The sockets of one interface.
#[derive(Debug)]
pub struct UdpPair {
    /// Carries IPv4, non-blocking.
    pub v4: UdpSocket,
    /// Carries IPv6 alone, non-blocking; none where the underlay has no IPv6.
    pub v6: Option<UdpSocket>,
    /// The port of both.
    pub port: u16,
}

impl UdpPair {
    /// Opens both in the calling thread's network namespace, bound to this device if there is one.
    pub fn open(port: u16, device: Option<&OsStr>) -> io::Result<Self> {
        let attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
        let mut result = Self::try_open(port, device);
        for _ in 1..attempts {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    result = Self::try_open(port, device);
                }
                Err(_) | Ok(_) => break,
            }
        }
        result
    }

    /// Marks what they send (socket(7), SO_MARK); 0 is no mark.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        setsockopt(&self.v4, Mark, &mark)?;
        if let Some(v6) = &self.v6 {
            setsockopt(v6, Mark, &mark)?;
        }
        Ok(())
    }

    /// Whether the kernel cuts a run of datagrams (udp(7), UDP_SEGMENT).
    pub(super) fn can_segment(&self) -> bool {
        getsockopt(&self.v4, UdpGsoSegment).is_ok()
    }

    /// Trains of datagrams at once (udp(7), UDP_GRO) or none; tells whether they come.
    pub(super) fn receive_trains(&self, wanted: Wanted) -> bool {
        let trains = wanted == Wanted::All;
        let mut sockets = [Some(&self.v4), self.v6.as_ref()].into_iter().flatten();
        sockets.all(|socket| set(socket, libc::SOL_UDP, libc::UDP_GRO, trains.into())) && trains
    }

    /// The socket that reaches an address.
    pub(super) fn towards(&self, address: SocketAddr) -> Option<&UdpSocket> {
        match address {
            SocketAddr::V4(_) => Some(&self.v4),
            SocketAddr::V6(_) => self.v6.as_ref(),
        }
    }

    /// The index of the interface by which these reach an address.
    pub(super) fn exit_towards(&self, remote: SocketAddr, routes: &Routes) -> io::Result<u32> {
        let socket = self.towards(remote).ok_or(io::ErrorKind::AddrNotAvailable)?;
        routes.exit_towards(remote.ip(), getsockopt(socket, Mark)?, bound_to(socket)?)
    }

    fn try_open(port: u16, device: Option<&OsStr>) -> io::Result<Self> {
        let v4 = open_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), device)?;
        let port = v4.local_addr()?.port();
        let v6 = match open_one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), device) {
            Ok(v6) => Some(v6),
            Err(error) if lacks_ipv6(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6, port })
    }
}

/// Opens sockets in a network namespace of its own choice, whichever one the engine's threads are in.
pub struct UnderlaySockets {
    namespace: Option<OwnedFd>,
    device: Option<OsString>,
}

impl UnderlaySockets {
    /// In this network namespace, or in that of the device's threads.
    pub fn new(namespace: Option<OwnedFd>) -> Self {
        Self { namespace, device: None }
    }

    /// The same, bound to this device (socket(7), SO_BINDTODEVICE): of a VRF device they use the table, and hear what
    /// comes in by its members.
    pub fn bound_to(self, device: Option<OsString>) -> Self {
        Self { device, ..self }
    }
}

impl OpenSockets for UnderlaySockets {
    fn open(&mut self, port: u16) -> io::Result<UdpPair> {
        let device = self.device.as_deref();
        let Some(namespace) = &self.namespace else { return UdpPair::open(port, device) };
        in_namespace(namespace, || UdpPair::open(port, device))
    }
}

fn open_one(address: SocketAddr, device: Option<&OsStr>) -> io::Result<UdpSocket> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    if let Some(device) = device {
        setsockopt(&socket, BindToDevice, &device.to_owned())?;
    }
    enlarge_buffers(&socket);
    ask_for_details(&socket, family);
    bind_to(&socket, address)?;
    Ok(socket.into())
}

fn bind_to(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    Ok(bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
}

/// As much as the system lets us: beyond net.core.rmem_max with CAP_NET_ADMIN of the first user namespace only.
fn enlarge_buffers(socket: &impl AsFd) {
    let bytes = BUFFER_BYTES;
    if setsockopt(socket, RcvBufForce, &bytes).is_err() {
        let _kept_default = setsockopt(socket, RcvBuf, &bytes);
    }
    if setsockopt(socket, SndBufForce, &bytes).is_err() {
        let _kept_default = setsockopt(socket, SndBuf, &bytes);
    }
}

/// Where datagrams came to, and their ECN field; and outer packets that may be fragmented, as
/// the kernel's engine has them. Without one of these the engine does without it.
fn ask_for_details(socket: &OwnedFd, family: AddressFamily) {
    let v4 = [(libc::IP_PKTINFO, 1), (libc::IP_RECVTOS, 1), (libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)];
    let v6 = [
        (libc::IPV6_RECVPKTINFO, 1),
        (libc::IPV6_RECVTCLASS, 1),
        (libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT),
    ];
    let (level, options) =
        if family == AddressFamily::Inet6 { (libc::IPPROTO_IPV6, v6) } else { (libc::IPPROTO_IP, v4) };
    for (option, value) in options {
        set(socket, level, option, value);
    }
}

/// Tells whether the socket has the option.
fn set(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> bool {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one integer, which lives until the call returns.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if done != 0 {
        tracing::debug!(level, option, error = %io::Error::last_os_error(), "a socket lacks an option");
    }
    done == 0
}

/// The index of the interface that it is bound to, or 0 (socket(7), SO_BINDTOIFINDEX).
fn bound_to(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut index: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let (level, option, value) = (libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, (&raw mut index).cast());
    // SAFETY: the kernel writes one integer and its length, which live until the call returns.
    let done = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, value, &raw mut length) };
    if done != 0 { Err(io::Error::last_os_error()) } else { Ok(index.cast_unsigned()) }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let Some(errno) = error.raw_os_error().map(Errno::from_raw) else { return false };
    matches!(errno, Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EPROTONOSUPPORT)
}
