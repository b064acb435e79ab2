//! What happens at once: handshakes, routing by key, roaming, replay, and settings that change while it runs.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::world::{World, key_pair, packet, packet_between};
use crate::wireguard::{PeerSetting, Reader, Secret, Selected, Setting, describe};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const DATA: u8 = 4;

/// Two sites with a session between them and nothing received yet.
fn connected() -> World {
    let mut world = World::of(2);
    world.send(0, &packet(0, 1, 0));
    world.settle();
    assert_eq!(world.site(1).received.len(), 1);
    world.site(1).received.clear();
    world
}

#[test]
fn packets_that_waited_for_the_handshake_arrive_in_order() {
    let mut world = World::of(2);
    let packets: Vec<_> = (0..100).map(|tag| packet(0, 1, tag)).collect();
    for packet in &packets {
        world.send(0, packet);
    }
    world.settle();
    assert_eq!(world.site(1).received, packets);
    assert_eq!(world.sent_of(0, INITIATION), 1);
    assert_eq!(world.sent_of(1, RESPONSE), 1);
}

/// They wait until the other one, which began, has shown that it has the keys.
#[test]
fn packets_that_waited_go_before_those_that_come_later() {
    let mut world = World::of(2);
    (0..2).for_each(|tag| world.send(0, &packet(0, 1, tag)));
    world.wire.clear();
    world.send(1, &packet(1, 0, 9));
    for to in [0, 1, 0] {
        let datagram = world.wire.remove(0);
        world.deliver(to, datagram.from, &datagram.bytes);
    }
    world.send(0, &packet(0, 1, 2));
    world.settle();
    assert_eq!(world.site(1).received, [0, 1, 2].map(|tag| packet(0, 1, tag)));
}

#[test]
fn large_packets_that_waited_are_all_flushed_although_a_batch_cannot_hold_them() {
    let mut world = World::of(2);
    let large = packet_between([10, 0, 0, 0].into(), [10, 0, 0, 1].into(), &[7; 60_000]);
    for _ in 0..50 {
        world.send(0, &large);
    }
    world.settle();
    world.run_for(Duration::from_millis(10));
    world.settle();
    assert_eq!(world.site(1).received.len(), 50);
}

#[test]
fn both_sides_may_begin_at_once() {
    let mut world = World::of(2);
    world.send(0, &packet(0, 1, 1));
    world.send(1, &packet(1, 0, 2));
    world.settle();
    world.send(0, &packet(0, 1, 3));
    world.send(1, &packet(1, 0, 4));
    world.settle();
    assert_eq!(world.site(1).received, [packet(0, 1, 1), packet(0, 1, 3)]);
    assert_eq!(world.site(0).received, [packet(1, 0, 2), packet(1, 0, 4)]);
}

#[test]
fn both_families_go_both_ways() {
    let mut world = connected();
    let there = packet_between("fd00::0".parse().unwrap(), "fd00::1".parse().unwrap(), b"there");
    let back = packet_between("fd00::1".parse().unwrap(), "fd00::0".parse().unwrap(), b"back");
    world.send(0, &there);
    world.send(1, &back);
    world.settle();
    assert_eq!(world.site(1).received, [there]);
    assert_eq!(world.site(0).received, [back]);
}

#[test]
fn the_longest_prefix_decides_where_to_and_where_from() {
    let mut world = World::of(3);
    world.configure(0, 1, [PeerSetting::AllowedIp("10.1.0.0/16".parse().unwrap())]);
    world.configure(0, 2, [PeerSetting::AllowedIp("10.1.2.0/24".parse().unwrap())]);
    let to_one = packet_between([10, 0, 0, 0].into(), [10, 1, 1, 1].into(), b"one");
    let to_two = packet_between([10, 0, 0, 0].into(), [10, 1, 2, 1].into(), b"two");
    world.send(0, &to_one);
    world.send(0, &to_two);
    world.settle();
    assert_eq!(world.site(1).received, [to_one]);
    assert_eq!(world.site(2).received, [to_two]);

    // Site 1 routes everything to 0, and may speak for 10.1/16 but not for 10.1.2/24.
    let honest = packet_between([10, 1, 1, 1].into(), [10, 0, 0, 0].into(), b"honest");
    let forged = packet_between([10, 1, 2, 1].into(), [10, 0, 0, 0].into(), b"forged");
    world.send(1, &honest);
    world.send(1, &forged);
    world.settle();
    assert_eq!(world.site(0).received, [honest]);
}

