//! Receiving datagrams: recvmmsg(2), many at once, each of which may be a train of them (udp(7), UDP_GRO).

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::address::{self, Control};
use crate::wireguard::route::{Route, Source};
use crate::wireguard::train::Train;

/// How many messages one call may bring: each may be a whole train, and twice as many brought no more bytes.
pub(super) const MESSAGES_MAX: usize = 4;
/// A train is at most as long as an IP packet.
const SLOT: usize = 65_536;

/// Room for what one call receives.
pub(super) struct Inbox {
    slots: Box<[u8]>,
    received: Vec<Received>,
}

struct Received {
    length: usize,
    size: usize,
    route: Route,
    ecn: u8,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; MESSAGES_MAX * SLOT].into(), received: Vec::with_capacity(MESSAGES_MAX) }
    }

    /// Receives what waits; tells how many messages that were. Errors of a UDP socket are news of earlier datagrams.
    pub(super) fn receive(&mut self, socket: &impl AsFd) -> io::Result<usize> {
        self.received.clear();
        let mut names: [libc::sockaddr_storage; MESSAGES_MAX] = [address::none(); MESSAGES_MAX];
        let mut controls = [Control::default(); MESSAGES_MAX];
        let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MESSAGES_MAX];
        // SAFETY: `mmsghdr` is a C structure of integers and pointers, for which zeros are a value.
        let mut messages: [libc::mmsghdr; MESSAGES_MAX] = unsafe { zeroed() };
        for (number, message) in messages.iter_mut().enumerate() {
            let slot = &mut self.slots[number * SLOT..(number + 1) * SLOT];
            pieces[number] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT };
            message.msg_hdr.msg_name = (&raw mut names[number]).cast();
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_hdr.msg_iov = &raw mut pieces[number];
            message.msg_hdr.msg_iovlen = 1;
            controls[number].attach(&mut message.msg_hdr);
        }
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: all that the messages point to lives until the call returns, and is of the lengths they say.
        let count = unsafe {
            libc::recvmmsg(
                socket,
                messages.as_mut_ptr(),
                MESSAGES_MAX as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (message, name) in messages[..count].iter().zip(&names) {
            let received = Received::of(message, name);
            self.received.push(received);
        }
        Ok(count)
    }

    /// What was received, in order.
    pub(super) fn trains(&self) -> impl Iterator<Item = Train<'_>> {
        self.received.iter().zip(self.slots.chunks(SLOT)).map(|(received, slot)| {
            Train::new(&slot[..received.length], received.size, received.route, received.ecn)
        })
    }
}

impl Received {
    fn of(message: &libc::mmsghdr, name: &libc::sockaddr_storage) -> Self {
        let length = message.msg_len as usize;
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let route = Route::to(address::read(name).unwrap_or(unknown));
        let mut received = Self { length, size: length, route, ecn: 0 };
        address::each_control(&message.msg_hdr, |level, kind, data| received.note(level, kind, data));
        received
    }

    fn note(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        match (level, kind, data) {
            (libc::SOL_UDP, libc::UDP_GRO, [a, b, c, d, ..]) => {
                self.size = usize::try_from(i32::from_ne_bytes([*a, *b, *c, *d])).unwrap_or(self.length);
            }
            (libc::IPPROTO_IP, libc::IP_TOS, [tos, ..]) => self.ecn = tos & 3,
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, [a, b, c, d, ..]) => {
                self.ecn = (i32::from_ne_bytes([*a, *b, *c, *d]) & 3) as u8;
            }
            // struct in_pktinfo: index, the address to answer from, the destination of the header.
            (libc::IPPROTO_IP, libc::IP_PKTINFO, [a, b, c, d, from @ ..]) if from.len() >= 4 => {
                self.came_to(Ipv4Addr::new(from[0], from[1], from[2], from[3]).into(), [*a, *b, *c, *d]);
            }
            // struct in6_pktinfo: the destination, index.
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, data) if data.len() >= 20 => {
                let address = data.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets));
                let address = address.unwrap_or(Ipv6Addr::UNSPECIFIED);
                self.came_to(address.into(), [data[16], data[17], data[18], data[19]]);
            }
            _ => {}
        }
    }

    fn came_to(&mut self, address: IpAddr, interface: [u8; 4]) {
        self.route.source = Some(Source { address, interface: u32::from_ne_bytes(interface) });
    }
}
