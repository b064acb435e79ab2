//! One core and several threads: whoever works for one peer neither spoils nor reorders what others do.

use std::thread;
use std::time::Instant;

use super::world::{World, packet};
use crate::wireguard::{Batch, Core, PADDING, ROOM_FOR_ANY, Route, Segments, Train, VirtioHeader};

const PEERS: u8 = 4;
const PACKETS: u32 = 2_000;
/// How many packets go into one turn.
const ROW: u32 = 10;

#[test]
fn threads_serve_peers_at_once_and_each_in_order() {
    let mut world = World::of(PEERS + 1);
    for peer in 1..=PEERS {
        world.send(0, &packet(0, peer, 0));
    }
    world.settle();
    let (hub, others) = world.sites.split_first().unwrap();
    thread::scope(|threads| {
        for (number, other) in (1..).zip(others) {
            threads.spawn(move || carry((0, &hub.core), (number, &other.core), other.address));
            threads.spawn(move || carry((number, &other.core), (0, &hub.core), other.address));
        }
        threads.spawn(|| (0..PACKETS).for_each(|_| hub.core.tick(Instant::now(), &mut room())));
    });
    for peer in hub.core.peers() {
        let each = u64::from(PACKETS) * 64;
        assert!(peer.counters.tx_bytes >= each && peer.counters.rx_bytes >= each, "{:?}", peer.counters);
    }
}

/// Packets from one core to the other; what comes out is what went in, in its order.
fn carry((from, sealing): (u8, &Core), (to, opening): (u8, &Core), address: std::net::SocketAddr) {
    let (mut sealed, mut opened) = (room(), room());
    for first in (0..PACKETS).step_by(ROW as usize) {
        let row: Vec<_> = (first..first + ROW).map(|tag| packet(from, to, tag)).collect();
        let mut turn = sealing.turn(Instant::now());
        for packet in &row {
            let mut buffer = packet.clone();
            buffer.resize(packet.len() + PADDING, 0xaa);
            let mut segments = Segments::of(&mut buffer, packet.len(), VirtioHeader::default()).unwrap();
            turn.outbound(&mut segments, &mut sealed);
        }
        drop(turn);
        let mut turn = opening.turn(Instant::now());
        for (run, bytes) in sealed.runs() {
            turn.inbound(&mut Train::new(bytes, run.size, Route::to(address), 0), &mut opened);
        }
        drop(turn);
        assert!(opened.packets().eq(&row), "packets from {first} on, {from} to {to}");
        sealed.clear();
        opened.clear();
    }
}

fn room() -> Batch {
    Batch::with_capacity(2 * ROOM_FOR_ANY)
}
