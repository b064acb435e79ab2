//! What takes minutes, on a clock that jumps: `cargo test --features mock-clock wireguard`.

use std::time::Duration;

use boringtun::noise::Tunn;
use x25519_dalek::{PublicKey as DalekKey, StaticSecret};

use super::world::{World, packet};
use crate::wireguard::{PeerSetting, Secret};

const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn keepalive(secs: u16) -> [PeerSetting; 1] {
    [PeerSetting::KeepaliveSecs(secs)]
}

/// A packet there and one back.
fn talk(world: &mut World, tag: u32) {
    world.send(0, &packet(0, 1, tag));
    world.settle();
    world.send(1, &packet(1, 0, tag));
    world.settle();
}

#[test]
fn a_session_in_use_is_renewed_every_two_minutes_without_loss() {
    let mut world = World::of(2);
    for tag in 0..600 {
        talk(&mut world, tag);
        world.run_for(secs(1));
    }
    assert_eq!(world.site(1).received, (0..600).map(|tag| packet(0, 1, tag)).collect::<Vec<_>>());
    assert_eq!(world.site(0).received.len(), 600);
    let handshakes = world.sent_of(0, INITIATION) + world.sent_of(1, INITIATION);
    assert!((5..=6).contains(&handshakes), "{handshakes} handshakes in ten minutes");
    assert_eq!(world.sent_of(1, INITIATION), 0, "the responder does not renew");
}

#[test]
fn a_session_ends_after_three_minutes_and_the_next_packet_makes_another() {
    let mut world = World::of(2);
    talk(&mut world, 1);
    world.run_for(secs(20));
    let wakes = world.site(0).wakes;
    let old = world.sent.iter().rfind(|sent| sent.bytes[0] == DATA && sent.bytes.len() > 32).unwrap().clone();
    world.run_for(secs(1000));
    assert!(world.site(0).wakes - wakes <= 2, "an idle peer was woken {} times", world.site(0).wakes - wakes);
    assert_eq!(world.site(0).core.deadline(), None);
    world.deliver(0, old.from, &old.bytes);
    talk(&mut world, 2);
    assert_eq!(world.site(1).received, [packet(0, 1, 1), packet(0, 1, 2)]);
    assert_eq!(world.site(0).received, [packet(1, 0, 1), packet(1, 0, 2)]);
    assert_eq!(world.sent_of(0, INITIATION), 2);
}

#[test]
fn idle_peers_ask_for_nothing() {
    let mut world = World::of(30);
    for number in 1..30 {
        world.send(0, &packet(0, number, 1));
    }
    world.run_for(secs(200));
    let wakes: usize = world.sites.iter().map(|site| site.wakes).sum();
    world.run_for(secs(3600));
    assert_eq!(world.sites.iter().map(|site| site.wakes).sum::<usize>(), wakes);
    assert!(world.sites.iter().all(|site| site.core.deadline().is_none()));
}

#[test]
fn received_data_that_nothing_answers_is_acknowledged_after_ten_seconds() {
    let mut world = World::of(2);
    talk(&mut world, 1);
    world.run_for(secs(30));
    world.sent.clear();
    world.send(0, &packet(0, 1, 2));
    world.run_for(Duration::from_millis(9900));
    assert_eq!(world.sent_of(1, DATA), 0);
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.sent_of(1, DATA), 1);
    assert_eq!(world.sent.last().unwrap().bytes.len(), 32);
    world.run_for(secs(60));
    assert_eq!(world.sent_of(1, DATA), 1, "a keepalive is not answered by another");
}

#[test]
fn data_that_nothing_answers_makes_a_new_handshake_after_fifteen_seconds() {
    let mut world = World::of(2);
    talk(&mut world, 1);
    talk(&mut world, 2);
    world.sent.clear();
    world.loss_percent = 100;
    world.send(0, &packet(0, 1, 3));
    world.run_for(Duration::from_millis(14_900));
    assert_eq!(world.sent_of(0, INITIATION), 0);
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.sent_of(0, INITIATION), 1);
}

