//! What a supervisor and an engine say to each other: JSON in one packet each (unix(7), SOCK_SEQPACKET), descriptors
//! beside it (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wireguard::Offload;

/// Counts changes of what is said here. Engines of another number are replaced, not spoken to.
pub(super) const PROTOCOL: u32 = 4;

/// More than any packet has.
const PACKET_BYTES: usize = 64 << 10;
/// More than any packet carries.
const DESCRIPTORS_MAX: usize = 16;

/// What a supervisor asks for. Devices are named `DOMAIN/INTERFACE`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// To say who it is.
    Hello,
    /// To run a device. With it come its link events, the listener for wg(8) and the queues of its TUN.
    Start {
        /// The device.
        device: String,
        /// Its interface's name, for threads and logs.
        name: String,
        /// Its interface's index.
        index: u32,
        /// What its UDP sockets are to be bound to (socket(7), SO_BINDTODEVICE).
        bound_to: Option<String>,
    },
    /// To use these UDP sockets the next time that the device wants some of this port.
    Sockets {
        /// The device.
        device: String,
        /// Their port.
        port: u16,
    },
    /// To say what a device does without.
    OffloadsOff {
        /// The device.
        device: String,
    },
    /// To end a device, and say so once its sockets are closed.
    Stop {
        /// The device.
        device: String,
    },
    /// To say, once there are some, which devices were set by somebody else than the process that said [`Hello`].
    ///
    /// [`Hello`]: Request::Hello
    Changes,
}

/// What an engine answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Who it is.
    Hello {
        /// Its [`PROTOCOL`].
        protocol: u32,
        /// The devices that it runs.
        devices: Vec<String>,
    },
    /// Somebody else has set these devices.
    Changed {
        /// The devices.
        devices: Vec<String>,
    },
    /// The device does without these.
    OffloadsOff {
        /// Of the kernel's offloads.
        offloads: Vec<Offload>,
    },
    /// It is done.
    Done,
    /// It has no such device.
    NoDevice,
    /// It failed.
    Failed {
        /// The kernel's number for it, where it has one.
        errno: Option<i32>,
        /// Why.
        reason: String,
    },
}

/// Sends one packet.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let parts = [IoSlice::new(&text)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, control, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one packet; `UnexpectedEof` if the other side has hung up.
pub(super) fn receive<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<(M, Vec<OwnedFd>)> {
    let mut text = vec![0; PACKET_BYTES];
    let mut space = cmsg_space!([RawFd; DESCRIPTORS_MAX]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let length = received.bytes;
    let mut descriptors = Vec::new();
    for control in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just opened these descriptors for us alone.
            descriptors.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((serde_json::from_slice(&text[..length])?, descriptors))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nix::unistd::{pipe, read};

    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors_and_an_end_is_told() {
        let kind = (AddressFamily::Unix, SockType::SeqPacket);
        let (near, far) = socketpair(kind.0, kind.1, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (out, into) = pipe().unwrap();
        send(near.as_fd(), &Request::Stop { device: "1/wg1".into() }, &[into.as_fd()]).unwrap();
        let (request, mut handed) = receive::<Request>(far.as_fd()).unwrap();
        assert!(matches!(request, Request::Stop { device } if device == "1/wg1"));
        File::from(handed.remove(0)).write_all(b"x").unwrap();
        let mut byte = [0];
        assert_eq!((read(&out, &mut byte).unwrap(), byte), (1, *b"x"));

        drop(near);
        let ended = receive::<Request>(far.as_fd()).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
    }
}