#[test]
fn a_prefix_moves_to_the_peer_that_got_it_last() {
    let mut world = World::of(3);
    world.configure(0, 2, [PeerSetting::AllowedIp("10.0.0.1/32".parse().unwrap())]);
    world.send(0, &packet(0, 1, 1));
    world.settle();
    assert!(world.site(1).received.is_empty());
    assert_eq!(world.site(2).received.len(), 1);
    let text = describe(&world.site(0).core, None, 0);
    assert_eq!(text.matches("allowed_ip=10.0.0.1/32").count(), 1);
}

#[test]
fn data_is_padded_to_sixteen_and_not_beyond_the_mtu() {
    let mut world = connected();
    world.sent.clear();
    for payload in [1, 60, 1395, 1400] {
        let inner = packet_between([10, 0, 0, 0].into(), [10, 0, 0, 1].into(), &vec![1; payload]);
        world.send(0, &inner);
    }
    let lengths: Vec<_> = world.sent.iter().map(|sent| sent.bytes.len() - 32).collect();
    assert_eq!(lengths, [32, 80, 1420, 1420]);
    world.settle();
    let received: Vec<_> = world.site(1).received.iter().map(|packet| packet.len() - 20).collect();
    assert_eq!(received, [1, 60, 1395, 1400]);
}

#[test]
fn a_datagram_is_taken_once() {
    let mut world = connected();
    world.send(0, &packet(0, 1, 1));
    let copy = world.wire[0].clone();
    world.settle();
    world.deliver(1, copy.from, &copy.bytes);
    assert_eq!(world.site(1).received.len(), 1);
}

#[test]
fn reordered_datagrams_all_arrive_once() {
    let mut world = connected();
    world.jitter = Duration::from_millis(100);
    let mut packets: Vec<_> = (0..500).map(|tag| packet(0, 1, tag)).collect();
    for packet in &packets {
        world.send(0, packet);
    }
    world.settle();
    assert_ne!(world.site(1).received, packets, "the wire did not reorder");
    world.site(1).received.sort();
    packets.sort();
    assert_eq!(world.site(1).received, packets);
}

#[test]
fn a_peer_that_moved_is_followed_and_a_forger_is_not() {
    let mut world = connected();
    let moved: SocketAddr = "203.0.113.9:4000".parse().unwrap();
    world.site(1).address = moved;
    world.send(1, &packet(1, 0, 1));
    let genuine = world.wire[0].bytes.clone();
    world.settle();
    world.send(0, &packet(0, 1, 2));
    assert_eq!(world.wire[0].to, moved);
    world.settle();

    let forger: SocketAddr = "198.51.100.66:666".parse().unwrap();
    let mut forged = genuine.clone();
    forged[20] ^= 1;
    world.deliver(0, forger, &forged);
    world.deliver(0, forger, &genuine);
    world.send(0, &packet(0, 1, 3));
    assert_eq!(world.wire[0].to, moved);
}

#[test]
fn different_preshared_keys_do_not_meet_and_equal_ones_do() {
    let mut world = World::of(2);
    world.configure(0, 1, [PeerSetting::PresharedKey(Secret::new([5; 32]))]);
    world.send(0, &packet(0, 1, 1));
    world.settle();
    assert!(world.site(1).received.is_empty());
    world.configure(1, 0, [PeerSetting::PresharedKey(Secret::new([5; 32]))]);
    world.configure(0, 1, [PeerSetting::PresharedKey(Secret::none())]);
    world.configure(0, 1, [PeerSetting::PresharedKey(Secret::new([5; 32]))]);
    world.send(0, &packet(0, 1, 2));
    world.settle();
    assert_eq!(world.site(1).received, [packet(0, 1, 2)]);
}