#[test]
fn a_stream_one_way_after_a_pause_makes_no_handshake() {
    let mut world = World::of(2);
    talk(&mut world, 1);
    world.run_for(secs(30));
    for tag in 0..60 {
        world.send(0, &packet(0, 1, tag));
        world.run_for(secs(1));
    }
    assert_eq!(world.sent_of(0, INITIATION) + world.sent_of(1, INITIATION), 1);
    assert_eq!(world.sent_of(1, DATA), 1 + 6, "an acknowledgement every ten seconds");
}

#[test]
fn an_initiation_is_repeated_until_it_gets_through() {
    let mut world = World::of(2);
    world.loss_percent = 100;
    world.send(0, &packet(0, 1, 1));
    world.run_for(secs(28));
    assert!((5..=6).contains(&world.sent_of(0, INITIATION)), "{}", world.sent_of(0, INITIATION));
    world.loss_percent = 0;
    world.run_for(secs(6));
    assert_eq!(world.site(1).received, [packet(0, 1, 1)]);
}

#[test]
fn a_session_that_a_later_initiation_overtook_is_good() {
    let mut world = World::of(2);
    world.delay = secs(4);
    world.send(0, &packet(0, 1, 1));
    // The answer is on its way when the initiation is repeated: the first session is used, the second never is.
    world.run_for(secs(13));
    assert_eq!(world.sent_of(1, RESPONSE), 2);
    assert_eq!(world.site(1).received, [packet(0, 1, 1)]);
    assert!(world.site(1).core.peers().all(|peer| peer.counters.last_handshake.is_some()));
    world.send(1, &packet(1, 0, 2));
    world.settle();
    assert_eq!(world.site(0).received, [packet(1, 0, 2)]);
}

#[test]
fn an_initiation_that_its_sender_forgot_does_not_prolong_the_session() {
    let mut world = World::of(2);
    talk(&mut world, 1);
    world.run_for(secs(100));
    let mut forgetful = Tunn::new(StaticSecret::from([2; 32]), public(&world, 0), None, None, 7, None);
    let mut initiation = [0; 148];
    forgetful.format_handshake_initiation(&mut initiation, false);
    let from = world.site(1).address;
    world.deliver(0, from, &initiation);
    assert_eq!(world.sent_of(0, RESPONSE), 1);
    world.run_for(secs(21));
    talk(&mut world, 2);
    assert_eq!(world.sent_of(0, INITIATION), 2, "it is still ours to renew at two minutes");
    assert_eq!(world.site(1).received.len(), 2);
    world.run_for(secs(400));
    assert_eq!(world.site(0).core.deadline(), None);
}

#[test]
fn a_handshake_is_given_up_after_ninety_seconds_until_someone_sends_again() {
    let mut world = World::of(2);
    world.loss_percent = 100;
    world.send(0, &packet(0, 1, 1));
    world.run_for(secs(100));
    let tries = world.sent_of(0, INITIATION);
    assert!((16..=19).contains(&tries), "{tries}");
    world.run_for(secs(1000));
    assert_eq!(world.sent_of(0, INITIATION), tries);
    assert_eq!(world.site(0).core.deadline(), None);
    world.loss_percent = 0;
    world.send(0, &packet(0, 1, 2));
    world.settle();
    assert_eq!(world.site(1).received, [packet(0, 1, 2)], "what waited was given up as well");
}

#[test]
fn persistent_keepalives_begin_at_once_and_change_without_a_new_session() {
    let mut world = World::of(2);
    world.configure(0, 1, keepalive(25));
    world.run_for(Duration::ZERO);
    assert_eq!(world.sent_of(0, INITIATION), 1);
    world.settle();
    world.run_for(secs(1));
    world.sent.clear();
    world.run_for(secs(60));
    assert_eq!(world.sent_of(0, DATA), 2);
    world.configure(0, 1, keepalive(5));
    world.sent.clear();
    world.run_for(secs(50));
    assert!((10..=11).contains(&world.sent_of(0, DATA)), "{}", world.sent_of(0, DATA));
    assert_eq!(world.sent_of(0, INITIATION), 0);
    world.configure(0, 1, keepalive(0));
    world.sent.clear();
    world.run_for(secs(1000));
    assert!(world.sent.is_empty());
}

