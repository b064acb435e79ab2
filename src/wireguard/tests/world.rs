//! Sites, each a core with an address, and the wire between them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use x25519_dalek::{PublicKey as DalekKey, StaticSecret};

use crate::model::PublicKey;
use crate::wireguard::{
    Batch, Core, PADDING, PeerSetting, ROOM_FOR_ANY, Route, Secret, Segments, Selected, Setting, Source,
    Train, VirtioHeader,
};

/// A core, where it is, and what its interface got.
pub(super) struct Site {
    pub(super) core: Core,
    pub(super) address: SocketAddr,
    pub(super) key: PublicKey,
    pub(super) received: Vec<Vec<u8>>,
    /// How often the core had to be called because time passed.
    pub(super) wakes: usize,
    batch: Batch,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub(super) due: Instant,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// The address that it was told to leave from.
    pub(super) source: Option<Source>,
    /// The outer packet's ECN field.
    pub(super) ecn: u8,
}

/// Everything there is.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) sites: Vec<Site>,
    pub(super) wire: Vec<InFlight>,
    /// Every datagram that was ever sent, lost ones too.
    pub(super) sent: Vec<InFlight>,
    pub(super) loss_percent: u64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    random: u64,
}

impl World {
    /// This many sites, numbered, each the peer of each other, at 192.0.2.N:51820, inside 10.0.0.N and fd00::N.
    pub(super) fn of(count: u8) -> Self {
        let mut world = Self {
            now: Instant::now(),
            sites: (0..count).map(Site::new).collect(),
            wire: Vec::new(),
            sent: Vec::new(),
            loss_percent: 0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            random: 1,
        };
        for a in 0..count {
            for b in (0..count).filter(|b| *b != a) {
                world.introduce(a, b);
            }
        }
        world
    }

    /// Makes `b` a peer of `a`.
    pub(super) fn introduce(&mut self, a: u8, b: u8) {
        let endpoint = self.site(b).address;
        let settings = [
            PeerSetting::Endpoint(endpoint),
            PeerSetting::AllowedIp(format!("10.0.0.{b}/32").parse().unwrap()),
            PeerSetting::AllowedIp(format!("fd00::{b}/128").parse().unwrap()),
        ];
        self.configure(a, b, settings);
    }

    /// Applies settings at `a` for its peer `b`.
    pub(super) fn configure(&mut self, a: u8, b: u8, settings: impl IntoIterator<Item = PeerSetting>) {
        let peer = Setting::Peer(self.site(b).key);
        let settings = settings.into_iter().map(Setting::PeerSetting);
        self.apply(a, std::iter::once(peer).chain(settings));
    }

    pub(super) fn apply(&mut self, a: u8, settings: impl IntoIterator<Item = Setting>) {
        let mut selected = Selected::default();
        let now = self.now;
        for setting in settings {
            self.site(a).core.apply(setting, &mut selected, now);
        }
    }

    pub(super) fn site(&mut self, number: u8) -> &mut Site {
        &mut self.sites[usize::from(number)]
    }

