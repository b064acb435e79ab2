//! Keys of a tunnel by the request that ifconfig(8) itself gives them to the kernel with: no command line has them.
//!
//! Mirrors sys/net/if_wg.h of OpenBSD 7.4 to 7.8. What is asked for is bytes, made by the offsets that a compiler gives
//! those structures; giving them to a kernel is all that an OpenBSD is needed for.

use std::mem::{offset_of, size_of};

use zeroize::Zeroizing;

use crate::model::PublicKey;
use crate::state::Secret;

#[cfg(target_os = "openbsd")]
pub(super) mod ioctl;

/// `struct wg_data_io`: whose tunnel, and where what is asked for stands.
#[cfg(any(test, target_os = "openbsd"))]
#[repr(C)]
struct Request {
    name: [u8; 16],
    size: usize,
    interface: *const u8,
}

/// `struct wg_interface_io`, which peers follow upon.
#[repr(C)]
struct Interface {
    flags: u8,
    port: u16,
    rtable: i32,
    public: [u8; 32],
    private: [u8; 32],
    peers_count: usize,
}

/// `struct wg_peer_io`, which allowed addresses follow upon.
#[repr(C)]
struct Peer {
    flags: i32,
    protocol_version: i32,
    public: [u8; 32],
    psk: [u8; 32],
    pka: u16,
    endpoint: Endpoint,
    txbytes: u64,
    rxbytes: u64,
    last_handshake: [i64; 2],
    description: [u8; 64],
    aips_count: usize,
}

/// `struct sockaddr_in6`, the largest of the three that share the place.
#[repr(C)]
struct Endpoint([u32; 7]);

/// `WG_INTERFACE_HAS_PRIVATE`
const HAS_PRIVATE: u8 = 1 << 1;
/// `WG_PEER_HAS_PUBLIC | WG_PEER_HAS_PSK`
const HAS_PUBLIC_AND_PSK: i32 = 1 << 0 | 1 << 1;

/// `_IOWR('i', 210, struct wg_data_io)` (sys/ioccom.h).
#[cfg(any(test, target_os = "openbsd"))]
pub(super) const SIOCSWG: u64 = 0xc000_0000 | (size_of::<Request>() as u64) << 16 | (b'i' as u64) << 8 | 210;

/// What a tunnel is given its private key with; everything else of it stays.
pub(super) fn private_key(key: &Secret) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; size_of::<Interface>()]);
    put(&mut bytes, offset_of!(Interface, flags), &[HAS_PRIVATE]);
    put(&mut bytes, offset_of!(Interface, private), key.bytes());
    bytes
}

/// What a peer is given its preshared key with: it is made, if it is not there, and everything else of it stays.
pub(super) fn preshared_key(peer: &PublicKey, key: &Secret) -> Zeroizing<Vec<u8>> {
    let first = size_of::<Interface>();
    let mut bytes = Zeroizing::new(vec![0; first + size_of::<Peer>()]);
    put(&mut bytes, offset_of!(Interface, peers_count), &1_usize.to_ne_bytes());
    put(&mut bytes, first + offset_of!(Peer, flags), &HAS_PUBLIC_AND_PSK.to_ne_bytes());
    put(&mut bytes, first + offset_of!(Peer, public), &peer.0);
    put(&mut bytes, first + offset_of!(Peer, psk), key.bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    /// Counted by hand from the header, for a machine of 64 bits.
    #[test]
    fn the_structures_are_those_of_the_header() {
        assert_eq!(SIOCSWG, 0xc020_69d2);
        assert_eq!(
            [offset_of!(Request, size), offset_of!(Request, interface), size_of::<Request>()],
            [16, 24, 32]
        );
        let interface = [
            offset_of!(Interface, flags),
            offset_of!(Interface, port),
            offset_of!(Interface, rtable),
            offset_of!(Interface, public),
            offset_of!(Interface, private),
            offset_of!(Interface, peers_count),
            size_of::<Interface>(),
        ];
        assert_eq!(interface, [0, 2, 4, 8, 40, 72, 80]);
        let peer = [
            offset_of!(Peer, flags),
            offset_of!(Peer, protocol_version),
            offset_of!(Peer, public),
            offset_of!(Peer, psk),
            offset_of!(Peer, pka),
            offset_of!(Peer, endpoint),
            offset_of!(Peer, txbytes),
            offset_of!(Peer, rxbytes),
            offset_of!(Peer, last_handshake),
            offset_of!(Peer, description),
            offset_of!(Peer, aips_count),
            size_of::<Peer>(),
        ];
        assert_eq!(peer, [0, 4, 8, 40, 72, 76, 104, 112, 120, 136, 200, 208]);
    }

    #[test]
    fn a_key_stands_in_its_place_and_nothing_else_is_asked_for() {
        let bytes = private_key(&Secret::new([7; 32]));
        assert_eq!((bytes.len(), bytes[0], &bytes[40..72]), (80, 2, &[7; 32][..]));
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 33);

        let bytes = preshared_key(&PublicKey([5; 32]), &Secret::new([7; 32]));
        assert_eq!((bytes.len(), bytes[72], bytes[80]), (288, 1, 3));
        assert_eq!((&bytes[88..120], &bytes[120..152]), (&[5; 32][..], &[7; 32][..]));
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 66);
    }
}
