//! A blocking netlink(7) socket that waits for the answer to each request.
//!
//! Every request asks for an acknowledgement, so a call returns only after the kernel has done or refused it, and
//! a refusal carries the kernel's own sentence (extended acknowledgement, linux/netlink.h `NLMSGERR_ATTR_MSG`).
//! Dumps are checked strictly (`NETLINK_GET_STRICT_CHK`) and repeated when the kernel says that they were cut by
//! a change. A socket belongs for ever to the namespace that its maker was in, whoever uses it later.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlaBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use thiserror::Error;

use super::namespace::{Namespace, NamespaceError};

/// How long the kernel may take for one answer: long, for others may hold its lock (RTNL) while they remove links.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a dump that a change cut short is asked for again.
const DUMP_ATTEMPTS: usize = 16;
/// A little more than the largest datagram that the kernel puts a dump into (32 KiB, af_netlink.c).
const RECEIVE_BYTES: usize = 64 * 1024;
/// The attribute of an acknowledgement that holds the kernel's sentence (linux/netlink.h).
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Size of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;

/// Which part of the kernel a socket speaks to (linux/netlink.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes: rtnetlink(7).
    Route,
    /// Sockets: sock_diag(7).
    SockDiag,
    /// Families that are found by name, such as `wireguard`.
    Generic,
}

impl Protocol {
    fn number(self) -> isize {
        match self {
            Protocol::Route => netlink_sys::protocols::NETLINK_ROUTE,
            Protocol::SockDiag => netlink_sys::protocols::NETLINK_SOCK_DIAG,
            Protocol::Generic => netlink_sys::protocols::NETLINK_GENERIC,
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The kernel refused it.
    #[error("{}{}", errno.desc(), text.iter().map(|text| format!(": {text}")).collect::<String>())]
    Refused {
        /// Its error number.
        errno: Errno,
        /// Its own sentence, where it has one.
        text: Option<String>,
    },
    /// The socket failed.
    #[error("netlink socket")]
    Socket(#[from] io::Error),
    /// The socket could not be made in the namespace.
    #[error("netlink socket of a namespace")]
    Namespace(#[from] NamespaceError),
    /// An answer that makes no sense.
    #[error("malformed netlink message: {0}")]
    Malformed(String),
    /// Each attempt to list something was cut short by a change.
    #[error("the kernel's lists change faster than they can be read")]
    Restless,
}

impl NetlinkError {
    /// The kernel's error number, if it refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NetlinkError::Refused { errno, .. } => Some(*errno),
            NetlinkError::Socket(error) => error.raw_os_error().map(Errno::from_raw),
            NetlinkError::Namespace(_) | NetlinkError::Malformed(_) | NetlinkError::Restless => None,
        }
    }
}

/// A message that can be sent and received: one of the `netlink-packet-*` families.
pub trait Message: NetlinkSerializable + NetlinkDeserializable {}

impl<M: NetlinkSerializable + NetlinkDeserializable> Message for M {}

/// A socket to one part of the kernel in one network namespace.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

thread_local! {
    /// What was received last: one of each thread, for a network may have a thousand sockets.
    static RECEIVED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(RECEIVE_BYTES));
}

impl Netlink {
    /// A socket of the calling thread's network namespace.
    pub fn here(protocol: Protocol) -> Result<Self, NetlinkError> {
        let mut socket = Socket::new(protocol.number())?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        let timeout = TimeVal::seconds(ANSWER_WITHIN.as_secs() as i64);
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeout).map_err(io::Error::from)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// A socket of this namespace, to be used from any thread.
    pub fn of(namespace: &Namespace, protocol: Protocol) -> Result<Self, NetlinkError> {
        namespace.run(|| Self::here(protocol))?
    }

    /// Sends a request and waits until it is done; the answers that come before the acknowledgement are returned.
    /// `flags` are added to `NLM_F_REQUEST | NLM_F_ACK`.
    pub fn request<M: Message>(&mut self, message: M, flags: u16) -> Result<Vec<M>, NetlinkError> {
        self.send(message, flags)?;
        self.answers().map(|(answers, _)| answers)
    }

