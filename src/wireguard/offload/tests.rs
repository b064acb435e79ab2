//! Any mix of flows: what is joined and cut again is what it was.

use std::ops::Range;

use proptest::prelude::*;

use super::checksum;
use super::layout::{Layout, Transport};
use super::{Coalescing, Group, Segments, VirtioHeader, coalesce};
use crate::wireguard::core::PADDING;

/// One packet of one of a few flows.
#[derive(Clone, Debug)]
struct Plan {
    flow: usize,
    payload: usize,
    /// Bytes of the flow that are not there.
    gap: u32,
    tcp_flags: u8,
    spoil: Spoil,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoil {
    Nothing,
    Checksum,
    HeaderChecksum,
    NoUdpChecksum,
    Fragment,
    OtherId,
    Trailer,
    Truncated,
}

fn plan() -> impl Strategy<Value = Plan> {
    let flags = prop_oneof![8 => Just(0x10u8), 1 => Just(0x18), 1 => Just(0x19), 1 => any::<u8>()];
    let spoil = prop_oneof![
        20 => Just(Spoil::Nothing),
        1 => prop::sample::select(vec![
            Spoil::Checksum,
            Spoil::HeaderChecksum,
            Spoil::NoUdpChecksum,
            Spoil::Fragment,
            Spoil::OtherId,
            Spoil::Trailer,
            Spoil::Truncated,
        ]),
    ];
    let payload = prop_oneof![6 => Just(1360usize), 2 => Just(333), 1 => 0usize..1500];
    (0usize..6, payload, prop_oneof![9 => Just(0u32), 1 => any::<u32>()], flags, spoil)
        .prop_map(|(flow, payload, gap, tcp_flags, spoil)| Plan { flow, payload, gap, tcp_flags, spoil })
}

/// Runs of packets of one flow, as they come, and single ones between them.
fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let run = (plan(), 1usize..50).prop_map(|(plan, count)| vec![Plan { gap: 0, ..plan }; count]);
    let some = prop::collection::vec(plan(), 1..8);
    prop::collection::vec(prop_oneof![run, some], 1..6).prop_map(|plans| plans.concat())
}

/// The flows: TCP and UDP in both families, TCP once more with options.
fn packets(plans: &[Plan]) -> Vec<Vec<u8>> {
    let (mut sequence, mut id) = ([u32::MAX - 5_000; 6], [65_530u16; 6]);
    let mut packets = Vec::new();
    for plan in plans {
        let flow = plan.flow;
        sequence[flow] = sequence[flow].wrapping_add(plan.gap);
        id[flow] = id[flow].wrapping_add(1);
        packets.push(packet(plan, sequence[flow], id[flow]));
        sequence[flow] = sequence[flow].wrapping_add(plan.payload as u32);
    }
    packets
}

fn packet(plan: &Plan, sequence: u32, id: u16) -> Vec<u8> {
    let (is_v6, is_udp) = (plan.flow % 2 == 1, plan.flow / 2 == 1);
    let options: &[u8] = if plan.flow / 2 == 2 { &[1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9] } else { &[] };
    let mut transport = vec![0x1f, 0x90, 0x04, plan.flow as u8];
    if is_udp {
        transport.extend(((8 + plan.payload) as u16).to_be_bytes());
        transport.extend([0, 0]);
    } else {
        transport.extend(sequence.to_be_bytes());
        transport.extend([0, 0, 0, 1, ((20 + options.len()) as u8) << 2, plan.tcp_flags, 1, 0, 0, 0, 0, 0]);
        transport.extend(options);
    }
    transport.extend((0..plan.payload).map(|n| (n as u32 ^ sequence) as u8));
    let protocol = if is_udp { 17 } else { 6 };
    let mut packet =
        if is_v6 { v6_header(protocol, transport.len()) } else { v4_header(protocol, transport.len(), id) };
    let ip = packet.len();
    packet.extend(transport);
    let addresses = if is_v6 { 8..40 } else { 12..20 };
    let pseudo = checksum::add_pseudo_header(0, &packet[addresses], protocol, packet.len() - ip);
    let sum = checksum::finish(checksum::add(pseudo, &packet[ip..]));
    let at = ip + if is_udp { 6 } else { 16 };
    packet[at..at + 2].copy_from_slice(if is_udp && sum == [0; 2] { &[0xff; 2] } else { &sum });
    spoil(&mut packet, plan.spoil, at);
    packet
}

fn spoil(packet: &mut Vec<u8>, spoil: Spoil, checksum_at: usize) {
    match spoil {
        Spoil::Nothing => {}
        Spoil::Checksum => packet[checksum_at] ^= 0x55,
        Spoil::HeaderChecksum => packet[10] ^= 0x55,
        Spoil::NoUdpChecksum => packet[checksum_at..checksum_at + 2].fill(0),
        Spoil::Fragment => packet[7] ^= 1,
        Spoil::OtherId => packet[5] ^= 0x80,
        Spoil::Trailer => packet.extend([9; 3]),
        Spoil::Truncated => packet.truncate(packet.len() * 2 / 3),
    }
}

