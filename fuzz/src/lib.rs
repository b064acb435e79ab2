//! What must hold for any input, one module for each fuzzer; and for those of the engine two of it without their IO, the
//! tunnel between them, and a clock that jumps.

pub mod control;
pub mod datagrams;
pub mod files;
pub mod foreign;
pub mod packets;
pub mod uapi;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mock_instant::MockClock;
use rdomain::wireguard::{
    Batch, Change, Core, PADDING, ROOM_FOR_ANY, Reader, Route, Segments, Selected, Train, VirtioHeader,
};

/// A private key and what its public key is, as wg(8) made them.
const KEYS: [[&str; 2]; 2] = [
    [
        "40ae6db68fff2e83920554881b41ca9eee9e08fe43d2869139a6ff3d82ff7553",
        "8e1080ac65228e73c7016e1d4d813f017e114f23c68c10aa7764c86e50298758",
    ],
    [
        "202154ca40c94d92fcac3824d484ac4ab5e2b01ccff3bd0597d47991437a0272",
        "c493a8438f7675ca23fd5590740f26d6c699556e951676413b26d3d62c574c43",
    ],
];

/// Where the two ends are.
pub const ADDRESSES: [&str; 2] = ["192.0.2.1:7111", "192.0.2.2:7222"];

/// Which of the two.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// 192.0.2.1
    Left,
    /// 192.0.2.2
    Right,
}

impl Side {
    /// The one at the other end.
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    /// Where it is.
    pub fn address(self) -> SocketAddr {
        ADDRESSES[self as usize].parse().expect("an address")
    }
}

/// A datagram that one end has sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Who sent it.
    pub from: Side,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// A tunnel whose ends know each other, and everything that they have put on the wire.
pub struct Tunnel {
    ends: [(Core, Batch); 2],
    now: Instant,
    /// What was sent and not taken from the wire.
    pub wire: Vec<Sent>,
    /// The packets that came out of each end.
    pub received: [Vec<Vec<u8>>; 2],
}

impl Tunnel {
    /// One without a session.
    pub fn idle() -> Self {
        MockClock::set_time(Duration::ZERO);
        let now = Instant::now();
        let ends = [Side::Left, Side::Right].map(|side| {
            let mut core = Core::new(1420);
            let ([private, _], [_, public]) = (KEYS[side as usize], KEYS[side.other() as usize]);
            let endpoint = side.other().address();
            let request = format!(
                "private_key={private}\npublic_key={public}\nendpoint={endpoint}\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0"
            );
            apply(&mut core, &request, now);
            (core, Batch::with_capacity(4 * ROOM_FOR_ANY))
        });
        Self { ends, now, wire: Vec::new(), received: [Vec::new(), Vec::new()] }
    }

    /// Hands a packet to the interface of one end.
    pub fn send(&mut self, from: Side, packet: &[u8]) {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + PADDING, 0xaa);
        let (core, batch) = &mut self.ends[from as usize];
        if let Some(mut segments) = Segments::of(&mut buffer, packet.len(), VirtioHeader::default()) {
            core.turn(self.now).outbound(&mut segments, batch);
        }
        self.collect(from);
    }

    /// Hands bytes to the sockets of one end, cut into datagrams of this size.
    pub fn deliver(&mut self, to: Side, from: SocketAddr, bytes: &[u8], size: usize) {
        let (core, batch) = &mut self.ends[to as usize];
        let mut train = Train::new(bytes, size, Route::to(from), 0);
        while !train.is_empty() {
            core.turn(self.now).inbound(&mut train, batch);
            collect(to, batch, &mut self.wire, &mut self.received);
        }
    }

    /// Lets the datagrams on the wire arrive, and those that they are answered with.
    pub fn settle(&mut self) {
        while !self.wire.is_empty() {
            for sent in std::mem::take(&mut self.wire) {
                if sent.to == sent.from.other().address() {
                    self.deliver(sent.from.other(), sent.from.address(), &sent.bytes, sent.bytes.len());
                }
            }
        }
    }

    /// Lets time pass at once, and does what is due then.
    pub fn pass(&mut self, duration: Duration) {
        self.now += duration;
        MockClock::advance(duration);
        for side in [Side::Left, Side::Right] {
            let (core, batch) = &mut self.ends[side as usize];
            core.tick(self.now, batch);
            self.collect(side);
        }
    }

    fn collect(&mut self, side: Side) {
        collect(side, &mut self.ends[side as usize].1, &mut self.wire, &mut self.received);
    }
}

fn collect(side: Side, batch: &mut Batch, wire: &mut Vec<Sent>, received: &mut [Vec<Vec<u8>>; 2]) {
    wire.extend(batch.datagrams().map(|(to, bytes)| Sent { from: side, to, bytes: bytes.to_vec() }));
    received[side as usize].extend(batch.packets().map(<[u8]>::to_vec));
    batch.clear();
}

/// Applies the lines of a `set` request as far as they are right; whether all were.
pub fn apply(core: &mut Core, request: &str, now: Instant) -> bool {
    let (mut reader, mut selected) = (Reader::default(), Selected::default());
    for line in request.lines() {
        match reader.line(line) {
            Ok(Some(Change::Setting(setting))) => core.apply(setting, &mut selected, now),
            Ok(Some(Change::ListenPort(_) | Change::Fwmark(_)) | None) => {}
            Err(_) => return false,
        }
    }
    true
}

/// An IPv4 packet of this length, at least 28 bytes, that is unlike every packet of another number.
pub fn packet(number: u64, length: usize) -> Vec<u8> {
    let length = length.clamp(28, 1420);
    let mut packet = vec![0x45, 0, (length >> 8) as u8, length as u8, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(number.to_be_bytes());
    packet.resize(length, number as u8);
    packet
}
