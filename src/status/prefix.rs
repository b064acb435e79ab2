//! Addresses and prefixes as route(8) prints them.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::model::Prefix;

/// A destination: `default`, `10/8`, `192.168.5/24`, `fd00::/64`, or the bare address of a host.
///
/// Of an IPv4 network only the bytes that the mask reaches are printed.
pub(super) fn destination(prefix: Prefix, interface: Option<&str>) -> String {
    match (prefix.address(), prefix.length()) {
        (IpAddr::V4(_), 0) | (IpAddr::V6(_), 0) => "default".to_owned(),
        (IpAddr::V4(address), 32) => address.to_string(),
        (IpAddr::V4(address), length) => short_network(address, length),
        (IpAddr::V6(_), 128) => scoped(prefix.address(), interface),
        (IpAddr::V6(_), length) => format!("{}/{length}", scoped(prefix.address(), interface)),
    }
}

/// An address, with its interface if it means nothing without (RFC 4007, 11).
pub(super) fn scoped(address: IpAddr, interface: Option<&str>) -> String {
    match (address, interface) {
        (IpAddr::V6(v6), Some(interface)) if needs_scope(v6.segments()[0]) => {
            format!("{address}%{interface}")
        }
        _ => address.to_string(),
    }
}

/// The IPv4 mask of this length as a number, as ifconfig(8) prints it after `0x`.
pub(super) fn mask_bits(network: IpNetwork) -> u32 {
    match network.mask() {
        IpAddr::V4(mask) => mask.to_bits(),
        IpAddr::V6(_) => 0,
    }
}

fn short_network(address: Ipv4Addr, length: u8) -> String {
    let bytes = address.octets();
    let shown = usize::from(length.div_ceil(8).max(1));
    let texts: Vec<String> = bytes[..shown].iter().map(u8::to_string).collect();
    format!("{}/{length}", texts.join("."))
}

/// Whether the first 16 bits make it link-local, unicast or multicast.
fn needs_scope(first: u16) -> bool {
    first & 0xffc0 == 0xfe80 || matches!(first & 0xff0f, 0xff01 | 0xff02)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_as_short_as_their_mask_allows() {
        let cases = [
            ("0.0.0.0/0", "default"),
            ("10.0.0.0/8", "10/8"),
            ("224.0.0.0/4", "224/4"),
            ("10.0.0.0/10", "10.0/10"),
            ("192.168.5.0/24", "192.168.5/24"),
            ("10.8.1.128/25", "10.8.1.128/25"),
            ("192.168.5.1/32", "192.168.5.1"),
            ("0.0.0.0/32", "0.0.0.0"),
            ("::/0", "default"),
            ("fd00::/64", "fd00::/64"),
            ("fe80::/64", "fe80::%wg1/64"),
            ("ff00::/8", "ff00::/8"),
            ("fe80::1/128", "fe80::1%wg1"),
        ];
        for (prefix, text) in cases {
            assert_eq!(destination(prefix.parse().unwrap(), Some("wg1")), text);
        }
    }
}