    /// Lists everything that the request's header selects.
    pub fn dump<M: Message + Clone>(&mut self, message: M) -> Result<Vec<M>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            self.send(message.clone(), NLM_F_DUMP)?;
            let (answers, completeness) = self.answers()?;
            match completeness {
                Completeness::Whole => return Ok(answers),
                Completeness::Interrupted => {}
            }
        }
        Err(NetlinkError::Restless)
    }

    fn send<M: Message>(&mut self, message: M, flags: u16) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = encode(message, flags, self.sequence);
        let sent = retry_interrupted(|| self.socket.send(&bytes, 0))?;
        match sent == bytes.len() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
        }
    }

    fn answers<M: Message>(&mut self) -> Result<(Vec<M>, Completeness), NetlinkError> {
        RECEIVED.with_borrow_mut(|buffer| self.answers_by(buffer))
    }

    fn answers_by<M: Message>(&self, buffer: &mut Vec<u8>) -> Result<(Vec<M>, Completeness), NetlinkError> {
        let mut answers = Vec::new();
        let mut completeness = Completeness::Whole;
        loop {
            self.receive(buffer)?;
            for part in split(buffer) {
                let message = decode::<M>(part?)?;
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                if message.header.flags & NLM_F_DUMP_INTR != 0 {
                    completeness = Completeness::Interrupted;
                }
                match outcome(message)? {
                    Outcome::Answer(answer) => answers.push(answer),
                    Outcome::Done => return Ok((answers, completeness)),
                    Outcome::Nothing => {}
                }
            }
        }
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> Result<(), NetlinkError> {
        buffer.clear();
        let length = retry_interrupted(|| self.socket.recv(&mut *buffer, libc::MSG_TRUNC))?;
        match length > buffer.len() {
            true => Err(NetlinkError::Malformed(format!("{length} bytes in one datagram"))),
            false => Ok(()),
        }
    }
}

impl AsRawFd for Netlink {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Whether a dump shows one moment, or was changed under the reader's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completeness {
    Whole,
    Interrupted,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome<M> {
    Answer(M),
    Done,
    Nothing,
}

fn retry_interrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn encode<M: Message>(message: M, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    header.sequence_number = sequence;
    let mut whole = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    whole.finalize();
    let mut bytes = vec![0; whole.buffer_len()];
    whole.serialize(&mut bytes);
    bytes
}

/// The messages of one datagram, each with its header.
fn split(datagram: &[u8]) -> impl Iterator<Item = Result<&[u8], NetlinkError>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = rest.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize);
        if length < HEADER_BYTES || length > rest.len() {
            rest = &[];
            return Some(Err(NetlinkError::Malformed(format!("message of {length} bytes"))));
        }
        let (message, _) = rest.split_at(length);
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        Some(Ok(message))
    })
}

fn decode<M: Message>(bytes: &[u8]) -> Result<NetlinkMessage<M>, NetlinkError> {
    NetlinkMessage::deserialize(bytes).map_err(|error| NetlinkError::Malformed(error.to_string()))
}

fn outcome<M: Message>(message: NetlinkMessage<M>) -> Result<Outcome<M>, NetlinkError> {
    let (header, payload) = message.into_parts();
    match payload {
        NetlinkPayload::InnerMessage(answer) => Ok(Outcome::Answer(answer)),
        NetlinkPayload::Error(error) => {
            let attributes = attributes_after_request(&error.header, header.flags);
            refusal(error.raw_code(), attributes).map(|()| Outcome::Done)
        }
        NetlinkPayload::Done(done) => refusal(done.code, &done.extended_ack).map(|()| Outcome::Done),
        NetlinkPayload::Overrun(_) => Err(io::Error::from_raw_os_error(libc::ENOBUFS).into()),
        _ => Ok(Outcome::Nothing),
    }
}

