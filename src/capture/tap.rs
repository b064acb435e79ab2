//! One interface, listened to: a packet(7) socket. Tags of 802.1Q, which the kernel takes off before it hands packets
//! out, are put back where they were.

use std::borrow::Cow;
use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockType, recvmsg, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeSpec;
use thiserror::Error;

use crate::model::InterfaceName;

/// The most of a packet that is taken: more than any that an interface hands out, segmentation offloads included.
pub(super) const PACKET_BYTES: usize = 262_144;
/// What a tap asks the kernel to queue for it; users other than root get no more than `net.core.rmem_max`.
const QUEUE_BYTES: usize = 8 << 20;
/// Bits of `tp_status` (linux/if_packet.h).
const VLAN_VALID: u32 = 1 << 4;
const VLAN_TPID_VALID: u32 = 1 << 6;
/// Where a tag stands in a frame: behind both addresses.
const TAG_AT: usize = 12;
const TPID_8021Q: u16 = 0x8100;

/// An interface that is listened to.
#[derive(Debug)]
pub struct Tap {
    socket: OwnedFd,
    name: String,
    hardware: Hardware,
    home: Option<Home>,
}

/// The file that names a tap's namespace, and the device and inode that it had. The socket alone keeps a namespace.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    identity: (u64, u64),
}

/// Why an interface cannot be listened to.
#[derive(Debug, Error)]
pub enum TapError {
    /// It is not there.
    #[error("{0}: there is no such interface")]
    Absent(String),
    /// This user may not.
    #[error("{0}: not permitted to listen to packets")]
    NotPermitted(String),
    /// Its packets are of a kind that no file has a number for here.
    #[error("{0}: its hardware type {1} is neither Ethernet nor plain IP")]
    Unknown(String, u16),
    /// The kernel refused.
    #[error("{0}: cannot listen")]
    Refused(String, #[source] Errno),
}

/// How packets of an interface begin (www.tcpdump.org/linktypes.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// With the header of Ethernet.
    Ethernet,
    /// With that of IP.
    RawIp,
}

/// What an interface is to packet(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hardware {
    Ethernet,
    /// It has Ethernet's header, and what leaves by it comes in by it.
    Loopback,
    RawIp,
}

/// Which way a packet went, as the interface's own domain sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Inbound,
    Outbound,
}

/// A packet, or the beginning of one.
#[derive(Clone, Debug)]
pub(super) struct Packet<'b> {
    /// Since 1970.
    pub(super) time: Duration,
    pub(super) direction: Direction,
    /// How long it was.
    pub(super) original_bytes: u32,
    pub(super) data: Cow<'b, [u8]>,
}

impl Packet<'_> {
    /// The packet in memory of its own.
    pub(super) fn into_owned(self) -> Packet<'static> {
        Packet { data: Cow::Owned(self.data.into_owned()), ..self }
    }
}

