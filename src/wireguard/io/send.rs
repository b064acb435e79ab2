//! Sending a run of datagrams: one sendmsg(2), which the kernel cuts (udp(7), UDP_SEGMENT).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::address::Control;
use crate::wireguard::batch::Run;

/// How long a full socket may hold up everything else before a datagram is dropped.
const WAIT_MS: u8 = 5;

/// Sends the bytes of a run, waiting a little for a full queue; what cannot be sent then is dropped, as networks do.
pub(super) fn send(socket: &UdpSocket, run: &Run, bytes: &[u8]) -> io::Result<()> {
    let mut sent = try_send(socket, run, bytes);
    if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        let _timed_out = poll(&mut fds, WAIT_MS);
        sent = try_send(socket, run, bytes);
    }
    sent
}

fn try_send(socket: &UdpSocket, run: &Run, bytes: &[u8]) -> io::Result<()> {
    let mut control = Control::default();
    if bytes.len() > run.size {
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &(run.size as u16).to_ne_bytes());
    }
    if run.ecn != 0 {
        let ecn = libc::c_int::from(run.ecn).to_ne_bytes();
        match run.route.remote {
            SocketAddr::V4(_) => control.push(libc::IPPROTO_IP, libc::IP_TOS, &ecn),
            SocketAddr::V6(_) => control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &ecn),
        }
    }
    if let Some(source) = run.route.source {
        control.push_source(source);
    }
    let name = SockaddrStorage::from(run.route.remote);
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is a C structure of integers and pointers, for which zeros are a value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.len();
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    control.attach_pushed(&mut message);
    // SAFETY: all that the message points to lives until the call returns, which only reads it.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

const _: () = assert!(size_of::<libc::cmsghdr>() == size_of::<usize>() + 8);
