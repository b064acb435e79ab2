//! What is read from a TUN device with offloads: any header before any bytes is cut into packets that hold all of it
//! or is refused, and packets that are joined again for the other end are cut into the same ones there.

use std::ops::Range;

use rdomain::wireguard::{Coalescing, PADDING, Segments, VirtioHeader, coalesce};

/// The first bytes are the header.
pub fn hold(input: &[u8]) {
    let Some((header, packet)) = input.split_first_chunk() else { return };
    let Some(packets) = cut(packet, VirtioHeader::parse(header)) else { return };
    for coalescing in [Coalescing::Nothing, Coalescing::Tcp, Coalescing::TcpAndUdp] {
        assert_eq!(joined_and_cut(&packets, coalescing), packets, "{coalescing:?}");
    }
}

/// The packets that go into the tunnel.
fn cut(packet: &[u8], virtio: VirtioHeader) -> Option<Vec<Vec<u8>>> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + PADDING, 0xaa);
    let mut segments = Segments::of(&mut buffer, packet.len(), virtio)?;
    let mut cut = Vec::new();
    while let Some(length) = segments.next_length() {
        let (bytes, taken) = segments.take_next()?;
        assert_eq!(taken, length, "the length that was foretold");
        assert!(bytes.len() >= taken + PADDING, "room for the padding");
        cut.push(bytes[..taken].to_vec());
        assert!(cut.len() <= packet.len(), "it has an end");
    }
    Some(cut)
}

/// The packets that the other end's kernel makes of what it is given.
fn joined_and_cut(packets: &[Vec<u8>], coalescing: Coalescing) -> Vec<Vec<u8>> {
    let mut bytes = packets.concat();
    let mut at = 0;
    let ranges: Vec<Range<usize>> = packets
        .iter()
        .map(|packet| {
            at += packet.len();
            at - packet.len()..at
        })
        .collect();
    let (mut rest, mut cut_again) = (ranges.as_slice(), Vec::new());
    while !rest.is_empty() {
        let group = coalesce(&mut bytes, rest, coalescing);
        let (these, after) = rest.split_at(group.count);
        let mut whole = bytes[these[0].clone()].to_vec();
        these[1..].iter().for_each(|range| whole.extend(&bytes[range.start + group.header..range.end]));
        match group.count {
            1 => cut_again.push(whole),
            _ => cut_again.extend(cut(&whole, group.virtio).expect("what was joined can be cut")),
        }
        rest = after;
    }
    cut_again
}