impl Tap {
    /// Listens to an interface of this thread's namespace, which the file `home` names if one does; `name` is what
    /// files call the interface.
    pub fn open(name: String, interface: &InterfaceName, home: Option<PathBuf>) -> Result<Self, TapError> {
        let refused = |errno| match errno {
            Errno::EPERM | Errno::EACCES => TapError::NotPermitted(name.clone()),
            Errno::ENODEV | Errno::ENXIO => TapError::Absent(name.clone()),
            errno => TapError::Refused(name.clone(), errno),
        };
        let index = if_nametoindex(interface.as_str()).map_err(refused)?;
        // Without a protocol it hears nothing until it is bound.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).map_err(refused)?;
        let _ = setsockopt(&socket, sockopt::RcvBufForce, &QUEUE_BYTES)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &QUEUE_BYTES));
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).map_err(refused)?;
        ask_for_tags(&socket).map_err(refused)?;
        listen(&socket, index).map_err(refused)?;
        let hardware = match bound_to(&socket).map_err(refused)?.sll_hatype {
            libc::ARPHRD_ETHER => Hardware::Ethernet,
            libc::ARPHRD_LOOPBACK => Hardware::Loopback,
            libc::ARPHRD_NONE | libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT => {
                Hardware::RawIp
            }
            other => return Err(TapError::Unknown(name, other)),
        };
        let home = home.and_then(|path| Some(Home { identity: identity(&path)?, path }));
        Ok(Self { socket, name, hardware, home })
    }

    /// What files call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its packets begin.
    pub fn link_type(&self) -> LinkType {
        match self.hardware {
            Hardware::Ethernet | Hardware::Loopback => LinkType::Ethernet,
            Hardware::RawIp => LinkType::RawIp,
        }
    }

    /// Whether its interface was removed, or the namespace of that.
    pub fn is_gone(&self) -> bool {
        let is_elsewhere = |home: &Home| identity(&home.path) != Some(home.identity);
        self.home.as_ref().is_some_and(is_elsewhere)
            || bound_to(&self.socket).is_ok_and(|address| address.sll_ifindex <= 0)
    }

    /// The next packet that waits, if one does. That the interface went down or away is no error.
    pub(super) fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Packet<'b>>> {
        loop {
            match self.receive_one(buffer) {
                Ok(Some(heard)) => return Ok(Some(heard.packet(buffer))),
                Ok(None) | Err(Errno::ENETDOWN | Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// One packet; none if it is the second sight of one that went through the loopback.
    fn receive_one(&self, buffer: &mut [u8]) -> Result<Option<Heard>, Errno> {
        let mut control = cmsg_space!(TimeSpec, libc::tpacket_auxdata);
        let mut pieces = [IoSliceMut::new(buffer)];
        let socket = self.socket.as_raw_fd();
        let message = recvmsg::<LinkAddr>(socket, &mut pieces, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let is_outbound = message.address.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING);
        if is_outbound && self.hardware == Hardware::Loopback {
            return Ok(None);
        }
        let direction = if is_outbound { Direction::Outbound } else { Direction::Inbound };
        let bytes = message.bytes;
        let mut heard =
            Heard { bytes, original_bytes: bytes as u32, time: Duration::ZERO, direction, tag: None };
        for control in message.cmsgs()? {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => heard.time = Duration::from(time),
                ControlMessageOwned::Unknown(other)
                    if other.cmsg_header.cmsg_level == libc::SOL_PACKET
                        && other.cmsg_header.cmsg_type == libc::PACKET_AUXDATA =>
                {
                    heard.note(&other.data_bytes);
                }
                _ => {}
            }
        }
        Ok(Some(heard))
    }

    /// How many packets the kernel had no room for since this was last asked.
    pub(super) fn dropped(&self) -> io::Result<u64> {
        // SAFETY: a C structure of integers, for which zeros are a value.
        let mut statistics: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `statistics`.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        Errno::result(result)?;
        Ok(u64::from(statistics.tp_drops))
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What was heard, and stands in a buffer.
struct Heard {
    bytes: usize,
    original_bytes: u32,
    time: Duration,
    direction: Direction,
    /// The tag that was taken off: its protocol and its control information.
    tag: Option<[u16; 2]>,
}

impl Heard {
    /// What stands in a `struct tpacket_auxdata` (linux/if_packet.h): status, length, length taken, offsets, tag.
    fn note(&mut self, data: &[u8]) {
        let word =
            |at: usize| data.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
        let half =
            |at: usize| data.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
        let (Some(status), Some(length)) = (word(0), word(4)) else { return };
        self.original_bytes = length;
        if status & VLAN_VALID != 0
            && let (Some(control), Some(protocol)) = (half(16), half(18))
        {
            let is_told = status & VLAN_TPID_VALID != 0;
            self.tag = Some([if is_told { protocol } else { TPID_8021Q }, control]);
        }
    }

    fn packet(self, buffer: &[u8]) -> Packet<'_> {
        let Self { bytes, original_bytes, time, direction, tag } = self;
        let data = &buffer[..bytes];
        let (data, original_bytes) = match tag {
            Some(tag) if data.len() >= TAG_AT => (tagged(data, tag).into(), original_bytes + 4),
            Some(_) | None => (data.into(), original_bytes),
        };
        Packet { time, direction, original_bytes, data }
    }
}

/// A frame with its tag.
fn tagged(frame: &[u8], tag: [u16; 2]) -> Vec<u8> {
    let [protocol, control] = tag.map(u16::to_be_bytes);
    [&frame[..TAG_AT], &protocol, &control, &frame[TAG_AT..]].concat()
}

fn ask_for_tags(socket: &OwnedFd) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an integer of the length that it is told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_AUXDATA,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// Hears everything of one interface from now on, what leaves by it too.
fn listen(socket: &OwnedFd, index: u32) -> Result<(), Errno> {
    // SAFETY: a C structure of integers, for which zeros are a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index as i32;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is of the length that is told.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    match Errno::result(result) {
        // It is bound; it hears nothing until the interface is up.
        Err(Errno::ENETDOWN) => Ok(()),
        result => result.map(drop),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// The interface that it is bound to: its index, -1 if it was removed, and its `ARPHRD_*`.
fn bound_to(socket: &OwnedFd) -> Result<libc::sockaddr_ll, Errno> {
    // SAFETY: a C structure of integers, for which zeros are a value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `address`.
    let result = unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    Errno::result(result).map(|_| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_was_taken_off_is_put_back() {
        let mut heard = Heard {
            bytes: 16,
            original_bytes: 16,
            time: Duration::ZERO,
            direction: Direction::Inbound,
            tag: None,
        };
        let words = [VLAN_VALID, 60, 60].map(u32::to_ne_bytes).concat();
        let halves = [0, 14, 7, 0].map(u16::to_ne_bytes).concat();
        heard.note(&[words, halves].concat());
        let packet = heard.packet(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 9, 9]);
        assert_eq!(packet.data[12..], [0x81, 0, 0, 7, 8, 0, 9, 9]);
        assert_eq!(packet.original_bytes, 64);
    }
}
