//! Somebody who knows a public key and keeps an engine busy with handshakes: initiations of strangers, whose first MAC
//! is right (section 5.3 of the WireGuard paper), at a steady rate until it is ended. `scripts/bench engine` runs it.
//!
//! Usage: flood PORT PUBLIC_KEY RATE: to 127.0.0.1:PORT, RATE a second.

use std::io;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use boringtun::noise::{Tunn, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};

const STRANGERS: u8 = 250;
const BURST: Duration = Duration::from_millis(2);
const INITIATION: usize = 148;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, key, rate] = arguments.as_slice() else {
        return Err(io::Error::other("usage: flood PORT PUBLIC_KEY RATE"));
    };
    let key = STANDARD.decode(key).map_err(io::Error::other)?;
    let key: [u8; 32] = key.try_into().map_err(|_| io::Error::other("no public key"))?;
    let rate: f64 = rate.parse().map_err(io::Error::other)?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(format!("127.0.0.1:{port}"))?;

    let initiations: Vec<_> = (1..=STRANGERS).map(|number| initiation(number, key)).collect();
    let (start, mut sent) = (Instant::now(), 0);
    for initiation in initiations.iter().cycle() {
        if f64::from(sent) >= start.elapsed().as_secs_f64() * rate {
            thread::sleep(BURST);
        }
        // Refused while the port is closed; what comes back is not read.
        let _refused = socket.send(initiation);
        sent += 1;
    }
    Ok(())
}

fn initiation(stranger: u8, to: [u8; 32]) -> [u8; INITIATION] {
    let secret = StaticSecret::from([stranger; 32]);
    let mut tunn = Tunn::new(secret, PublicKey::from(to), None, None, stranger.into(), None);
    let mut bytes = [0; INITIATION];
    let made = tunn.format_handshake_initiation(&mut bytes, false);
    assert!(matches!(made, TunnResult::WriteToNetwork(_)), "{made:?}");
    bytes
}
