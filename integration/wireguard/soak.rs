//! Streams and datagrams through a tunnel for long, each byte held against what was sent, while keys, ports, uplinks and
//! MTUs change: whatever happens, the tunnel goes on, and nothing arrives that was not sent.
//!
//! `scripts/soak engine` runs it for long. `RDOM_SOAK_SECS` is how long, `RDOM_SOAK_SEED` repeats the same changes.
//! In every other phase nothing ends the sessions, so that they renew themselves after two minutes (REKEY_AFTER_TIME).

use std::env;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand_core::RngCore;

use super::roaming::add_uplinks;
use super::traffic::{Bytes, MIB, Stream, V4, V6, inside};
use super::world::{OURS, Topology, dump, in_private_copy, ping, run};

/// Five seconds until a handshake is tried again, and twice that where both ends had to notice something.
const GOES_ON_WITHIN: Duration = Duration::from_secs(30);
const DATAGRAM_MAX: usize = 4000;
/// Longer than a session is used.
const PHASE: Duration = Duration::from_secs(150);

#[test]
fn whatever_changes_the_tunnel_goes_on() {
    in_private_copy("soak::whatever_changes_the_tunnel_goes_on", || {
        let secs = setting("RDOM_SOAK_SECS").unwrap_or(10);
        let seed = setting("RDOM_SOAK_SEED").unwrap_or_else(now);
        println!("RDOM_SOAK_SEED={seed} RDOM_SOAK_SECS={secs}");
        let mut topology = Topology::between(OURS, OURS);
        add_uplinks(&topology);
        // While wga is down the uplink leads to the same addresses: a stream that began there would end in the tunnel.
        run("ip -n a route add prohibit 10.9.0.0/24 metric 1000");
        assert!(ping("a", V4[1]));

        let end = Instant::now() + Duration::from_secs(secs);
        let ways = [("a", "b", V4[1]), ("b", "a", V4[0]), ("a", "b", V6[1]), ("b", "a", V6[0])];
        let streams =
            ways.map(|(from, to, address)| thread::spawn(move || stream_until(end, from, to, address)));
        let datagrams = [V4[1], V6[1]].map(|address| Datagrams::start(end, address));
        let mut changes = Bytes(seed.max(1));
        for sessions in [Sessions::End, Sessions::Last].into_iter().cycle() {
            let before = dump("wga").handshake;
            let phase = Instant::now() + PHASE;
            while Instant::now() < phase.min(end) {
                change(&mut changes, sessions, &topology);
                thread::sleep(Duration::from_millis(u64::from(changes.next_u32() % 1500)));
            }
            if end < phase {
                break;
            }
            assert!(dump("wga").handshake > before, "no session was renewed in {PHASE:?}");
        }
        let streams = streams.map(|stream| stream.join().unwrap());
        println!("{streams:?} streams of 2 MiB, {:?} datagrams", datagrams.map(Datagrams::finish));
        assert!(streams.iter().all(|count| *count > 0));
        assert!(topology.engine.0.try_wait().unwrap().is_none(), "the engine still runs");
    });
}

/// What changes do to sessions.
#[derive(Clone, Copy, Debug)]
enum Sessions {
    /// Some end them.
    End,
    /// None does, so that they grow old.
    Last,
}

/// One change, after which the tunnel must go on.
fn change(changes: &mut Bytes, sessions: Sessions, topology: &Topology) {
    let number = changes.next_u32();
    let [a, b] = &topology.public_keys;
    let kinds = match sessions {
        Sessions::End => 6,
        Sessions::Last => 4,
    };
    let change = match number % kinds {
        0 => format!("wg set wga listen-port {}", 1024 + number % 60_000),
        1 => "ip -n a route replace default via 198.51.100.1".into(),
        2 => "ip -n a route replace default via 192.0.2.1".into(),
        3 => format!("ip -n a link set wga mtu {}", 1280 + number % 200),
        4 => format!(
            "wg genpsk > /run/psk; wg set wga peer {b} preshared-key /run/psk; wg set wgb peer {a} preshared-key /run/psk"
        ),
        _ => "ip -n a link set wga down && ip -n a link set wga up && \
              ip -n a address replace fd09::1/64 dev wga nodad"
            .into(),
    };
    println!("{change}");
    run(&change);
    let start = Instant::now();
    while !ping("a", V4[1]) {
        assert!(start.elapsed() < GOES_ON_WITHIN, "the tunnel stands still after: {change}");
    }
}

/// One stream after the other; tells how many.
fn stream_until(end: Instant, from: &str, to: &str, address: &str) -> usize {
    let mut count = 0;
    while Instant::now() < end {
        Stream::start(from, to, address, 2 * MIB).finish();
        count += 1;
    }
    count
}

/// Datagrams that may be lost or come late, but not differ from what was sent.
struct Datagrams {
    sender: JoinHandle<()>,
    receiver: JoinHandle<usize>,
}

impl Datagrams {
    fn start(end: Instant, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let receiving = inside("b", move || UdpSocket::bind((address, 0)).unwrap());
        let to = receiving.local_addr().unwrap();
        let any: IpAddr = if to.is_ipv6() { [0; 16].into() } else { [0; 4].into() };
        let sending = inside("a", move || UdpSocket::bind((any, 0)).unwrap());
        receiving.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let sender = thread::spawn(move || send_until(end, &sending, to));
        let receiver = thread::spawn(move || receive_until(end, &receiving));
        Self { sender, receiver }
    }

    fn finish(self) -> usize {
        self.sender.join().unwrap();
        self.receiver.join().unwrap()
    }
}

fn send_until(end: Instant, socket: &UdpSocket, to: SocketAddr) {
    let mut number = 0u64;
    while Instant::now() < end {
        for _ in 0..16 {
            number += 1;
            // While the interface is down there is no way.
            let _lost = socket.send_to(&datagram(number), to);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many there were.
fn receive_until(end: Instant, socket: &UdpSocket) -> usize {
    let (mut buffer, mut count) = (vec![0; 1 << 16], 0);
    while Instant::now() < end {
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        let number = u64::from_be_bytes(*buffer.first_chunk().unwrap());
        assert!(buffer[..length] == datagram(number), "datagram {number} is not what was sent");
        count += 1;
    }
    count
}

/// Its number, and bytes that follow from it.
fn datagram(number: u64) -> Vec<u8> {
    let mut bytes = Bytes(number);
    let length = bytes.next_u32() as usize % DATAGRAM_MAX;
    [number.to_be_bytes().to_vec(), bytes.take(length)].concat()
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
}
