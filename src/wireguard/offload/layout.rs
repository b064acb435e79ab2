//! Where things are in a TCP or UDP packet.

use std::ops::Range;

use super::checksum;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// A packet's headers, whose lengths have been held against the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) version: Version,
    pub(super) transport: Transport,
    /// Length of the IP header: where the transport header begins.
    pub(super) ip: usize,
    /// Length of both headers: where the payload begins.
    pub(super) header: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Layout {
    /// Of a packet without IP options or extension headers that is no fragment.
    pub(super) fn of(packet: &[u8]) -> Option<Self> {
        let (version, ip, protocol) = match packet.first()? >> 4 {
            4 if is_plain_v4(packet) => (Version::V4, 20, packet[9]),
            6 if packet.len() >= 40 => (Version::V6, 40, packet[6]),
            _ => return None,
        };
        let transport = match protocol {
            TCP => Transport::Tcp,
            UDP => Transport::Udp,
            _ => return None,
        };
        Self::with(packet, version, transport, ip)
    }

    /// Of a packet whose transport header is known to begin after `ip` bytes.
    pub(super) fn with(packet: &[u8], version: Version, transport: Transport, ip: usize) -> Option<Self> {
        let header = ip
            + match transport {
                Transport::Udp => 8,
                Transport::Tcp => usize::from(packet.get(ip + 12)? >> 4) * 4,
            };
        let shortest = ip + if transport == Transport::Tcp { 20 } else { 8 };
        (header >= shortest && header <= packet.len()).then_some(Self { version, transport, ip, header })
    }

    /// Where the addresses are.
    pub(super) fn addresses(self) -> Range<usize> {
        match self.version {
            Version::V4 => 12..20,
            Version::V6 => 8..40,
        }
    }

    /// Where the transport's checksum is.
    pub(super) fn checksum_at(self) -> usize {
        self.ip
            + match self.transport {
                Transport::Tcp => 16,
                Transport::Udp => 6,
            }
    }

    /// The sum of the pseudo-header of a packet of this length.
    pub(super) fn pseudo_sum(self, packet: &[u8], length: usize) -> u64 {
        let protocol = match self.transport {
            Transport::Tcp => TCP,
            Transport::Udp => UDP,
        };
        checksum::add_pseudo_header(0, &packet[self.addresses()], protocol, length - self.ip)
    }

    /// Whether all checksums of the packet are right.
    pub(super) fn is_sound(self, packet: &[u8]) -> bool {
        let sum = checksum::add(self.pseudo_sum(packet, packet.len()), &packet[self.ip..]);
        let header_is =
            self.version == Version::V6 || checksum::fold(checksum::add(0, &packet[..self.ip])) == [0xff; 2];
        header_is && checksum::fold(sum) == [0xff; 2]
    }

    /// Writes the lengths of a packet into its headers, and the checksum of IPv4's.
    pub(super) fn put_lengths(self, packet: &mut [u8], length: usize) {
        let short = |length: usize| (length as u16).to_be_bytes();
        match self.version {
            Version::V4 => {
                packet[2..4].copy_from_slice(&short(length));
                packet[10..12].fill(0);
                let sum = checksum::finish(checksum::add(0, &packet[..self.ip]));
                packet[10..12].copy_from_slice(&sum);
            }
            Version::V6 => packet[4..6].copy_from_slice(&short(length - 40)),
        }
        if self.transport == Transport::Udp {
            packet[self.ip + 4..self.ip + 6].copy_from_slice(&short(length - self.ip));
        }
    }
}

fn is_plain_v4(packet: &[u8]) -> bool {
    const DONT_FRAGMENT: u8 = 0x40;
    packet.len() >= 20 && packet[0] == 0x45 && packet[6] & !DONT_FRAGMENT == 0 && packet[7] == 0
}

/// Two bytes as a number.
pub(super) fn short_at(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// Four bytes as a number.
pub(super) fn long_at(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}
