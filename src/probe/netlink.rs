//! Single questions to the kernel over netlink(7): sent as bytes, answered by an error number or a message.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

/// Size of `struct nlmsghdr`, and the type of a message that is an error number (linux/netlink.h).
const HEADER_BYTES: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const DUMP: u16 = 0x300;

/// Sends one message to a part of the kernel and returns the answer's payload, empty for a bare acknowledgement.
pub(super) fn ask(protocol: isize, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<u8>, Errno> {
    ask_by(&open(protocol)?, kind, flags, body)
}

/// The same by a socket that is open, for messages that nothing but one acknowledgement answers.
pub(super) fn ask_by(socket: &Socket, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<u8>, Errno> {
    send(socket, kind, flags | NLM_F_ACK, body)?;
    let (answer, _) = socket.recv_from_full().map_err(errno)?;
    match part(&answer, 0) {
        Some((ERROR, payload, _)) => match number(payload) {
            0 => Ok(Vec::new()),
            code => Err(Errno::from_raw(-code)),
        },
        Some((_, payload, _)) => Ok(payload.to_vec()),
        None => Err(Errno::EBADMSG),
    }
}

/// The payloads of everything that the kernel lists.
pub(super) fn list(protocol: isize, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let socket = open(protocol)?;
    send(&socket, kind, DUMP, body)?;
    let mut found = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full().map_err(errno)?;
        let mut at = 0;
        while let Some((kind, payload, next)) = part(&answer, at) {
            match kind {
                DONE => return Ok(found),
                ERROR => return Err(Errno::from_raw(-number(payload))),
                _ => found.push(payload.to_vec()),
            }
            at = next;
        }
    }
}

/// An attribute (`struct nlattr`), padded.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((value.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attributes of a payload: their types, without the flags in the upper two bits, and values.
pub(super) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some(head) = bytes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let Some(value) = bytes.get(4..length) else { break };
        found.push((u16::from_ne_bytes([head[2], head[3]]) & 0x3fff, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// A socket of the calling thread's network namespace.
pub(super) fn open(protocol: isize) -> Result<Socket, Errno> {
    let mut socket = Socket::new(protocol).map_err(errno)?;
    socket.bind_auto().map_err(errno)?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(errno)?;
    Ok(socket)
}

fn send(socket: &Socket, kind: u16, flags: u16, body: &[u8]) -> Result<(), Errno> {
    let mut message = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    socket.send(&message, 0).map(drop).map_err(errno)
}

/// Type and payload of the message at this place of a datagram, and the place of the next.
fn part(datagram: &[u8], at: usize) -> Option<(u16, &[u8], usize)> {
    let rest = datagram.get(at..)?;
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes([*rest.get(4)?, *rest.get(5)?]);
    Some((kind, rest.get(HEADER_BYTES..length)?, at + length.next_multiple_of(4)))
}

fn number(payload: &[u8]) -> i32 {
    payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_back_as_they_were_put_together() {
        let bytes =
            [attribute(1, b"vrf\0"), attribute(2 | 0x8000, &attribute(1, &7_u32.to_ne_bytes()))].concat();
        let found = attributes(&bytes);
        assert_eq!(found[0], (1, b"vrf\0".as_slice()));
        assert_eq!(attributes(found[1].1), [(1, 7_u32.to_ne_bytes().as_slice())]);
        assert_eq!(attributes(&bytes[..6]), []);
    }
}