/// An error message repeats the request (only its header when it is "capped") and then has its attributes.
fn attributes_after_request(repeated: &[u8], flags: u16) -> &[u8] {
    let length = repeated.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes) as usize);
    let request = if flags & NLM_F_CAPPED != 0 { HEADER_BYTES } else { length.next_multiple_of(4) };
    repeated.get(request..).unwrap_or_default()
}

fn refusal(code: i32, attributes: &[u8]) -> Result<(), NetlinkError> {
    if code == 0 {
        return Ok(());
    }
    let text = NlasIterator::new(attributes).flatten().find_map(sentence);
    Err(NetlinkError::Refused { errno: Errno::from_raw(code.abs()), text })
}

fn sentence(attribute: NlaBuffer<&[u8]>) -> Option<String> {
    if attribute.kind() != NLMSGERR_ATTR_MSG {
        return None;
    }
    let text = attribute.value().strip_suffix(&[0]).unwrap_or(attribute.value());
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR};
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    const NLM_F_ACK_TLVS: u16 = 0x200;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = (HEADER_BYTES + payload.len()) as u32;
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[7, 0, 0, 0]];
        [head.concat(), vec![0; 4], payload.to_vec()].concat()
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [&(4 + value.len() as u16).to_ne_bytes(), &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn outcome_of(bytes: &[u8]) -> Result<Outcome<RouteNetlinkMessage>, NetlinkError> {
        outcome(decode(bytes)?)
    }

    #[test]
    fn a_refusal_carries_the_kernels_sentence() {
        let text = attribute(NLMSGERR_ATTR_MSG, b"Nexthop has invalid gateway\0");
        let other = attribute(2, &[1, 0, 0, 0]);
        let request = message(24, 0, &[9; 12]);
        let capped = [&(-101i32).to_ne_bytes()[..], &request[..16], &other, &text].concat();
        let whole = [&(-101i32).to_ne_bytes()[..], &request, &other, &text].concat();
        for (flags, payload) in [(NLM_F_CAPPED | NLM_F_ACK_TLVS, capped), (NLM_F_ACK_TLVS, whole)] {
            let error = outcome_of(&message(NLMSG_ERROR, flags, &payload)).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::ENETUNREACH));
            assert_eq!(error.to_string(), "Network is unreachable: Nexthop has invalid gateway");
        }
    }

    #[test]
    fn a_refusal_without_attributes_is_its_number() {
        let request = message(16, 0, &[]);
        let payload = [&(-1i32).to_ne_bytes()[..], &request].concat();
        let error = outcome_of(&message(NLMSG_ERROR, NLM_F_CAPPED, &payload)).unwrap_err();
        assert_eq!(error.to_string(), "Operation not permitted");
    }

    #[test]
    fn a_dump_may_end_in_an_error() {
        let ended = outcome_of(&message(NLMSG_DONE, 0, &0i32.to_ne_bytes()));
        assert!(matches!(ended, Ok(Outcome::Done)), "{ended:?}");
        let error = outcome_of(&message(NLMSG_DONE, 0, &(-19i32).to_ne_bytes())).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::ENODEV));
    }

    #[test]
    fn datagrams_are_split_at_aligned_lengths() {
        let two = [message(2, 0, &[1, 2, 3, 4]), message(3, 0, &[0; 4])].concat();
        let lengths: Vec<_> = split(&two).map(|part| part.unwrap().len()).collect();
        assert_eq!(lengths, [20, 20]);
        for broken in [&two[..30], &[8, 0, 0, 0, 0, 0, 0, 0], &[1]] {
            assert!(split(broken).any(|part| part.is_err()), "{broken:?}");
        }
    }

    #[test]
    fn a_request_asks_for_an_acknowledgement() {
        let bytes = encode(RouteNetlinkMessage::NewLink(LinkMessage::default()), 0x600, 9);
        let read = decode::<RouteNetlinkMessage>(&bytes).unwrap();
        assert_eq!(read.header.flags, NLM_F_REQUEST | NLM_F_ACK | 0x600);
        assert_eq!((read.header.message_type, read.header.sequence_number), (16, 9));
    }
}
