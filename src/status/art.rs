//! The order in which OpenBSD prints routes: the walk of its allotment routing table (sys/net/art.c).
//!
//! The table is a tree of small heaps, one per stride of address bits: 8 then 4 each for IPv4, 4 each for IPv6.
//! A walk of one heap visits the prefix that ends where the stride begins, then those that end inside it, in the
//! order of heap indexes j, 2j, 4j, .. for odd j (an index is 2^bits + value), then each slot at its far edge,
//! from left to right, going down into the next stride. So 224.0.0.0/4 comes before 10.0.0.0/8.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::model::Prefix;

/// Compares two prefixes by their place in the walk; IPv4 before IPv6.
pub(super) fn compare(left: Prefix, right: Prefix) -> Ordering {
    left.is_ipv6().cmp(&right.is_ipv6()).then_with(|| path(left).cmp(&path(right)))
}

/// Where a prefix is met within one stride; in the order of the walk.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Top,
    Inside { odd: u32, doublings: u32 },
    Slot(u32),
}

fn path(prefix: Prefix) -> Vec<Turn> {
    let (bits, width) = match prefix.address() {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let mut turns = Vec::new();
    let mut depth = 0;
    loop {
        let left = u32::from(prefix.length()) - depth;
        if left == 0 {
            turns.push(Turn::Top);
            return turns;
        }
        let stride = if depth == 0 && width == 32 { 8 } else { 4 };
        if left < stride {
            let index = (1 << left) + cut(bits, depth, left);
            let doublings = index.trailing_zeros();
            turns.push(Turn::Inside { odd: index >> doublings, doublings });
            return turns;
        }
        turns.push(Turn::Slot(cut(bits, depth, stride)));
        depth += stride;
    }
}

/// `count` bits (1 to 8) after the first `depth`.
fn cut(bits: u128, depth: u32, count: u32) -> u32 {
    ((bits << depth) >> (128 - count)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(texts: &[&str]) -> Vec<String> {
        let mut prefixes: Vec<Prefix> = texts.iter().map(|text| text.parse().unwrap()).collect();
        prefixes.sort_by(|left, right| compare(*left, *right));
        prefixes.iter().map(Prefix::to_string).collect()
    }

    #[test]
    fn short_prefixes_of_high_networks_come_before_low_networks() {
        let order = ["0.0.0.0/0", "224.0.0.0/4", "10.0.2.0/24", "127.0.0.0/8", "127.0.0.1/32"];
        let mut shuffled = order;
        shuffled.sort_unstable();
        assert_eq!(walked(&shuffled), order);
    }

    #[test]
    fn a_prefix_comes_before_what_lies_in_it() {
        let order = ["10.0.0.0/8", "10.0.0.0/10", "10.0.0.0/16", "10.8.0.0/16"];
        assert_eq!(walked(&["10.8.0.0/16", "10.0.0.0/16", "10.0.0.0/10", "10.0.0.0/8"]), order);
    }

    #[test]
    fn inside_a_stride_the_heap_is_walked_by_doubling() {
        let order = ["0.0.0.0/1", "0.0.0.0/2", "128.0.0.0/1", "128.0.0.0/2", "64.0.0.0/2", "192.0.0.0/2"];
        let mut shuffled = order;
        shuffled.sort_unstable();
        assert_eq!(walked(&shuffled), order);
    }

    #[test]
    fn ipv6_has_strides_of_four_bits() {
        let order =
            ["::/0", "e000::/3", "::1/128", "2001:db8::/32", "fd00:1::/64", "fd00:1::1/128", "ff00::/8"];
        let mut shuffled = order;
        shuffled.reverse();
        assert_eq!(walked(&shuffled), order);
    }
}
