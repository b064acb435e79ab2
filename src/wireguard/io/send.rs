//! Sending what a batch holds: a run of datagrams is one sendmsg(2), which the kernel cuts (udp(7), UDP_SEGMENT).

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::Shared;
use super::address::Control;
use crate::wireguard::batch::{Batch, Run};

/// How long a full socket may hold up everything else before a datagram is dropped.
const WAIT_MS: u8 = 5;

impl Shared {
    /// Sends and writes what is in a batch, by the sockets and the queue of this number.
    pub(super) fn flush(&self, batch: &mut Batch, number: usize) {
        if batch.runs().next().is_some()
            && let Some(open) = self.open_sockets().as_ref()
        {
            for (run, bytes) in batch.runs() {
                if let Some(socket) = open.pair(number).towards(run.route.remote) {
                    self.send(socket, run, bytes);
                }
            }
        }
        let queue = self.tun.queue(number);
        batch.groups(self.tun.coalescing(), |group, bytes, packets| {
            self.tun.write(queue, group, bytes, packets)
        });
        batch.clear();
    }

    /// Sends a run at once, or one by one where the kernel refuses that: EIO where the outer interface lacks checksums
    /// in hardware, EINVAL or EMSGSIZE where a datagram does not fit into the outer path and is to be fragmented, another
    /// error where it cannot be sent from that address.
    fn send(&self, socket: &UdpSocket, run: &Run, bytes: &[u8]) {
        if run.is_single() || !self.segments.load(Ordering::Relaxed) {
            return bytes.chunks(run.size).for_each(|datagram| self.send_one(socket, run, datagram));
        }
        let Err(error) = send(socket, run, bytes) else { return };
        match error.raw_os_error() {
            Some(libc::EIO | libc::ENOPROTOOPT) if self.segments.swap(false, Ordering::Relaxed) => {
                tracing::warn!(interface = self.name, %error, "no segmentation offload for UDP from here on");
            }
            Some(libc::EIO | libc::ENOPROTOOPT | libc::EINVAL | libc::EMSGSIZE) => {}
            _ if run.route.source.is_some() && may_lack_source(&error) => {}
            _ => return tracing::debug!(%error, "datagrams were not sent"),
        }
        bytes.chunks(run.size).for_each(|datagram| self.send_one(socket, run, datagram));
    }

    /// An address of ours that the peer used may be gone meanwhile.
    fn send_one(&self, socket: &UdpSocket, run: &Run, datagram: &[u8]) {
        let mut sent = send(socket, run, datagram);
        if let (Err(error), Some(source)) = (&sent, run.route.source)
            && may_lack_source(error)
        {
            self.core().forget_source(source);
            sent = send(socket, &run.clone().from_anywhere(), datagram);
        }
        if let Err(error) = sent {
            tracing::debug!(%error, "a datagram was not sent");
        }
    }
}

/// Whether the address of ours that was to be sent from may be none any more.
fn may_lack_source(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENETUNREACH)
    )
}

/// Sends the bytes of a run, waiting a little for a full queue; what cannot be sent then is dropped, as networks do.
fn send(socket: &UdpSocket, run: &Run, bytes: &[u8]) -> io::Result<()> {
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