fn v4_header(protocol: u8, length: usize, id: u16) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(((20 + length) as u16).to_be_bytes());
    header.extend(id.to_be_bytes());
    header.extend([0x40, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = checksum::finish(checksum::add(0, &header));
    header[10..12].copy_from_slice(&sum);
    header
}

fn v6_header(protocol: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((length as u16).to_be_bytes());
    header.extend([protocol, 64]);
    header.extend([0xfd; 32]);
    header
}

/// Joins packets and tells what would be written.
fn join(packets: &[Vec<u8>], coalescing: Coalescing) -> Vec<(Group, Vec<u8>)> {
    let mut bytes = packets.concat();
    let mut at = 0;
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for packet in packets {
        ranges.push(at..at + packet.len());
        at += packet.len();
    }
    let (mut rest, mut written) = (ranges.as_slice(), Vec::new());
    while !rest.is_empty() {
        let group = coalesce(&mut bytes, rest, coalescing);
        let (these, after) = rest.split_at(group.count);
        let mut whole = bytes[these[0].clone()].to_vec();
        these[1..].iter().for_each(|range| whole.extend(&bytes[range.start + group.header..range.end]));
        written.push((group, whole));
        rest = after;
    }
    written
}

/// Cuts what was read.
fn cut(packet: &[u8], virtio: VirtioHeader) -> Option<Vec<Vec<u8>>> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + PADDING, 0xaa);
    let mut segments = Segments::of(&mut buffer, packet.len(), virtio)?;
    let mut cut = Vec::new();
    while let Some((bytes, length)) = segments.take_next() {
        cut.push(bytes[..length].to_vec());
    }
    Some(cut)
}

proptest! {
    #[test]
    fn what_was_joined_is_cut_into_what_it_was(plans in plans()) {
        let packets = packets(&plans);
        for coalescing in [Coalescing::Nothing, Coalescing::Tcp, Coalescing::TcpAndUdp] {
            let mut again = Vec::new();
            for (group, whole) in join(&packets, coalescing) {
                if group.count == 1 {
                    again.push(whole);
                } else {
                    again.extend(cut(&whole, group.virtio).expect("a packet that can be cut"));
                }
            }
            prop_assert_eq!(&again, &packets);
        }
    }

    #[test]
    fn segments_have_right_checksums_and_all_of_the_payload(
        flow in 0usize..6,
        payload in 1usize..60_000,
        size in 1u16..9_000,
    ) {
        let plan = Plan { flow, payload, gap: 0, tcp_flags: 0x99, spoil: Spoil::Nothing };
        let large = packet(&plan, 77, 7);
        let layout = Layout::of(&large).unwrap();
        let cuts = cut(&large, to_be_cut(&large, layout, size)).unwrap();
        let mut together: Vec<u8> = Vec::new();
        for (number, segment) in cuts.iter().enumerate() {
            prop_assert!(layout.is_sound(segment));
            prop_assert!(segment.len() - layout.header <= size.into());
            if layout.transport == Transport::Tcp {
                let flags = segment[layout.ip + 13];
                prop_assert_eq!(flags & 0x80 != 0, number == 0, "CWR is on the first");
                prop_assert_eq!(flags & 0x09, if number + 1 == cuts.len() { 0x09 } else { 0 }, "FIN, PSH on the last");
            }
            together.extend(&segment[layout.header..]);
        }
        prop_assert_eq!(together, &large[layout.header..]);
    }

    /// The kernel is trusted, and yet: no header may make the engine panic or read beyond the packet.
    #[test]
    fn any_header_and_any_packet_are_cut_or_refused(
        virtio in prop::array::uniform10(any::<u8>()),
        gso_type in prop::sample::select(vec![0u8, 1, 3, 4, 5, 0x81]),
        plan in plan(),
        changes in prop::collection::vec((0usize..80, any::<u8>()), 0..4),
    ) {
        let mut packet = packet(&plan, 1, 1);
        for (at, value) in changes {
            let at = at % packet.len();
            packet[at] = value;
        }
        for flags_and_type in [[virtio[0], gso_type], [1, gso_type], [0, 0]] {
            let mut header = virtio;
            header[..2].copy_from_slice(&flags_and_type);
            let _cut_or_refused = cut(&packet, VirtioHeader::parse(&header));
            header[6..10].copy_from_slice(&[20, 0, 16, 0]);
            let _cut_or_refused = cut(&packet, VirtioHeader::parse(&header));
        }
    }
}

fn to_be_cut(packet: &[u8], layout: Layout, size: u16) -> VirtioHeader {
    let gso_type = match (layout.transport, packet[0] >> 4) {
        (Transport::Udp, _) => 5,
        (Transport::Tcp, 4) => 1,
        (Transport::Tcp, _) => 4,
    };
    let [a, b] = size.to_ne_bytes();
    let [c, d] = (layout.ip as u16).to_ne_bytes();
    let [e, f] = ((layout.checksum_at() - layout.ip) as u16).to_ne_bytes();
    VirtioHeader::parse(&[1, gso_type, 0, 0, a, b, c, d, e, f])
}

#[test]
fn a_run_of_one_flow_becomes_one_packet() {
    for flow in 0..6 {
        let plan = Plan { flow, payload: 1360, gap: 0, tcp_flags: 0x10, spoil: Spoil::Nothing };
        let written = join(&packets(&vec![plan; 40]), Coalescing::TcpAndUdp);
        assert_eq!(written.iter().map(|(group, _)| group.count).collect::<Vec<_>>(), [40], "flow {flow}");
    }
}

#[test]
fn a_checksum_that_the_kernel_left_open_is_completed() {
    let plan = Plan { flow: 2, payload: 100, gap: 0, tcp_flags: 0, spoil: Spoil::Nothing };
    let whole = packet(&plan, 1, 1);
    let layout = Layout::of(&whole).unwrap();
    let mut open = whole.clone();
    open[26..28].copy_from_slice(&checksum::fold(layout.pseudo_sum(&whole, whole.len())));
    let virtio = VirtioHeader::parse(&[1, 0, 0, 0, 0, 0, 20, 0, 6, 0]);
    assert_eq!(cut(&open, virtio), Some(vec![whole]));
}
