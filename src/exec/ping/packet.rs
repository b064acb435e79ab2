//! Echo requests and replies: RFC 792 and RFC 4443, 4.1 and 4.2. They differ in their type numbers only.

use std::net::IpAddr;

use rand_core::{OsRng, RngCore};

/// Type, code, checksum, identifier, sequence number.
pub(super) const HEADER_BYTES: usize = 8;
/// What tells the data of one run from that of all others.
const NONCE_BYTES: usize = 16;

/// Which ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Bytes of the header of IP before the message.
    pub(super) fn header_bytes(self) -> usize {
        match self {
            Family::V4 => 20,
            Family::V6 => 40,
        }
    }

    fn request_type(self) -> u8 {
        match self {
            Family::V4 => 8,
            Family::V6 => 128,
        }
    }

    fn reply_type(self) -> u8 {
        match self {
            Family::V4 => 0,
            Family::V6 => 129,
        }
    }
}

/// A reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo<'a> {
    pub(super) identifier: u16,
    pub(super) sequence: u16,
    pub(super) data: &'a [u8],
}

/// The data of a run: as much of a nonce as there is room for, then each byte's position.
pub(super) fn data(size_bytes: u16) -> Vec<u8> {
    let mut data: Vec<u8> = (0..usize::from(size_bytes)).map(|position| position as u8).collect();
    let nonce = data.len().min(NONCE_BYTES);
    OsRng.fill_bytes(&mut data[..nonce]);
    data
}

/// A request. Its checksum is that of IPv4; with IPv6 the kernel writes its own.
pub(super) fn request(family: Family, identifier: u16, sequence: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + data.len());
    bytes.extend([family.request_type(), 0, 0, 0]);
    bytes.extend(identifier.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(data);
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The reply in an ICMP message, if it is one.
pub(super) fn reply(family: Family, message: &[u8]) -> Option<Echo<'_>> {
    let (header, data) = message.split_first_chunk::<HEADER_BYTES>()?;
    let &[kind, code, _, _, id_high, id_low, sequence_high, sequence_low] = header;
    (kind == family.reply_type() && code == 0).then_some(Echo {
        identifier: u16::from_be_bytes([id_high, id_low]),
        sequence: u16::from_be_bytes([sequence_high, sequence_low]),
        data,
    })
}

/// Identifier and sequence number of the request that a message is, or begins as.
pub(super) fn request_of(family: Family, message: &[u8]) -> Option<(u16, u16)> {
    let &[kind, _, _, _, id_high, id_low, sequence_high, sequence_low] =
        message.first_chunk::<HEADER_BYTES>()?;
    let numbers = (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([sequence_high, sequence_low]));
    (kind == family.request_type()).then_some(numbers)
}

/// What follows the IPv4 header, whose length is in its first byte, in words of four bytes.
pub(super) fn behind_header(datagram: &[u8]) -> Option<&[u8]> {
    let words = usize::from(datagram.first()? & 0x0f);
    datagram.get(4 * words.max(5)..)
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_to_zero_and_its_reply_is_read_back() {
        for size in [0, 1, 7, 56, 1471] {
            let data = data(size);
            let mut message = request(Family::V4, 0x1234, 7, &data);
            assert_eq!(checksum(&message), 0, "size {size}");
            assert_eq!(reply(Family::V4, &message), None, "a request is no reply");
            message[0] = 0;
            let expected = Echo { identifier: 0x1234, sequence: 7, data: &data };
            assert_eq!(reply(Family::V4, &message), Some(expected));
        }
    }

    #[test]
    fn runs_have_data_of_their_own() {
        assert_ne!(data(56), data(56));
        assert_eq!(data(56)[16..], *(16..56).collect::<Vec<u8>>());
    }

    #[test]
    fn short_and_foreign_messages_are_no_replies() {
        assert_eq!(reply(Family::V6, &[129, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(reply(Family::V6, &[3, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(behind_header(&[]), None);
        assert_eq!(behind_header(&[0x46; 20]), None);
        assert_eq!(behind_header(&[0x45; 21]), Some(&[0x45][..]));
    }
}
