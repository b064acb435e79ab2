//! Several peers of one interface, all of them busy in both directions at once.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::traffic::{MIB, Stream, inside};
use super::world::{device_in_domain, in_private_copy, key_pair, run};

const HUB: usize = 1;
const PEERS: std::ops::RangeInclusive<usize> = 2..=4;
const DATAGRAMS: u32 = 4_000;
/// So that queues hold what is sent at once.
const AT_ONCE: u32 = 20;

#[test]
fn flows_of_several_peers_arrive_in_order() {
    in_private_copy("flows::flows_of_several_peers_arrive_in_order", || arrive_in_order(1));
}

#[test]
fn flows_of_several_peers_arrive_in_order_through_several_queues() {
    let test = "flows::flows_of_several_peers_arrive_in_order_through_several_queues";
    in_private_copy(test, || arrive_in_order(3));
}

fn arrive_in_order(queues: usize) {
    run("ip link set lo up");
    let _devices: Vec<_> = (HUB..=*PEERS.end()).map(|domain| device(domain, queues)).collect();
    let ways: Vec<_> = PEERS.flat_map(|peer| [(HUB, peer), (peer, HUB)]).collect();
    let place = |domain: usize| (format!("rdom{domain}"), format!("10.9.0.{domain}"));
    let streams: Vec<_> = ways
        .iter()
        .map(|(from, to)| Stream::start(&place(*from).0, &place(*to).0, &place(*to).1, 8 * MIB))
        .collect();
    let flows: Vec<_> = ways.iter().map(|(from, to)| flow(*from, *to)).collect();
    for (flow, way) in flows.into_iter().zip(ways) {
        let arrived = flow.join().unwrap_or_else(|_| panic!("{way:?} is out of order"));
        assert!(arrived > DATAGRAMS / 2, "{arrived} of {way:?}");
    }
    streams.into_iter().for_each(Stream::finish);
}

/// The hub knows all the others, which know the hub.
fn device(domain: usize, queues: usize) -> rdomain::wireguard::Device {
    let device = device_in_domain(domain, "/proc/self/ns/net", queues);
    key_pair(&domain.to_string());
    run(&format!("wg set wg{domain} private-key /run/{domain}.key listen-port 700{domain}"));
    if domain != HUB {
        introduce(HUB, domain);
        introduce(domain, HUB);
    }
    run(&format!("ip -n rdom{domain} address add 10.9.0.{domain}/24 dev wg{domain}"));
    run(&format!("ip -n rdom{domain} link set wg{domain} up"));
    device
}

fn introduce(to: usize, peer: usize) {
    let key = run(&format!("wg pubkey < /run/{peer}.key"));
    run(&format!(
        "wg set wg{to} peer {} endpoint 127.0.0.1:700{peer} allowed-ips 10.9.0.{peer}/32",
        key.trim()
    ));
}

/// Numbered datagrams; tells how many arrived, each of them after those that were sent before it.
fn flow(from: usize, to: usize) -> JoinHandle<u32> {
    let address = Ipv4Addr::new(10, 9, 0, to as u8);
    let receiving = inside(&format!("rdom{to}"), move || UdpSocket::bind((address, 0)).unwrap());
    let sending = inside(&format!("rdom{from}"), || UdpSocket::bind("0.0.0.0:0").unwrap());
    receiving.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    sending.connect(receiving.local_addr().unwrap()).unwrap();
    thread::spawn(move || {
        for number in 1..=DATAGRAMS {
            // A queue may be full.
            let _lost = sending.send(&number.to_be_bytes());
            if number % AT_ONCE == 0 {
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    thread::spawn(move || count_in_order(&receiving))
}

fn count_in_order(socket: &UdpSocket) -> u32 {
    let (mut last, mut count, mut bytes) = (0, 0, [0; 4]);
    while last < DATAGRAMS && socket.recv(&mut bytes).is_ok() {
        let number = u32::from_be_bytes(bytes);
        assert!(number > last, "{number} after {last}");
        (last, count) = (number, count + 1);
    }
    count
}