#[test]
fn only_a_changed_preshared_key_ends_the_session() {
    let mut world = connected();
    for (a, b) in [(0, 1), (1, 0)] {
        world.configure(a, b, [PeerSetting::PresharedKey(Secret::none())]);
    }
    world.send(0, &packet(0, 1, 1));
    world.settle();
    assert_eq!(world.sent_of(0, INITIATION), 1);
    for (a, b) in [(0, 1), (1, 0)] {
        world.configure(a, b, [PeerSetting::PresharedKey(Secret::new([9; 32]))]);
    }
    world.send(0, &packet(0, 1, 2));
    world.settle();
    assert_eq!(world.sent_of(0, INITIATION), 2);
    assert_eq!(world.site(1).received, [packet(0, 1, 1), packet(0, 1, 2)]);
}

#[test]
fn settings_of_one_peer_leave_the_sessions_of_others_alone() {
    let mut world = World::of(3);
    world.send(0, &packet(0, 1, 1));
    world.send(0, &packet(0, 2, 1));
    world.settle();
    let third = world.site(2).key;
    world.apply(0, [Setting::Peer(third), Setting::Remove]);
    world.send(0, &packet(0, 1, 2));
    world.send(0, &packet(0, 2, 2));
    world.settle();
    assert_eq!(world.sent_of(0, INITIATION), 2);
    assert_eq!(world.site(1).received.len(), 2);
    assert_eq!(world.site(2).received.len(), 1);
    world.introduce(0, 2);
    world.send(0, &packet(0, 2, 3));
    world.settle();
    assert_eq!(world.site(2).received.len(), 2);
}

#[test]
fn what_is_said_of_a_peer_that_must_exist_is_ignored_if_it_does_not() {
    let mut world = World::of(2);
    let stranger = key_pair(77).1;
    let keepalive = || Setting::PeerSetting(PeerSetting::KeepaliveSecs(5));
    world.apply(0, [Setting::Peer(stranger), Setting::UpdateOnly, keepalive()]);
    assert_eq!(world.site(0).core.peers().count(), 1);
    let known = world.site(1).key;
    world.apply(0, [Setting::Peer(known), Setting::UpdateOnly, keepalive()]);
    assert!(describe(&world.site(0).core, None, 0).contains("persistent_keepalive_interval=5\n"));
}

#[test]
fn another_private_key_makes_other_sessions() {
    let mut world = connected();
    let (secret, key) = key_pair(40);
    world.apply(0, [Setting::PrivateKey(secret)]);
    world.site(0).key = key;
    world.send(0, &packet(0, 1, 1));
    world.settle();
    assert!(world.site(1).received.is_empty(), "the peer does not know the new key yet");
    world.introduce(1, 0);
    world.send(1, &packet(1, 0, 2));
    world.settle();
    assert_eq!(world.site(0).received, [packet(1, 0, 2)]);
}

#[test]
fn an_interface_is_never_its_own_peer() {
    let mut world = World::of(2);
    let own = world.site(0).key;
    world.apply(0, [Setting::Peer(own), Setting::PeerSetting(PeerSetting::KeepaliveSecs(1))]);
    assert_eq!(world.site(0).core.peers().count(), 1);
    let (secret, _) = key_pair(1);
    world.apply(0, [Setting::PrivateKey(secret)]);
    assert_eq!(world.site(0).core.peers().count(), 0);
}

