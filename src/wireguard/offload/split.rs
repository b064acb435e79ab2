//! One large packet as its segments, without moving their payload.

use std::net::IpAddr;

use boringtun::noise::Tunn;

use super::checksum;
use super::ecn;
use super::layout::{Layout, Transport, Version, long_at, short_at};
use super::virtio::{Cut, VirtioHeader};

/// Longer headers are refused: IPv6 with many extension headers.
const HEADER_MAX: usize = 256;
const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// A packet that was read from the interface, segment by segment.
///
/// A segment's headers are written in front of its payload, over the end of the payload before it: each segment must
/// be done with when the next one is asked for.
#[derive(Debug)]
pub struct Segments<'a> {
    buffer: &'a mut [u8],
    length: usize,
    destination: IpAddr,
    ecn: u8,
    cut: Option<Pattern>,
    /// Where the payload of the next segment begins; the end of the packet when there is none.
    next: usize,
}

/// What all segments have in common.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    layout: Layout,
    size: usize,
    count: u32,
    header: [u8; HEADER_MAX],
}

impl<'a> Segments<'a> {
    /// The first `length` bytes of the buffer are a packet; `None` if it is none, or not to be cut as the header says.
    pub fn of(buffer: &'a mut [u8], length: usize, header: VirtioHeader) -> Option<Self> {
        let packet = buffer.get_mut(..length)?;
        let destination = Tunn::dst_address(packet)?;
        let ecn = ecn::of(packet);
        let cut = match header.cut() {
            Cut::Whole => None,
            Cut::Tcp(size) => Some(Pattern::of(packet, header, Transport::Tcp, size)?),
            Cut::Udp(size) => Some(Pattern::of(packet, header, Transport::Udp, size)?),
            Cut::Unknown => return None,
        };
        if cut.is_none() {
            complete_checksum(packet, header)?;
        }
        let next = cut.as_ref().map_or(0, |pattern| pattern.layout.header);
        Some(Self { buffer, length, destination, ecn, cut, next })
    }

    /// Where the packet goes.
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// Its ECN field (RFC 3168).
    pub fn ecn(&self) -> u8 {
        self.ecn
    }

    /// Whether all were taken.
    pub fn is_done(&self) -> bool {
        self.next == self.length
    }

    /// There is nobody to take them.
    pub(crate) fn skip(&mut self) {
        self.next = self.length;
    }

    /// The length of the next segment; `None` after the last one.
    pub fn next_length(&self) -> Option<usize> {
        let left = self.length - self.next;
        let header_and_size = self.cut.as_ref().map(|pattern| pattern.layout.header + pattern.size.min(left));
        (left > 0).then_some(header_and_size.unwrap_or(left))
    }

    /// The next segment, and behind it whatever the buffer still holds.
    pub fn take_next(&mut self) -> Option<(&mut [u8], usize)> {
        let length = self.next_length()?;
        let Some(pattern) = &mut self.cut else {
            self.next = self.length;
            return Some((self.buffer, length));
        };
        let start = self.next - pattern.layout.header;
        self.next = start + length;
        let rest = &mut self.buffer[start..];
        pattern.put(&mut rest[..length], self.next == self.length);
        Some((rest, length))
    }
}

impl Pattern {
    fn of(packet: &[u8], header: VirtioHeader, transport: Transport, size: usize) -> Option<Self> {
        let (ip, _) = header.checksum()?;
        let (version, shortest) = match packet.first()? >> 4 {
            4 => (Version::V4, usize::from(packet[0] & 15) * 4),
            _ => (Version::V6, 40),
        };
        let layout = Layout::with(packet, version, transport, ip)?;
        if ip < shortest
            || shortest < 20
            || size == 0
            || layout.header > HEADER_MAX
            || layout.header >= packet.len()
        {
            return None;
        }
        let mut pattern = Self { layout, size, count: 0, header: [0; HEADER_MAX] };
        pattern.header[..layout.header].copy_from_slice(&packet[..layout.header]);
        Some(pattern)
    }

    /// Writes a segment's headers in front of its payload, as the kernel's tcp_gso_segment and udp_gso_segment do.
    fn put(&mut self, segment: &mut [u8], is_last: bool) {
        let Layout { version, transport, ip, header } = self.layout;
        segment[..header].copy_from_slice(&self.header[..header]);
        if version == Version::V4 {
            let id = short_at(segment, 4).wrapping_add(self.count as u16);
            segment[4..6].copy_from_slice(&id.to_be_bytes());
        }
        self.layout.put_lengths(segment, segment.len());
        if transport == Transport::Tcp {
            self.put_tcp(&mut segment[ip..], is_last);
        }
        let at = self.layout.checksum_at();
        segment[at..at + 2].fill(0);
        let sum = checksum::add(self.layout.pseudo_sum(segment, segment.len()), &segment[ip..]);
        segment[at..at + 2].copy_from_slice(&nonzero(checksum::finish(sum), transport));
        self.count += 1;
    }

    fn put_tcp(&self, tcp: &mut [u8], is_last: bool) {
        let sequence = long_at(tcp, 4).wrapping_add(self.count.wrapping_mul(self.size as u32));
        tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
        if !is_last {
            tcp[13] &= !(TCP_FIN | TCP_PSH);
        }
        if self.count > 0 {
            tcp[13] &= !TCP_CWR;
        }
    }
}

/// Computes the checksum that the kernel left open: the field holds the sum of the pseudo-header.
fn complete_checksum(packet: &mut [u8], header: VirtioHeader) -> Option<()> {
    let Some((start, at)) = header.checksum() else { return Some(()) };
    if at + 2 > packet.len() {
        return None;
    }
    let transport = if at - start == 6 { Transport::Udp } else { Transport::Tcp };
    let sum = checksum::finish(checksum::add(0, packet.get(start..)?));
    packet[at..at + 2].copy_from_slice(&nonzero(sum, transport));
    Some(())
}

/// UDP has 0 for no checksum.
fn nonzero(checksum: [u8; 2], transport: Transport) -> [u8; 2] {
    if transport == Transport::Udp && checksum == [0; 2] { [0xff; 2] } else { checksum }
}
