//! The engine's core without IO: `cargo bench --bench engine`. A train is what one read of the interface gives: 47 TCP
//! segments.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use rdomain::model::PublicKey;
use rdomain::wireguard::{
    Batch, Coalescing, Core, PADDING, PeerSetting, ROOM_FOR_ANY, Route, Secret, Segments, Selected, Setting,
    Train, VirtioHeader,
};
use x25519_dalek::StaticSecret;

const SEGMENT: usize = 1_380;
const SEGMENTS: usize = 47;
const HEADER: usize = 40;
const TRAIN: usize = HEADER + SEGMENT * SEGMENTS;

fn main() {
    divan::main();
}

#[divan::bench]
fn split(bencher: Bencher) {
    let mut buffer = large_packet();
    bencher.counter(BytesCount::new(TRAIN)).bench_local(|| {
        let mut segments = Segments::of(&mut buffer, TRAIN, cut()).unwrap();
        while let Some((segment, length)) = segments.take_next() {
            black_box(&segment[..length]);
        }
        // Headers were written over the ends of payloads; the first one must be back for the next time.
        buffer[..HEADER].copy_from_slice(&header());
    });
}

#[divan::bench]
fn seal(bencher: Bencher) {
    let (here, _) = joined();
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut buffer = large_packet();
    bencher.counter(BytesCount::new(TRAIN)).bench_local(|| seal_train(&here, &mut buffer, 2, &mut batch));
}

/// Each thread for a peer of its own.
#[divan::bench(threads = [1, 2], sample_size = 200)]
fn seal_side_by_side(bencher: Bencher) {
    static THREADS: AtomicU8 = AtomicU8::new(0);
    thread_local! {
        static OWN: RefCell<(u8, Vec<u8>, Batch)> = RefCell::new((
            2 + THREADS.fetch_add(1, Ordering::Relaxed) % 2,
            large_packet(),
            Batch::with_capacity(2 * ROOM_FOR_ANY),
        ));
    }
    let hub = core(1, &[2, 3]);
    [2, 3].into_iter().for_each(|other| shake_hands(&hub, &core(other, &[1]), other));
    bencher.counter(BytesCount::new(TRAIN)).bench(|| {
        OWN.with_borrow_mut(|(peer, buffer, batch)| seal_train(&hub, buffer, *peer, batch));
    });
}

#[divan::bench]
fn open(bencher: Bencher) {
    let (here, there) = joined();
    let mut opened = Batch::with_capacity(2 * ROOM_FOR_ANY);
    bencher.counter(BytesCount::new(TRAIN)).with_inputs(|| sealed_train(&here)).bench_local_values(|train| {
        opened.clear();
        take(&there, &train, &mut opened);
        assert_eq!(opened.packets().count(), SEGMENTS);
    });
}

#[divan::bench]
fn coalesce(bencher: Bencher) {
    let (here, there) = joined();
    let opened = || {
        let mut opened = Batch::with_capacity(2 * ROOM_FOR_ANY);
        take(&there, &sealed_train(&here), &mut opened);
        opened
    };
    bencher.counter(BytesCount::new(TRAIN)).with_inputs(opened).bench_local_refs(|opened| {
        let mut groups = 0;
        opened.groups(Coalescing::TcpAndUdp, |_, _, _| groups += 1);
        assert_eq!(groups, 1);
    });
}

/// The peer of a small packet, among many allowed IPs; it has no endpoint, so that nothing else happens.
#[divan::bench(args = [1, 1_000, 130_000])]
fn lookup(bencher: Bencher, prefixes: u32) {
    let mut core = Core::new(1_420);
    let mut selected = Selected::default();
    core.apply(Setting::Peer(PublicKey([9; 32])), &mut selected, Instant::now());
    for number in 0..prefixes {
        let [_, a, b, c] = number.to_be_bytes();
        let prefix = format!("10.{a}.{b}.{c}/32").parse().unwrap();
        let setting = Setting::PeerSetting(PeerSetting::AllowedIp(prefix));
        core.apply(setting, &mut selected, Instant::now());
    }
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let now = Instant::now();
    let mut number = 0u32;
    let mut buffer = header().to_vec();
    buffer.resize(HEADER + PADDING, 0);
    bencher.bench_local(|| {
        number = (number + 7_919) % prefixes;
        let [_, a, b, c] = number.to_be_bytes();
        buffer[16..20].copy_from_slice(&[10, a, b, c]);
        let mut segments = Segments::of(&mut buffer, HEADER, VirtioHeader::default()).unwrap();
        core.turn(now).outbound(&mut segments, &mut batch);
    });
}