#[test]
fn counters_count_what_the_wire_carries() {
    let mut world = connected();
    world.send(1, &packet(1, 0, 1));
    world.settle();
    let carried = |world: &World, from: usize| -> u64 {
        let address = world.sites[from].address;
        let sent = world.sent.iter().filter(|sent| sent.from == address);
        sent.map(|sent| sent.bytes.len() as u64).sum()
    };
    let (out, back) = (carried(&world, 0), carried(&world, 1));
    for (site, tx, rx) in [(0, out, back), (1, back, out)] {
        let counters = world.site(site).core.peers().next().unwrap().counters;
        assert_eq!((counters.tx_bytes, counters.rx_bytes), (tx, rx));
        assert!(counters.last_handshake.is_some());
    }
}

#[test]
fn nothing_is_sent_to_a_peer_whose_place_is_unknown() {
    let mut world = World::of(2);
    let second = world.site(1).key;
    let allowed = PeerSetting::AllowedIp("10.0.0.1/32".parse().unwrap());
    world.apply(0, [Setting::ReplacePeers, Setting::Peer(second), Setting::PeerSetting(allowed)]);
    world.send(0, &packet(0, 1, 1));
    assert!(world.sent.is_empty());
    // It makes itself known.
    world.send(1, &packet(1, 0, 2));
    world.settle();
    world.send(0, &packet(0, 1, 3));
    world.settle();
    assert_eq!(world.site(1).received, [packet(0, 1, 3)]);
}

#[test]
fn while_suspended_nothing_is_sent_and_afterwards_it_is() {
    let mut world = connected();
    world.site(0).core.suspend();
    world.sent.clear();
    world.send(0, &packet(0, 1, 1));
    world.send(1, &packet(1, 0, 2));
    world.settle();
    assert_eq!(world.sent_of(0, DATA) + world.sent_of(0, RESPONSE) + world.sent_of(0, INITIATION), 0);
    assert_eq!(world.site(0).core.deadline(), None);
    world.site(0).core.resume();
    world.send(0, &packet(0, 1, 3));
    world.settle();
    assert_eq!(world.site(1).received, [packet(0, 1, 3)]);
}

#[test]
fn who_comes_up_answers_and_does_not_speak_before_it_is_told_to() {
    let mut world = World::of(2);
    world.configure(0, 1, [PeerSetting::KeepaliveSecs(25)]);
    for site in 0..2 {
        world.site(site).core.suspend();
        world.site(site).core.resume();
    }
    world.sent.clear();
    world.run_for(Duration::from_millis(1));
    assert!(world.sent.is_empty());
    let now = world.now;
    world.site(0).core.restart_keepalives(now);
    world.run_for(Duration::from_millis(1));
    assert_eq!((world.sent_of(0, INITIATION), world.sent_of(1, RESPONSE)), (1, 1));
}

#[test]
fn ten_thousand_peers_are_set_without_curve_arithmetic_and_found_again() {
    let mut world = World::of(2);
    let now = world.now;
    let (mut reader, mut selected) = (Reader::Peer, Selected::default());
    for number in 0..10_000u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let text = format!("public_key={:064x}\nallowed_ip=11.{a}.{b}.{c}/32", u64::from(number) + 1);
        for line in text.lines() {
            let Some(crate::wireguard::Change::Setting(setting)) = reader.line(line).unwrap() else {
                panic!()
            };
            world.site(0).core.apply(setting, &mut selected, now);
        }
    }
    assert_eq!(world.site(0).core.peers().count(), 10_001);
    assert!(world.site(0).core.peers().all(|peer| peer.index().is_none()));
    world.send(0, &packet(0, 1, 1));
    world.settle();
    assert_eq!(world.site(1).received.len(), 1);
}

