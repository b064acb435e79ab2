//! Socket addresses and control messages as the kernel has them: ip(7), ipv6(7), cmsg(3).

use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::wireguard::route::Source;

/// Enough for the largest address, traffic class and segment size together.
const CONTROL_LENGTH: usize = 128;

/// Control messages of one message, aligned as they must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control {
    bytes: [u8; CONTROL_LENGTH],
    used: usize,
}

impl Default for Control {
    fn default() -> Self {
        Self { bytes: [0; CONTROL_LENGTH], used: 0 }
    }
}

impl Control {
    /// Lets the kernel write control messages here.
    pub(super) fn attach(&mut self, message: &mut libc::msghdr) {
        message.msg_control = self.bytes.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_LENGTH as _;
    }

    /// Gives the kernel those that were pushed.
    pub(super) fn attach_pushed(&mut self, message: &mut libc::msghdr) {
        if self.used > 0 {
            message.msg_control = self.bytes.as_mut_ptr().cast();
            message.msg_controllen = self.used as _;
        }
    }

    /// Adds a control message.
    pub(super) fn push(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        // SAFETY: these only compute lengths.
        let (length, space) = unsafe {
            (libc::CMSG_LEN(data.len() as libc::c_uint), libc::CMSG_SPACE(data.len() as libc::c_uint))
        };
        let header_length = length as usize - data.len();
        let Some(room) = self.bytes[self.used..].get_mut(..space as usize) else { return };
        // struct cmsghdr: its own length as a word, level, type; then padding up to the data.
        room[..size_of::<usize>()].copy_from_slice(&(length as usize).to_ne_bytes());
        room[size_of::<usize>()..][..4].copy_from_slice(&level.to_ne_bytes());
        room[size_of::<usize>() + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
        room[header_length..][..data.len()].copy_from_slice(data);
        self.used += space as usize;
    }

    /// Says from which of our addresses to send; by which interface only where an address means something on that one
    /// alone, for routes change.
    pub(super) fn push_source(&mut self, source: Source) {
        match source.address {
            IpAddr::V4(address) => {
                let mut data = [0; 12];
                data[4..8].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &data);
            }
            IpAddr::V6(address) => {
                let mut data = [0; 20];
                data[..16].copy_from_slice(&address.octets());
                let interface = if address.is_unicast_link_local() { source.interface } else { 0 };
                data[16..].copy_from_slice(&interface.to_ne_bytes());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &data);
            }
        }
    }
}

/// Tells every control message of a received message: level, type, data.
pub(super) fn each_control(message: &libc::msghdr, mut each: impl FnMut(libc::c_int, libc::c_int, &[u8])) {
    // SAFETY: the kernel has filled the buffer that the message points to and said how much of it; the macros stay
    // within that.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(message);
        while let Some(header) = next.as_ref() {
            let length = header.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            each(
                header.cmsg_level,
                header.cmsg_type,
                std::slice::from_raw_parts(libc::CMSG_DATA(header), length),
            );
            next = libc::CMSG_NXTHDR(message, header);
        }
    }
}

/// No address yet.
pub(super) fn none() -> libc::sockaddr_storage {
    // SAFETY: `sockaddr_storage` is a C structure of integers, for which zeros are a value.
    unsafe { zeroed() }
}

/// An address that the kernel has written.
pub(super) fn read(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is a `sockaddr_in`, for which the storage is large enough.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for `sockaddr_in6`.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // The flow label is of one packet, not of the peer.
            Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}
