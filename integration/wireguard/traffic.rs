//! Whole streams through the tunnel, each byte held against what was sent, while things happen: with offloads, without
//! them, and with another engine at the other end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use rand_core::RngCore;

use super::world::{OURS, OURS_PLAIN, Topology, WIREGUARD_GO, dump, in_private_copy, ping, run, wait_for};

pub(super) const MIB: usize = 1 << 20;
/// More than it takes to make new sessions, and TCP to try again after that.
const PATIENCE: Duration = Duration::from_secs(90);
pub(super) const V4: [&str; 2] = ["10.9.0.1", "10.9.0.2"];
pub(super) const V6: [&str; 2] = ["fd09::1", "fd09::2"];

#[test]
fn streams_in_all_directions_arrive_whole() {
    in_private_copy("traffic::streams_in_all_directions_arrive_whole", || {
        for (ours, other) in
            [(OURS, OURS), (OURS, OURS_PLAIN), (OURS_PLAIN, WIREGUARD_GO), (OURS, WIREGUARD_GO)]
        {
            let topology = Topology::between(ours, other);
            let directions = [("a", "b", V4[1]), ("b", "a", V4[0]), ("a", "b", V6[1]), ("b", "a", V6[0])];
            let streams: Vec<_> = directions
                .into_iter()
                .map(|(from, to, address)| Stream::start(from, to, address, 16 * MIB))
                .collect();
            streams.into_iter().for_each(Stream::finish);
            drop(topology);
            take_down();
        }
    });
}

#[test]
fn datagrams_of_all_sizes_arrive_as_they_were_sent() {
    in_private_copy("traffic::datagrams_of_all_sizes_arrive_as_they_were_sent", || {
        for (ours, other) in [(OURS, OURS), (OURS_PLAIN, OURS), (OURS, WIREGUARD_GO)] {
            let topology = Topology::between(ours, other);
            assert!(ping("a", V4[1]));
            for address in [V4[1], V6[1]] {
                exchange_datagrams(address);
            }
            drop(topology);
            take_down();
        }
    });
}

#[test]
fn a_stream_outlives_changes_of_mtu_port_and_state() {
    in_private_copy("traffic::a_stream_outlives_changes_of_mtu_port_and_state", || {
        for ours in [OURS, OURS_PLAIN] {
            let topology = Topology::between(ours, ours);
            let streams = [("a", "b", V4[1]), ("b", "a", V4[0])]
                .map(|(from, to, address)| Stream::start(from, to, address, 96 * MIB));
            for round in 0..4 {
                for (namespace, mtu) in [("a", 1280), ("b", 1400), ("a", 9000), ("a", 1420), ("b", 1420)] {
                    run(&format!("ip -n {namespace} link set wg{namespace} mtu {mtu}"));
                    thread::sleep(Duration::from_millis(20));
                }
                run(&format!("wg set wga listen-port 12{round}1"));
                // Until it has heard from the new port, the other end could make a new session with nobody.
                assert!(ping("a", V4[1]), "after another port");
                run("ip -n b link set wgb down && ip -n b link set wgb up");
                assert!(ping("b", V4[0]), "after the interface was down");
            }
            streams.into_iter().for_each(Stream::finish);
            drop(topology);
            take_down();
        }
    });
}

/// An outer path that is too small for what the tunnel makes, and inner packets as large as they can be.
#[test]
fn outer_packets_are_fragmented_where_they_must_be() {
    in_private_copy("traffic::outer_packets_are_fragmented_where_they_must_be", || {
        for ours in [OURS, OURS_PLAIN] {
            let topology = Topology::between(ours, ours);
            run("ip -n a link set v0 mtu 1300 && ip -n b link set v0 mtu 1300");
            Stream::start("a", "b", V4[1], 4 * MIB).finish();
            run("ip -n a link set v0 mtu 65535 && ip -n b link set v0 mtu 65535");
            run("ip -n a link set wga mtu 65455 && ip -n b link set wgb mtu 65455");
            run("nsenter --net=/run/netns/a ping -c 3 -i 0.1 -M do -s 65427 10.9.0.2");
            Stream::start("a", "b", V4[1], 16 * MIB).finish();
            drop(topology);
            take_down();
        }
    });
}

#[test]
fn it_answers_from_the_address_that_was_addressed_and_does_without_it() {
    in_private_copy("traffic::it_answers_from_the_address_that_was_addressed_and_does_without_it", || {
        let topology = Topology::between(OURS, WIREGUARD_GO);
        run("ip -n a address add 172.16.0.11/24 dev v0");
        run(&format!("wg set wgb peer {} endpoint 172.16.0.11:1111", topology.public_keys[0]));
        assert!(ping("b", V4[0]));
        assert_eq!(dump("wgb").endpoint, "172.16.0.11:1111", "answered from another address");
        run("ip -n a address delete 172.16.0.11/24 dev v0");
        exchange_a_run(V4[1]);
        assert!(ping("a", V4[1]));
        assert_eq!(dump("wgb").endpoint, "172.16.0.1:1111");
    });
}