#[test]
fn persistent_keepalives_alone_keep_a_session_alive_for_hours() {
    let mut world = World::of(2);
    world.configure(0, 1, keepalive(25));
    world.run_for(secs(1));
    for tag in 0..40 {
        world.run_for(secs(301));
        world.send(1, &packet(1, 0, tag));
        world.settle();
    }
    assert_eq!(world.site(0).received.len(), 40);
    assert_eq!(world.sent_of(1, INITIATION), 0, "the session was never missing when the other side sent");
}

#[test]
fn a_peer_that_cannot_be_reached_gets_keepalives_again_after_it_was_given_up() {
    let mut world = World::of(2);
    world.configure(0, 1, keepalive(25));
    world.loss_percent = 100;
    world.run_for(secs(1000));
    world.loss_percent = 0;
    world.run_for(secs(60));
    assert_eq!(world.sent_of(1, RESPONSE), 1);
    let per_minute = world.sent_of(0, INITIATION) / 17;
    assert!(per_minute <= 12, "{per_minute} initiations a minute");
}

#[test]
fn a_changed_preshared_key_is_used_from_the_next_handshake_on() {
    let mut world = World::of(2);
    talk(&mut world, 1);
    world.run_for(secs(60));
    for (a, b) in [(0, 1), (1, 0)] {
        world.configure(a, b, [PeerSetting::PresharedKey(Secret::new([3; 32]))]);
    }
    talk(&mut world, 2);
    assert_eq!(world.site(1).received.len(), 2);
    assert_eq!(world.site(0).received.len(), 2);
}

#[test]
fn a_lossy_slow_reordering_wire_carries_an_hour_of_traffic() {
    let mut world = World::of(2);
    (world.loss_percent, world.delay, world.jitter) =
        (20, Duration::from_millis(50), Duration::from_millis(300));
    for tag in 0..3600 {
        world.send(0, &packet(0, 1, tag));
        world.send(1, &packet(1, 0, tag));
        world.run_for(secs(1));
    }
    world.settle();
    for number in [0, 1] {
        let received = &mut world.site(number).received;
        let all = received.len();
        received.sort();
        received.dedup();
        assert_eq!(received.len(), all, "a packet was delivered twice");
        assert!(all > 2700, "{all} of 3600 packets were delivered");
    }
    let handshakes = world.sent_of(0, INITIATION) + world.sent_of(1, INITIATION);
    assert!(handshakes < 120, "{handshakes} initiations in an hour");
}

#[test]
fn under_load_a_peer_must_prove_its_address_and_can() {
    let mut world = World::of(2);
    flood(&mut world);
    world.sent.clear();
    world.send(0, &packet(0, 1, 1));
    world.settle();
    assert_eq!((world.sent_of(1, COOKIE), world.sent_of(1, RESPONSE)), (1, 0));
    assert!(world.site(1).received.is_empty());

    // The next try carries the cookie's proof, and gets through although the flood goes on.
    for _ in 0..40 {
        flood(&mut world);
        world.run_for(Duration::from_millis(150));
    }
    assert_eq!(world.sent_of(1, RESPONSE), 1);
    assert_eq!(world.site(1).received, [packet(0, 1, 1)]);
}

fn public(world: &World, site: usize) -> DalekKey {
    DalekKey::from(world.sites[site].key.0)
}

/// More initiations in one second than are answered without proof, from someone who knows the public key.
fn flood(world: &mut World) {
    let public = public(world, 1);
    for number in 0..150u8 {
        let mut stranger = Tunn::new(StaticSecret::from([100 + number; 32]), public, None, None, 1, None);
        let mut buffer = [0; 148];
        stranger.format_handshake_initiation(&mut buffer, false);
        world.deliver(1, ([198, 51, 100, number], 1).into(), &buffer);
    }
    let from_strangers = |sent: &super::world::InFlight| sent.to.ip().to_string().starts_with("198.51.100.");
    assert!(world.sent.iter().filter(|sent| from_strangers(sent)).all(|sent| sent.bytes[0] == COOKIE));
    world.sent.retain(|sent| !from_strangers(sent));
    world.wire.retain(|sent| !from_strangers(sent));
}