/// RFC 6040: the outer packet has the inner one's ECN field, and what happens to it on the way reaches the inner one.
#[test]
fn congestion_on_the_way_reaches_the_inner_packet() {
    const CAPABLE: u8 = 2;
    const CONGESTED: u8 = 3;
    let mut world = connected();
    for (inner, outer, arrives) in
        [(0, 0, Some(0)), (CAPABLE, CONGESTED, Some(CONGESTED)), (0, CONGESTED, None)]
    {
        let mut packet = packet(0, 1, 1);
        packet[1] = inner;
        world.send(0, &packet);
        let sent = world.wire.remove(0);
        assert_eq!(sent.ecn, inner);
        world.deliver_marked(1, sent.from, &sent.bytes, outer);
        let received: Vec<_> = world.site(1).received.drain(..).map(|packet| packet[1]).collect();
        assert_eq!(received, Vec::from_iter(arrives));
    }
}

#[test]
fn a_train_of_mixed_datagrams_is_taken_apart() {
    let mut world = connected();
    let packets: Vec<_> = (0..30).map(|tag| packet(0, 1, tag)).collect();
    packets.iter().for_each(|packet| world.send(0, packet));
    let size = world.wire[0].bytes.len();
    let from = world.wire[0].from;
    let mut datagrams: Vec<_> = world.wire.drain(..).map(|sent| sent.bytes).collect();
    datagrams[7][20] ^= 1;
    datagrams[9] = datagrams[8].clone();
    datagrams[11][0] = 1;
    datagrams[13][4..8].copy_from_slice(&[1, 2, 3, 4]);
    world.deliver_train(1, from, &datagrams.concat(), size);
    let expected: Vec<_> =
        (0..30).filter(|tag| ![7, 9, 11, 13].contains(tag)).map(|tag| packet(0, 1, tag)).collect();
    assert_eq!(world.site(1).received, expected);
}

proptest! {
    #[test]
    fn garbage_is_dropped(
        datagrams in prop::collection::vec((0u8..6, prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..20),
    ) {
        let mut world = connected();
        world.sent.clear();
        let from: SocketAddr = "198.51.100.1:1".parse().unwrap();
        for (kind, mut datagram) in datagrams {
            datagram.splice(0..datagram.len().min(4), [kind, 0, 0, 0]);
            world.deliver(1, from, &datagram);
        }
        for packet in packets {
            world.send(1, &packet);
        }
        prop_assert!(world.site(1).received.is_empty());
        prop_assert!(world.sent.iter().all(|sent| sent.to != from));
    }

    /// A message of the peer's with one byte changed, or cut short, is none of its messages.
    #[test]
    fn spoilt_messages_are_dropped(position in 0usize..148, change in 1u8.., cut in any::<bool>()) {
        let mut world = World::of(2);
        world.send(0, &packet(0, 1, 1));
        let mut spoilt = world.wire.remove(0);
        let position = position.min(spoilt.bytes.len() - 1);
        if cut {
            spoilt.bytes.truncate(position);
        } else {
            spoilt.bytes[position] ^= change;
        }
        world.sent.clear();
        world.deliver(1, spoilt.from, &spoilt.bytes);
        // Only mac2, the last 16 bytes, means nothing while there is no load.
        prop_assert_eq!(world.sent.is_empty(), cut || position < 132);
    }
}

#[test]
fn who_is_not_answered_leaves_from_whichever_address_there_is() {
    let mut world = World::of(2);
    world.send(0, &packet(0, 1, 1));
    world.settle();
    let sources = |world: &World, from: usize| -> Vec<bool> {
        let all = world.sent[from..].iter().filter(|sent| sent.from == world.sites[0].address);
        all.map(|sent| sent.source.is_some()).collect()
    };
    let before = world.sent.len();
    world.send(0, &packet(0, 1, 2));
    assert_eq!(sources(&world, before), [true], "the peer is answered from where it spoke to");
    world.settle();
    world.loss_percent = 100;
    world.send(0, &packet(0, 1, 3));
    let before = world.sent.len();
    world.run_for(Duration::from_secs(30));
    let lost = sources(&world, before);
    assert!(!lost.is_empty() && !lost.contains(&true), "{lost:?}");
}
