//! The header in front of every packet of a TUN device with IFF_VNET_HDR: <linux/virtio_net.h>.

/// The checksum is still to be computed.
const NEEDS_CSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// A mark beside the type: the first segment has CWR set.
const GSO_ECN: u8 = 0x80;

/// `struct virtio_net_hdr`, in the machine's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    flags: u8,
    gso_type: u8,
    header_length: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

/// How the kernel wants a packet to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Not at all.
    Whole,
    /// Into TCP segments of this many payload bytes.
    Tcp(usize),
    /// Into UDP datagrams of this many payload bytes.
    Udp(usize),
    /// In a way that was not offered to it.
    Unknown,
}

impl VirtioHeader {
    /// Its length in bytes.
    pub const LENGTH: usize = 10;

    /// Reads one.
    pub fn parse(bytes: &[u8; Self::LENGTH]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = *bytes;
        Self {
            flags,
            gso_type,
            header_length: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }

    /// Writes it.
    pub fn bytes(self) -> [u8; Self::LENGTH] {
        let [a, b] = self.header_length.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }

    /// For a packet that is to be cut after `header` bytes into pieces of `size`, its transport header `transport`
    /// bytes from its start, its checksum being that of the pseudo-header.
    pub(super) fn to_be_cut(cut: Segmented, header: usize, transport: usize, size: usize) -> Self {
        let (gso_type, csum_offset) = match cut {
            Segmented::Tcp4 => (GSO_TCPV4, 16),
            Segmented::Tcp6 => (GSO_TCPV6, 16),
            Segmented::Udp => (GSO_UDP_L4, 6),
        };
        let short = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        Self {
            flags: NEEDS_CSUM,
            gso_type,
            header_length: short(header),
            gso_size: short(size),
            csum_start: short(transport),
            csum_offset,
        }
    }

    /// How to cut the packet.
    pub(super) fn cut(self) -> Cut {
        match self.gso_type & !GSO_ECN {
            GSO_NONE => Cut::Whole,
            GSO_TCPV4 | GSO_TCPV6 => Cut::Tcp(self.gso_size.into()),
            GSO_UDP_L4 => Cut::Udp(self.gso_size.into()),
            _ => Cut::Unknown,
        }
    }

    /// Where to sum from, and where the checksum is to be put; `None` if there is one already.
    pub(super) fn checksum(self) -> Option<(usize, usize)> {
        let start = usize::from(self.csum_start);
        (self.flags & NEEDS_CSUM != 0).then_some((start, start + usize::from(self.csum_offset)))
    }
}

/// What segments there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segmented {
    Tcp4,
    Tcp6,
    Udp,
}
