//! The engine's core without IO: `cargo bench --bench engine`. A train is what one read of the interface gives: 47 TCP
//! segments.

use std::net::SocketAddr;
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
    let (mut here, _) = joined();
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut buffer = large_packet();
    bencher.counter(BytesCount::new(TRAIN)).bench_local(|| {
        buffer[..HEADER].copy_from_slice(&header());
        batch.clear();
        let mut segments = Segments::of(&mut buffer, TRAIN, cut()).unwrap();
        here.outbound(&mut segments, Instant::now(), &mut batch);
        assert!(segments.is_done());
    });
}

#[divan::bench]
fn open(bencher: Bencher) {
    let (mut here, mut there) = joined();
    let mut opened = Batch::with_capacity(2 * ROOM_FOR_ANY);
    bencher.counter(BytesCount::new(TRAIN)).with_inputs(|| sealed_train(&mut here)).bench_local_values(
        |train| {
            opened.clear();
            take(&mut there, &train, &mut opened);
            assert_eq!(opened.packets().count(), SEGMENTS);
        },
    );
}

#[divan::bench]
fn coalesce(bencher: Bencher) {
    let (mut here, mut there) = joined();
    let opened = || {
        let mut opened = Batch::with_capacity(2 * ROOM_FOR_ANY);
        take(&mut there, &sealed_train(&mut here), &mut opened);
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
        core.outbound(&mut segments, now, &mut batch);
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
    let (mut here, mut there) = (core(1, 2), core(2, 1));
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut answer = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut first = header().to_vec();
    first[2..4].copy_from_slice(&[0, HEADER as u8]);
    first.resize(HEADER + PADDING, 0);
    let mut segments = Segments::of(&mut first, HEADER, VirtioHeader::default()).unwrap();
    here.outbound(&mut segments, Instant::now(), &mut batch);
    // Initiation, response, confirmation with what waited.
    for _ in 0..2 {
        deliver(&batch, &mut there, &mut answer);
        deliver(&answer, &mut here, &mut batch);
    }
    (here, there)
}

fn core(own: u8, other: u8) -> Core {
    let public = x25519_dalek::PublicKey::from(&StaticSecret::from([other; 32]));
    let settings = [
        Setting::PrivateKey(Secret::new([own; 32])),
        Setting::Peer(PublicKey(public.to_bytes())),
        Setting::PeerSetting(PeerSetting::Endpoint(address())),
        Setting::PeerSetting(PeerSetting::AllowedIp("10.0.0.0/8".parse().unwrap())),
    ];
    let (mut core, mut selected) = (Core::new(1_420), Selected::default());
    for setting in settings {
        core.apply(setting, &mut selected, Instant::now());
    }
    core
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn deliver(from: &Batch, to: &mut Core, answer: &mut Batch) {
    answer.clear();
    for (_, datagram) in from.datagrams() {
        to.inbound(&mut Train::single(datagram, Route::to(address())), Instant::now(), answer);
    }
}

/// Datagrams back to back, and the length of each but the last.
fn sealed_train(core: &mut Core) -> Vec<(Vec<u8>, usize)> {
    let mut batch = Batch::with_capacity(2 * ROOM_FOR_ANY);
    let mut buffer = large_packet();
    let mut segments = Segments::of(&mut buffer, TRAIN, cut()).unwrap();
    core.outbound(&mut segments, Instant::now(), &mut batch);
    batch.runs().map(|(run, bytes)| (bytes.to_vec(), run.size)).collect()
}

fn take(core: &mut Core, trains: &[(Vec<u8>, usize)], batch: &mut Batch) {
    for (bytes, size) in trains {
        core.inbound(&mut Train::new(bytes, *size, Route::to(address()), 0), Instant::now(), batch);
    }
}
