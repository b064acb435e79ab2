//! Packets that follow each other in one flow, as one large packet.

use std::ops::Range;

use super::checksum;
use super::layout::{Layout, Transport, Version, long_at, short_at};
use super::virtio::{Segmented, VirtioHeader};

/// More would be no faster.
const PACKETS_MAX: usize = 64;
const LENGTH_MAX: usize = 65_535;
const TCP_ACK: u8 = 0x10;
/// What the last segment may have beside ACK: FIN and PSH.
const TCP_LAST: u8 = 0x09;

/// What the interface takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    /// Single packets.
    Nothing,
    /// TCP segments together.
    Tcp,
    /// TCP segments, and UDP datagrams.
    TcpAndUdp,
}

/// Packets that are written as one: the first one whole, and of the others what follows their headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// How many packets.
    pub count: usize,
    /// The length of each of their headers.
    pub header: usize,
    /// What tells the kernel where they were joined.
    pub virtio: VirtioHeader,
}

/// Joins the first of these packets and those that follow it in its flow; writes the headers of all into the first
/// one's place.
pub fn coalesce(bytes: &mut [u8], packets: &[Range<usize>], coalescing: Coalescing) -> Group {
    let single = Group { count: 1, header: 0, virtio: VirtioHeader::default() };
    let Some(mut run) = Run::begin(bytes, packets, coalescing) else { return single };
    for packet in &packets[1..] {
        if !run.takes(&bytes[packet.clone()], bytes) {
            break;
        }
    }
    if run.count < 2 { single } else { run.join(&mut bytes[packets[0].clone()]) }
}

/// Packets that belong together so far.
struct Run {
    layout: Layout,
    first: Range<usize>,
    /// Payload of each packet but the last.
    size: usize,
    count: usize,
    length: usize,
    flags: u8,
    is_closed: bool,
}

impl Run {
    fn begin(bytes: &[u8], packets: &[Range<usize>], coalescing: Coalescing) -> Option<Self> {
        let [first, _, ..] = packets else { return None };
        let packet = &bytes[first.clone()];
        let layout = Layout::of(packet)?;
        let size = packet.len() - layout.header;
        let is_joinable = match (layout.transport, coalescing) {
            (_, Coalescing::Nothing) | (Transport::Udp, Coalescing::Tcp) => false,
            (Transport::Tcp, Coalescing::Tcp | Coalescing::TcpAndUdp) => packet[layout.ip + 13] == TCP_ACK,
            (Transport::Udp, Coalescing::TcpAndUdp) => has_udp_checksum(packet, layout),
        };
        let run = Self {
            layout,
            first: first.clone(),
            size,
            count: 1,
            length: packet.len(),
            flags: TCP_ACK,
            is_closed: false,
        };
        (is_joinable && size > 0 && has_its_length(packet, layout)).then_some(run)
    }

    /// Adds the packet if it follows.
    fn takes(&mut self, packet: &[u8], bytes: &[u8]) -> bool {
        let first = &bytes[self.first.clone()];
        if self.is_closed || !self.has_room_for(packet) || !self.is_followed_by(packet, first) {
            return false;
        }
        if self.count == 1 && !self.layout.is_sound(first) || !self.layout.is_sound(packet) {
            self.is_closed = true;
            return false;
        }
        self.count += 1;
        self.length += packet.len() - self.layout.header;
        self.is_closed = packet.len() - self.layout.header < self.size;
        if self.layout.transport == Transport::Tcp {
            self.flags = packet[self.layout.ip + 13];
            self.is_closed |= self.flags != TCP_ACK;
        }
        true
    }

    fn has_room_for(&self, packet: &[u8]) -> bool {
        self.count < PACKETS_MAX
            && packet.len() > self.layout.header
            && packet.len() - self.layout.header <= self.size
            && self.length + packet.len() - self.layout.header <= LENGTH_MAX
    }

    fn is_followed_by(&self, packet: &[u8], first: &[u8]) -> bool {
        let layout = self.layout;
        if Layout::of(packet) != Some(layout) || !has_its_length(packet, layout) {
            return false;
        }
        let same = |range: Range<usize>| first[range.clone()] == packet[range];
        let same_ip = match layout.version {
            Version::V4 => {
                let id = short_at(first, 4).wrapping_add(self.count as u16);
                same(0..2) && same(6..10) && same(12..20) && short_at(packet, 4) == id
            }
            Version::V6 => same(0..4) && same(6..40),
        };
        let ip = layout.ip;
        let same_ports = same(ip..ip + 4);
        same_ip
            && same_ports
            && match layout.transport {
                Transport::Udp => has_udp_checksum(packet, layout),
                Transport::Tcp => {
                    let sequence = long_at(first, ip + 4).wrapping_add((self.count * self.size) as u32);
                    long_at(packet, ip + 4) == sequence
                        && same(ip + 8..ip + 13)
                        && packet[ip + 13] & !TCP_LAST == TCP_ACK
                        && same(ip + 14..ip + 16)
                        && same(ip + 18..layout.header)
                }
            }
    }

    /// Makes the first packet's headers those of all.
    fn join(self, first: &mut [u8]) -> Group {
        let layout = self.layout;
        layout.put_lengths(first, self.length);
        if layout.transport == Transport::Tcp {
            first[layout.ip + 13] = self.flags;
        }
        let at = layout.checksum_at();
        let sum = checksum::fold(layout.pseudo_sum(first, self.length));
        first[at..at + 2].copy_from_slice(&sum);
        let segmented = match (layout.transport, layout.version) {
            (Transport::Udp, _) => Segmented::Udp,
            (Transport::Tcp, Version::V4) => Segmented::Tcp4,
            (Transport::Tcp, Version::V6) => Segmented::Tcp6,
        };
        let virtio = VirtioHeader::to_be_cut(segmented, layout.header, layout.ip, self.size);
        Group { count: self.count, header: layout.header, virtio }
    }
}

/// Whether the headers tell the packet's length.
fn has_its_length(packet: &[u8], layout: Layout) -> bool {
    let ip = match layout.version {
        Version::V4 => usize::from(short_at(packet, 2)),
        Version::V6 => usize::from(short_at(packet, 4)) + 40,
    };
    let udp = || usize::from(short_at(packet, layout.ip + 4)) + layout.ip;
    ip == packet.len() && (layout.transport == Transport::Tcp || udp() == packet.len())
}

fn has_udp_checksum(packet: &[u8], layout: Layout) -> bool {
    packet[layout.ip + 6..layout.ip + 8] != [0; 2]
}