fn cut() -> VirtioHeader {
    let [a, b] = (SEGMENT as u16).to_ne_bytes();
    let [c, d] = 20u16.to_ne_bytes();
    let [e, f] = 16u16.to_ne_bytes();
    VirtioHeader::parse(&[1, 1, 40, 0, a, b, c, d, e, f])
}

/// IPv4 and TCP, from 10.0.0.1 to 10.0.0.2.
fn header() -> [u8; HEADER] {
    let [high, low] = (TRAIN as u16).to_be_bytes();
    let mut header = [0; HEADER];
    header[..10].copy_from_slice(&[0x45, 0, high, low, 0, 1, 0x40, 0, 64, 6]);
    header[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    header[20..34].copy_from_slice(&[0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10]);
    header
}

fn large_packet() -> Vec<u8> {
    let mut packet = header().to_vec();
    packet.resize(TRAIN + PADDING, 7);
    packet
}

/// Two cores with a session.
fn joined() -> (Core, Core) {
    let (here, there) = (core(1, &[2]), core(2, &[1]));
    shake_hands(&here, &there, 2);
    (here, there)
}

/// By what is sent to the number of the other one.
fn shake_hands(here: &Core, there: &Core, number: u8) {
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut answer = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut first = header().to_vec();
    first[2..4].copy_from_slice(&[0, HEADER as u8]);
    first[19] = number;
    first.resize(HEADER + PADDING, 0);
    let mut segments = Segments::of(&mut first, HEADER, VirtioHeader::default()).unwrap();
    here.turn(Instant::now()).outbound(&mut segments, &mut batch);
    // Initiation, response, confirmation with what waited.
    for _ in 0..2 {
        deliver(&batch, there, &mut answer);
        deliver(&answer, here, &mut batch);
    }
}

/// One that knows others, whose keys and inner addresses follow from their numbers.
fn core(own: u8, others: &[u8]) -> Core {
    let (mut core, mut selected) = (Core::new(1_420), Selected::default());
    let peers = others.iter().flat_map(|other| {
        let public = x25519_dalek::PublicKey::from(&StaticSecret::from([*other; 32]));
        [
            Setting::Peer(PublicKey(public.to_bytes())),
            Setting::PeerSetting(PeerSetting::Endpoint(address())),
            Setting::PeerSetting(PeerSetting::AllowedIp(format!("10.0.0.{other}/32").parse().unwrap())),
        ]
    });
    for setting in std::iter::once(Setting::PrivateKey(Secret::new([own; 32]))).chain(peers) {
        core.apply(setting, &mut selected, Instant::now());
    }
    core
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn deliver(from: &Batch, to: &Core, answer: &mut Batch) {
    answer.clear();
    for (_, datagram) in from.datagrams() {
        to.turn(Instant::now()).inbound(&mut Train::single(datagram, Route::to(address())), answer);
    }
}

/// A train to a number: headers were written over the ends of payloads, so the first one is put back.
fn seal_train(core: &Core, buffer: &mut [u8], to: u8, batch: &mut Batch) {
    buffer[..HEADER].copy_from_slice(&header());
    buffer[19] = to;
    batch.clear();
    let mut segments = Segments::of(buffer, TRAIN, cut()).unwrap();
    core.turn(Instant::now()).outbound(&mut segments, batch);
    assert!(segments.is_done());
}

/// Datagrams back to back, and the length of each but the last.
fn sealed_train(core: &Core) -> Vec<(Vec<u8>, usize)> {
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    seal_train(core, &mut large_packet(), 2, &mut batch);
    batch.runs().map(|(run, bytes)| (bytes.to_vec(), run.size)).collect()
}

fn take(core: &Core, trains: &[(Vec<u8>, usize)], batch: &mut Batch) {
    for (bytes, size) in trains {
        core.turn(Instant::now()).inbound(&mut Train::new(bytes, *size, Route::to(address()), 0), batch);
    }
}
