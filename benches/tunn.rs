//! What boringtun's `Tunn` takes for one packet of 1,420 bytes: prints the microseconds of a seal and of an open,
//! medians of rounds. The part of the roofline in `scripts/bench engine` that no engine on `Tunn` can avoid.
//!
//! Usage: tunn PROCESSORS: by so many threads at once, each for itself. Processors that share a core slow each other.

use std::thread;
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};

const ROUNDS: usize = 21;
const PACKETS: usize = 2_000;
const PACKET: usize = 1_420;
const SLOT: usize = 1_600;

fn main() {
    let count = std::env::args().nth(1).and_then(|word| word.parse().ok()).expect("usage: tunn PROCESSORS");
    let threads: Vec<_> = (0..count).map(|_| thread::spawn(rounds)).collect();
    let (seals, opens): (Vec<_>, Vec<_>) =
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread that ends well")).unzip();
    println!("{:.3} {:.3}", median_us(seals), median_us(opens));
}

/// How long to seal, and to open, all packets of each round.
fn rounds() -> Vec<(Duration, Duration)> {
    let (mut here, mut there) = joined();
    let mut packet = vec![7; PACKET];
    packet[..4].copy_from_slice(&[0x45, 0, 5, 140]);
    let (mut sealed, mut opened) = (vec![0; PACKETS * SLOT], vec![0; SLOT]);
    let mut lengths = vec![0; PACKETS];
    let mut round = || {
        let start = Instant::now();
        for (slot, length) in sealed.chunks_mut(SLOT).zip(&mut lengths) {
            *length = written(&here.encapsulate(&packet, slot));
        }
        let seals = start.elapsed();
        let start = Instant::now();
        for (slot, length) in sealed.chunks(SLOT).zip(&lengths) {
            let result = there.decapsulate(None, &slot[..*length], &mut opened);
            assert!(matches!(result, TunnResult::WriteToTunnelV4(..)), "{result:?}");
        }
        (seals, start.elapsed())
    };
    (0..ROUNDS).map(|_| round()).collect()
}

/// Two ends with a session.
fn joined() -> (Tunn, Tunn) {
    let secrets = [[1; 32], [2; 32]].map(StaticSecret::from);
    let [first, second] = &secrets;
    let end = |own: &StaticSecret, other: &StaticSecret, index| {
        Tunn::new(own.clone(), PublicKey::from(other), None, None, index, None)
    };
    let (mut here, mut there) = (end(first, second, 1), end(second, first, 2));
    let (mut one, mut two) = ([0; SLOT], [0; SLOT]);
    let length = written(&here.format_handshake_initiation(&mut one, false));
    let length = written(&there.decapsulate(None, &one[..length], &mut two));
    let length = written(&here.decapsulate(None, &two[..length], &mut one));
    let confirmed = there.decapsulate(None, &one[..length], &mut two);
    assert!(matches!(confirmed, TunnResult::Done), "{confirmed:?}");
    (here, there)
}

fn written(result: &TunnResult<'_>) -> usize {
    let TunnResult::WriteToNetwork(datagram) = result else { panic!("{result:?}") };
    datagram.len()
}

fn median_us(mut rounds: Vec<Duration>) -> f64 {
    rounds.sort();
    rounds[rounds.len() / 2].as_secs_f64() * 1e6 / PACKETS as f64
}
