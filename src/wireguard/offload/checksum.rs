//! The Internet checksum (RFC 1071).
//!
//! Sums are kept in the machine's byte order: the result, stored in that order, is the same.

/// Adds bytes to a sum; all pieces but the last have an even length.
pub(super) fn add(sum: u64, bytes: &[u8]) -> u64 {
    let mut lanes = [0u64; 8];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let (words, last) = rest.as_chunks::<2>();
    let words = words.iter().map(|word| u64::from(u16::from_ne_bytes(*word))).sum::<u64>();
    let last = last.first().map_or(0, |byte| u64::from(u16::from_ne_bytes([*byte, 0])));
    sum + lanes.iter().sum::<u64>() + words + last
}

/// Adds what TCP and UDP have of the IP header: addresses, protocol and length.
pub(super) fn add_pseudo_header(sum: u64, addresses: &[u8], protocol: u8, length: usize) -> u64 {
    let [.., high, low] = length.to_be_bytes();
    add(add(sum, addresses), &[0, protocol, high, low])
}

/// The sum in 16 bits, in the byte order of the network.
pub(super) fn fold(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (sum as u16).to_ne_bytes()
}

/// The checksum: the complement of the sum.
pub(super) fn finish(sum: u64) -> [u8; 2] {
    fold(sum).map(|byte| !byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As RFC 1071 says it, byte by byte.
    fn plain(bytes: &[u8]) -> [u8; 2] {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(fold(add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), [0xdd, 0xf2]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_way(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(finish(add(0, &bytes)), plain(&bytes));
        }
    }
}
