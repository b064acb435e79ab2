//! Explicit congestion notification through a tunnel: RFC 6040.

use super::checksum;

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// The ECN field of an IP packet.
pub(crate) fn of(packet: &[u8]) -> u8 {
    match packet {
        [first, second, ..] if first >> 4 == 6 => (second >> 4) & 3,
        [_, second, ..] => second & 3,
        _ => NOT_ECT,
    }
}

/// Brings what happened to the outer packet to the inner one; `None` if that must be dropped: it met congestion, and
/// its sender would not hear of it otherwise.
pub(crate) fn decapsulate(outer: u8, packet: &mut [u8]) -> Option<()> {
    match (of(packet), outer) {
        (NOT_ECT, CE) => return None,
        (ECT_0 | ECT_1, CE) => put(packet, CE),
        (ECT_0, ECT_1) => put(packet, ECT_1),
        _ => {}
    }
    Some(())
}

fn put(packet: &mut [u8], ecn: u8) {
    if packet[0] >> 4 == 6 {
        packet[1] = packet[1] & !0x30 | ecn << 4;
        return;
    }
    let before = [packet[0], packet[1]];
    packet[1] = packet[1] & !3 | ecn;
    let Some(sum) = packet.get(10..12) else { return };
    // RFC 1624: the new checksum is ~(~old + ~before + after).
    let difference = checksum::add(0, &[!sum[0], !sum[1], !before[0], !before[1], packet[0], packet[1]]);
    let sum = checksum::finish(difference);
    packet[10..12].copy_from_slice(&sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(ecn: u8) -> Vec<u8> {
        let mut packet = vec![0x45, 0xb8 | ecn, 0, 20, 1, 2, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = checksum::finish(checksum::add(0, &packet));
        packet[10..12].copy_from_slice(&sum);
        packet
    }

    fn v6(ecn: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x6b;
        packet[1] = 0x80 | ecn << 4 | 5;
        packet
    }

    /// The table of RFC 6040, section 4.2; 255 is a drop.
    #[test]
    fn the_table_of_the_rfc() {
        let drop = 255;
        for (inner, row) in
            [(NOT_ECT, [0, 0, 0, drop]), (ECT_0, [2, 1, 2, 3]), (ECT_1, [1, 1, 1, 3]), (CE, [3; 4])]
        {
            for (outer, expected) in (0..4).zip(row) {
                for mut packet in [v4(inner), v6(inner)] {
                    let before = packet.clone();
                    let kept = decapsulate(outer, &mut packet);
                    assert_eq!(kept.map_or(drop, |()| of(&packet)), expected, "{inner} in {outer}");
                    let high = if packet[0] >> 4 == 6 { packet[1] & !0x30 } else { packet[1] & !3 };
                    assert_eq!(high, if packet[0] >> 4 == 6 { 0x85 } else { 0xb8 });
                    if packet[0] >> 4 == 4 {
                        assert_eq!(checksum::fold(checksum::add(0, &packet)), [0xff; 2]);
                    }
                    assert_eq!(before[2..10], packet[2..10]);
                }
            }
        }
    }
}