    /// Hands an IP packet to the interface of a site.
    pub(super) fn send(&mut self, site: u8, packet: &[u8]) {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + PADDING, 0xaa);
        let now = self.now;
        let site_ = self.site(site);
        if let Some(mut segments) = Segments::of(&mut buffer, packet.len(), VirtioHeader::default()) {
            site_.core.turn(now).outbound(&mut segments, &mut site_.batch);
        }
        self.collect(site);
    }

    /// Hands a datagram to the sockets of a site, from an address that need not exist.
    pub(super) fn deliver(&mut self, site: u8, from: SocketAddr, datagram: &[u8]) {
        self.deliver_marked(site, from, datagram, 0);
    }

    /// The same with this ECN field outside.
    pub(super) fn deliver_marked(&mut self, site: u8, from: SocketAddr, datagram: &[u8], ecn: u8) {
        let source = Source { address: self.site(site).address.ip(), interface: 0 };
        let route = Route { remote: from, source: Some(source) };
        self.receive(site, Train::new(datagram, datagram.len(), route, ecn));
    }

    /// Hands datagrams of this length to the sockets of a site at once.
    pub(super) fn deliver_train(&mut self, site: u8, from: SocketAddr, bytes: &[u8], size: usize) {
        self.receive(site, Train::new(bytes, size, Route::to(from), 0));
    }

    fn receive(&mut self, site: u8, mut train: Train<'_>) {
        let now = self.now;
        let site_ = self.site(site);
        site_.core.turn(now).inbound(&mut train, &mut site_.batch);
        assert!(train.is_empty(), "a batch holds a train");
        self.collect(site);
    }

    /// Lets time pass: datagrams arrive and cores are ticked exactly when they ask for it.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_event().filter(|at| *at <= end) {
            self.advance_to(next);
            self.deliver_due();
            for site in 0..u8::try_from(self.sites.len()).unwrap() {
                self.tick(site);
            }
        }
        self.advance_to(end);
    }

    /// Until nothing is on its way.
    pub(super) fn settle(&mut self) {
        while let Some(last) = self.wire.iter().map(|datagram| datagram.due).max() {
            self.run_for(last.saturating_duration_since(self.now));
        }
    }

    /// How many datagrams of this type a site has sent.
    pub(super) fn sent_of(&self, site: u8, kind: u8) -> usize {
        let from = self.sites[usize::from(site)].address;
        self.sent.iter().filter(|sent| sent.from == from && sent.bytes[0] == kind).count()
    }

    fn next_event(&self) -> Option<Instant> {
        let wire = self.wire.iter().map(|datagram| datagram.due);
        wire.chain(self.sites.iter().filter_map(|site| site.core.deadline())).min()
    }

    fn advance_to(&mut self, at: Instant) {
        let by = at.saturating_duration_since(self.now);
        self.now += by;
        #[cfg(feature = "mock-clock")]
        mock_instant::MockClock::advance(by);
    }

    fn deliver_due(&mut self) {
        let now = self.now;
        let mut due: Vec<_> = self.wire.extract_if(.., |datagram| datagram.due <= now).collect();
        due.sort_by_key(|datagram| datagram.due);
        for datagram in due {
            let number = self.sites.iter().position(|site| site.address == datagram.to);
            if let Some(number) = number {
                self.deliver(u8::try_from(number).unwrap(), datagram.from, &datagram.bytes);
            }
        }
    }

    fn tick(&mut self, number: u8) {
        let now = self.now;
        let site = self.site(number);
        if site.core.deadline().is_some_and(|at| at <= now) {
            site.wakes += 1;
            site.core.tick(now, &mut site.batch);
            self.collect(number);
        }
    }

    fn collect(&mut self, number: u8) {
        let site = &mut self.sites[usize::from(number)];
        site.received.extend(site.batch.packets().map(<[u8]>::to_vec));
        let from = site.address;
        let runs = site.batch.runs();
        let made: Vec<_> = runs
            .flat_map(|(run, bytes)| bytes.chunks(run.size).map(|bytes| (run.route, run.ecn, bytes.to_vec())))
            .collect();
        site.batch.clear();
        for (Route { remote: to, source }, ecn, bytes) in made {
            let due = self.now + self.delay + self.random_part(self.jitter);
            let datagram = InFlight { due, from, to, bytes, source, ecn };
            self.sent.push(datagram.clone());
            if self.random() % 100 >= self.loss_percent {
                self.wire.push(datagram);
            }
        }
    }

    fn random_part(&mut self, of: Duration) -> Duration {
        let millis = u64::try_from(of.as_millis()).unwrap();
        Duration::from_millis(if millis == 0 { 0 } else { self.random() % millis })
    }

    /// The same numbers in every run: xorshift64*.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }
}

impl Site {
    fn new(number: u8) -> Self {
        let (secret, key) = key_pair(number);
        let mut core = Core::new(1420);
        core.apply(Setting::PrivateKey(secret), &mut Selected::default(), Instant::now());
        Self {
            core,
            address: SocketAddr::from(([192, 0, 2, number], 51820)),
            key,
            received: Vec::new(),
            wakes: 0,
            batch: Batch::with_capacity(2 * ROOM_FOR_ANY),
        }
    }
}

/// A key pair that follows from a number.
pub(super) fn key_pair(number: u8) -> (Secret, PublicKey) {
    let bytes = [number + 1; 32];
    let public = DalekKey::from(&StaticSecret::from(bytes));
    (Secret::new(bytes), PublicKey(public.to_bytes()))
}

/// An IPv4 packet from one site's inner address to another's, with a payload that tells it from others.
pub(super) fn packet(from: u8, to: u8, tag: u32) -> Vec<u8> {
    packet_between([10, 0, 0, from].into(), [10, 0, 0, to].into(), &tag.to_be_bytes())
}

/// An IPv4 or IPv6 packet: the header's parts that anyone here looks at, and a payload.
pub(super) fn packet_between(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let mut packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4_header(from, to, payload.len()),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            header.extend([17, 64]);
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => panic!("{from} and {to} are of different families"),
    };
    packet.extend(payload);
    packet
}

fn ipv4_header(from: Ipv4Addr, to: Ipv4Addr, payload: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(20 + payload).unwrap().to_be_bytes());
    header.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    header
}
