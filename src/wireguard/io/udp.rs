//! The outer sockets: pairs of one for IPv4 and one for IPv6 alone, all on the same port, bound to the wildcard address, in the
//! underlay's network namespace and nowhere else; bound to its VRF device, too, where that is the underlay.

use std::ffi::{OsStr, OsString};
use std::io;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{
    AttachReusePortCbpf, BindToDevice, Ipv6V6Only, Mark, RcvBuf, RcvBufForce, ReusePort, SndBuf, SndBufForce,
    UdpGsoSegment,
};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, getsockopt, setsockopt, socket,
};

use super::namespace::in_namespace;
use super::offloads::Wanted;
use super::routes::Routes;
use crate::wireguard::message::PEER_NUMBER_AT;
use crate::wireguard::route::Route;

/// Where IPv6's port must be free as well, this many ports that the kernel picks for IPv4 are tried.
const PORT_ATTEMPTS: usize = 100;
/// What may wait in a socket: less loses packets in bursts, more makes every packet wait when there is too much to do.
const BUFFER_BYTES: usize = 1 << 20;

/// Opens sockets in the underlay. An implementation may ask another process for them.
pub trait OpenSockets: Send {
    /// Opens this many pairs on the same port; port 0 picks one that all get. There may be more or fewer than that where
    /// they are handed over, but one at least.
    fn open(&mut self, port: u16, count: usize) -> io::Result<Vec<UdpPair>>;
}

/// An IPv4 and an IPv6-only socket on the same port.
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
    /// Opens this many in the calling thread's network namespace, bound to this device if there is one. The first has
    /// the port to itself while it is bound, so that one that is taken is an error; then it lets the others join
    /// (socket(7), SO_REUSEPORT). What is for one peer comes by one of them.
    pub fn open(port: u16, device: Option<&OsStr>, count: usize) -> io::Result<Vec<Self>> {
        let mut pairs = vec![Self::open_first(port, device)?];
        if count > 1 {
            pairs[0].sockets().try_for_each(|socket| setsockopt(socket, ReusePort, &true))?;
        }
        for _ in 1..count {
            pairs.push(Self::try_open(pairs[0].port, device, Joining::Others)?);
        }
        if count > 1 {
            pairs[0].sockets().for_each(|socket| steer(socket, count as u32));
        }
        Ok(pairs)
    }

    /// Marks what they send (socket(7), SO_MARK); 0 is no mark.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        Ok(self.sockets().try_for_each(|socket| setsockopt(socket, Mark, &mark))?)
    }

    fn open_first(port: u16, device: Option<&OsStr>) -> io::Result<Self> {
        let attempts = if port == 0 { PORT_ATTEMPTS } else { 1 };
        let mut result = Self::try_open(port, device, Joining::Nobody);
        for _ in 1..attempts {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    result = Self::try_open(port, device, Joining::Nobody);
                }
                Err(_) | Ok(_) => break,
            }
        }
        result
    }

    /// Whether the kernel cuts a run of datagrams (udp(7), UDP_SEGMENT).
    pub(super) fn can_segment(&self) -> bool {
        getsockopt(&self.v4, UdpGsoSegment).is_ok()
    }

    /// Trains of datagrams at once (udp(7), UDP_GRO) or none; tells whether they come.
    pub(super) fn receive_trains(&self, wanted: Wanted) -> bool {
        let trains = wanted == Wanted::All;
        self.sockets().all(|socket| set(socket, libc::SOL_UDP, libc::UDP_GRO, trains.into())) && trains
    }

    /// The socket that reaches an address.
    pub(super) fn towards(&self, address: SocketAddr) -> Option<&UdpSocket> {
        match address {
            SocketAddr::V4(_) => Some(&self.v4),
            SocketAddr::V6(_) => self.v6.as_ref(),
        }
    }

    /// The index of the interface by which these send on that way.
    pub(super) fn exit_of(&self, way: Route, routes: &Routes) -> io::Result<u32> {
        let socket = self.towards(way.remote).ok_or(io::ErrorKind::AddrNotAvailable)?;
        routes.exit_of(way, getsockopt(socket, Mark)?, bound_to(socket)?)
    }

    /// Both, or IPv4's where there is no other.
    pub fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        iter::once(&self.v4).chain(&self.v6)
    }

    fn try_open(port: u16, device: Option<&OsStr>, joining: Joining) -> io::Result<Self> {
        let v4 = open_one(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), device, joining)?;
        let port = v4.local_addr()?.port();
        let v6 = match open_one(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), device, joining) {
            Ok(v6) => Some(v6),
            Err(error) if lacks_ipv6(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6, port })
    }
}

/// Whom a socket shares its port with from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joining {
    Nobody,
    /// Those of this user that let it.
    Others,
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
    fn open(&mut self, port: u16, count: usize) -> io::Result<Vec<UdpPair>> {
        let device = self.device.as_deref();
        let Some(namespace) = &self.namespace else { return UdpPair::open(port, device, count) };
        in_namespace(namespace, || UdpPair::open(port, device, count))
    }
}

fn open_one(address: SocketAddr, device: Option<&OsStr>, joining: Joining) -> io::Result<UdpSocket> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    if family == AddressFamily::Inet6 {
        setsockopt(&socket, Ipv6V6Only, &true)?;
    }
    if let Some(device) = device {
        setsockopt(&socket, BindToDevice, &device.to_owned())?;
    }
    if joining == Joining::Others {
        setsockopt(&socket, ReusePort, &true)?;
    }
    enlarge_buffers(&socket);
    ask_for_details(&socket, family);
    bind_to(&socket, address)?;
    Ok(socket.into())
}

/// Has the kernel give each datagram to the socket of the peer that it is for: to that of the number in a receiver
/// index, modulo theirs. Without that it goes by the hash of addresses and ports.
fn steer(socket: &UdpSocket, sockets: u32) {
    let take_number = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, PEER_NUMBER_AT);
    let modulo = (libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, sockets);
    let is_it = (libc::BPF_RET | libc::BPF_A, 0);
    let mut program = [take_number, modulo, is_it].map(|(code, k)| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    });
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    if let Err(error) = setsockopt(socket, AttachReusePortCbpf, &program) {
        tracing::debug!(%error, "datagrams are not steered by peer");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_port_gives_each_peer_one_socket_and_nothing_to_who_joins() {
        const COUNT: usize = 3;
        let pairs = UdpPair::open(0, None, COUNT).unwrap();
        let port = pairs[0].port;
        let refused = UdpPair::open(port, None, COUNT).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        let _joined = UdpPair::try_open(port, None, Joining::Others).unwrap();
        for (host, of_pair) in [("127.0.0.1", v4 as fn(&UdpPair) -> &UdpSocket), ("::1", v6)] {
            for number in 0..100 {
                let message = [4, 0, 0, 0, 0xff, number, 0xff, 0xff];
                let Ok(sender) = UdpSocket::bind((host, 0)) else { continue };
                sender.send_to(&message, (host, port)).unwrap();
                let mut received = [0; 9];
                let length = of_pair(&pairs[usize::from(number) % COUNT]).recv(&mut received).unwrap();
                assert_eq!(received[..length], message, "{host}");
            }
        }
    }

    fn v4(pair: &UdpPair) -> &UdpSocket {
        &pair.v4
    }

    fn v6(pair: &UdpPair) -> &UdpSocket {
        pair.v6.as_ref().unwrap()
    }
}
