//! What arrives at the sockets, from anybody: nothing comes out of the tunnel that did not go in, nothing twice, and
//! whatever was done to it, it goes on once it is left alone.

use std::collections::BTreeSet;
use std::num::NonZeroU8;
use std::time::Duration;

use super::{Sent, Side, Tunnel, packet};
use arbitrary::{Arbitrary, Unstructured};

/// What somebody on the wire may do, and the clock.
#[derive(Arbitrary, Debug)]
enum Act {
    /// An end is given a packet to send.
    Send { from: Side, length: u16 },
    /// One of the datagrams sent so far arrives, perhaps not for the first time.
    Deliver { which: u8 },
    /// It arrives with a byte changed.
    Spoil { which: u8, at: u16, by: NonZeroU8 },
    /// It arrives without its end.
    Truncate { which: u8, length: u16 },
    /// Bytes arrive that no end has sent, from an address that is no end's.
    Noise { to: Side, bytes: Vec<u8>, size: u16 },
    /// Time passes.
    Pass { deciseconds: u16 },
    /// All arrives that is on its way.
    Settle,
}

/// Reads acts and does the first 64 of them.
pub fn hold(input: &[u8]) {
    let Ok(acts) = Vec::<Act>::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let mut tunnel = Tunnel::idle();
    let mut sent = BTreeSet::from([packet(0, 100)]);
    tunnel.send(Side::Left, &packet(0, 100));
    tunnel.settle();
    assert_eq!(tunnel.received[Side::Right as usize].len(), 1, "an undisturbed tunnel works");
    // Everything that was on the wire since, and how much of it came through undisturbed.
    let (mut seen, mut settled): (Vec<Sent>, _) = (Vec::new(), 0);
    for (number, act) in (1..).zip(acts.iter().take(64)) {
        let chosen = |which: u8| seen.get(usize::from(which) % seen.len().max(1)).cloned();
        match *act {
            Act::Send { from, length } => {
                let packet = packet(number, usize::from(length));
                tunnel.send(from, &packet);
                sent.insert(packet);
            }
            Act::Deliver { which } => arrive(&mut tunnel, chosen(which), |_| {}),
            Act::Spoil { which, at, by } => arrive(&mut tunnel, chosen(which), |bytes| {
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= by.get();
            }),
            Act::Truncate { which, length } => {
                arrive(&mut tunnel, chosen(which), |bytes| bytes.truncate(usize::from(length)));
            }
            Act::Noise { to, ref bytes, size } => {
                tunnel.deliver(to, "203.0.113.9:9".parse().expect("an address"), bytes, usize::from(size));
            }
            Act::Pass { deciseconds } => tunnel.pass(Duration::from_millis(u64::from(deciseconds) * 100)),
            Act::Settle => {
                tunnel.wire.extend_from_slice(&seen[settled..]);
                settled = seen.len();
                tunnel.settle();
            }
        }
        seen.append(&mut tunnel.wire);
    }
    for received in &tunnel.received {
        let distinct: BTreeSet<_> = received.iter().collect();
        assert_eq!(distinct.len(), received.len(), "a packet came out twice");
        assert!(received.iter().all(|packet| sent.contains(packet)), "a packet came out that nobody sent");
    }
    for side in [Side::Left, Side::Right] {
        assert!(goes_on(&mut tunnel, side), "nothing gets through any more");
    }
}

/// A datagram arrives as it was sent, but for this change.
fn arrive(tunnel: &mut Tunnel, sent: Option<Sent>, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some(mut sent) = sent {
        change(&mut sent.bytes);
        tunnel.deliver(sent.from.other(), sent.from.address(), &sent.bytes, sent.bytes.len());
    }
}

/// Whether a packet gets through within the time that handshakes may take (section 6 of the WireGuard paper).
fn goes_on(tunnel: &mut Tunnel, from: Side) -> bool {
    (0..200).any(|second| {
        let packet = packet(u64::MAX - second, 60);
        tunnel.send(from, &packet);
        tunnel.settle();
        let came = tunnel.received[from.other() as usize].contains(&packet);
        tunnel.pass(Duration::from_secs(1));
        came
    })
}