#[test]
fn either_family_is_carried_by_either() {
    in_private_copy("traffic::either_family_is_carried_by_either", || {
        let topology = Topology::between(OURS, OURS);
        for (namespace, number) in [("a", 1), ("b", 2)] {
            run(&format!("ip -n {namespace} address add fd16::{number}/64 dev v0 nodad"));
        }
        for endpoint in ["172.16.0.2:2222", "[fd16::2]:2222"] {
            run(&format!("wg set wga peer {} endpoint {endpoint}", topology.public_keys[1]));
            assert!(ping("a", V4[1]));
            assert_eq!(dump("wga").endpoint, endpoint);
            Stream::start("a", "b", V4[1], 8 * MIB).finish();
            Stream::start("a", "b", V6[1], 8 * MIB).finish();
        }
    });
}

/// A stream of pseudo-random bytes over TCP, and what came of it.
pub(super) struct Stream {
    sender: JoinHandle<()>,
    receiver: JoinHandle<()>,
}

impl Stream {
    pub(super) fn start(from: &str, to: &str, address: &str, length: usize) -> Self {
        let address: IpAddr = address.parse().unwrap();
        let listener = inside(to, move || persist(|| TcpListener::bind((address, 0))));
        let to = listener.local_addr().unwrap();
        let receiver = thread::spawn(move || receive(&listener, length));
        let stream =
            inside(from, move || persist(|| TcpStream::connect_timeout(&to, Duration::from_secs(5))));
        let sender = thread::spawn(move || send(stream, length));
        Self { sender, receiver }
    }

    pub(super) fn finish(self) {
        self.sender.join().unwrap();
        self.receiver.join().unwrap();
    }
}

/// The session may still have to be made, and an interface that is down has no IPv6 address.
fn persist<T>(attempt: impl Fn() -> io::Result<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(made) => return made,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn send(mut stream: TcpStream, length: usize) {
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Bytes(1);
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..length / buffer.len() {
        bytes.fill_bytes(&mut buffer);
        stream.write_all(&buffer).unwrap();
    }
}

fn receive(listener: &TcpListener, length: usize) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Bytes(1);
    let (mut buffer, mut expected) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    for number in 0..length / buffer.len() {
        stream.read_exact(&mut buffer).unwrap();
        bytes.fill_bytes(&mut expected);
        assert!(buffer == expected, "block {number} is not what was sent");
    }
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "there is more than was sent");
}

/// Sends datagrams in bursts, each burst of one size so that they are joined, and looks at what arrives.
fn exchange_datagrams(address: &str) {
    let (sender, receiver) = udp_to_b(address);
    let mut buffer = vec![0; 1 << 16];
    for size in [1usize, 2, 17, 200, 333, 1372, 1392, 1393, 3000, 9001, 30_000] {
        let burst = if size > 1400 { 4 } else { 20 };
        let mut bytes = Bytes(size as u64);
        let datagrams: Vec<_> = (0..burst).map(|_| bytes.take(size)).collect();
        datagrams.iter().for_each(|datagram| assert_eq!(sender.send(datagram).unwrap(), size));
        for (number, datagram) in datagrams.iter().enumerate() {
            let length =
                receiver.recv(&mut buffer).unwrap_or_else(|e| panic!("{number} of {size} bytes: {e}"));
            assert!(&buffer[..length] == datagram, "{number} of {size} bytes is another one");
        }
    }
}

/// Sends datagrams that the engine is handed at once, and looks whether all arrive.
fn exchange_a_run(address: &str) {
    let (sender, receiver) = udp_to_b(address);
    setsockopt(&sender, UdpGsoSegment, &100).unwrap();
    assert_eq!(sender.send(&[7; 1000]).unwrap(), 1000);
    for number in 0..10 {
        let length = receiver.recv(&mut [0; 1000]).unwrap_or_else(|e| panic!("{number}: {e}"));
        assert_eq!(length, 100);
    }
}

/// A socket in a that is connected to one in b at this address.
fn udp_to_b(address: &str) -> (UdpSocket, UdpSocket) {
    let address: IpAddr = address.parse().unwrap();
    let receiver = inside("b", move || UdpSocket::bind((address, 0)).unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let to = receiver.local_addr().unwrap();
    let sender = inside("a", move || {
        let any: IpAddr = if to.is_ipv6() { "::".parse().unwrap() } else { "0.0.0.0".parse().unwrap() };
        UdpSocket::bind((any, 0)).unwrap()
    });
    sender.connect(to).unwrap();
    (sender, receiver)
}

/// Makes a socket in a namespace; it stays there, whoever uses it.
pub(super) fn inside<T: Send + 'static>(namespace: &str, make: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = File::open(format!("/run/netns/{namespace}")).unwrap();
    let make = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
        make()
    };
    thread::spawn(make).join().unwrap()
}

/// For the next topology in the same copy.
fn take_down() {
    run("ip netns delete a && ip netns delete b");
    wait_for("an end", || !std::path::Path::new("/run/netns/a").exists());
    run("rm -f /var/run/wireguard/*.sock");
}

/// The same bytes at both ends: xorshift64*.
pub(super) struct Bytes(pub(super) u64);

impl Bytes {
    pub(super) fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill_bytes(&mut bytes);
        bytes
    }
}

impl RngCore for Bytes {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}
