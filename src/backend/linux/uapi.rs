//! The client's side of WireGuard's cross-platform configuration protocol
//! (<https://www.wireguard.com/xplatform/>), the same text that wg(8) speaks.
//!
//! Keys are hexadecimal; buffers that hold secret ones are wiped.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use zeroize::{Zeroize, Zeroizing};

use super::tunnel::{Change, Current, CurrentPeer, PeerChange};
use crate::model::PublicKey;
use crate::state::Secret;

/// How long an engine may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Longer than any answer: a million allowed IPs.
const ANSWER_BYTES: usize = 64 << 20;
const CHUNK_BYTES: usize = 16 * 1024;

/// Asks the engine behind this socket what it has.
pub(super) fn read(stream: UnixStream) -> io::Result<Current> {
    let answer = ask(stream, "get=1\n\n")?;
    let mut current = Current::default();
    for line in answer.lines().filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once('=').ok_or_else(|| malformed(line))?;
        take(&mut current, key, value).ok_or_else(|| malformed(key))??;
    }
    Ok(current)
}

/// The private key of the engine behind this socket, if it has one.
pub(super) fn private_key(stream: UnixStream) -> io::Result<Option<Secret>> {
    let answer = ask(stream, "get=1\n\n")?;
    let told = answer.lines().find_map(|line| line.strip_prefix("private_key="));
    let key = told.map(|told| unhex(told).ok_or_else(|| malformed("private_key"))).transpose()?;
    Ok(key.filter(|key| **key != [0; 32]).map(|key| Secret::new(*key)))
}

/// Has the engine behind this socket make changes, of which only the first may be of the tunnel itself.
pub(super) fn write(stream: UnixStream, changes: &[Change<'_>]) -> io::Result<()> {
    let answer = ask(stream, &request(changes))?;
    let errno = answer.lines().find_map(|line| line.strip_prefix("errno="));
    errno.ok_or_else(|| malformed("no errno")).and_then(check)
}

fn ask(mut stream: UnixStream, request: &str) -> io::Result<Zeroizing<String>> {
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES));
    let mut chunk = Zeroizing::new([0; CHUNK_BYTES]);
    while !answer.ends_with(b"\n\n") && answer.len() < ANSWER_BYTES {
        match stream.read(&mut *chunk)? {
            0 => break,
            length => answer.extend_from_slice(&chunk[..length]),
        }
    }
    str::from_utf8(&answer).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| malformed("no text"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the engine's answer is malformed at `{what}`"))
}

/// 0 is success; the sign differs among engines.
fn check(errno: &str) -> io::Result<()> {
    match errno.parse::<i32>().map_err(|_| malformed(errno))? {
        0 => Ok(()),
        number => Err(Errno::from_raw(number.saturating_abs()).into()),
    }
}

/// Takes one line of an answer; `None` if it makes no sense. Keys that do not matter here are passed over.
fn take(current: &mut Current, key: &str, value: &str) -> Option<io::Result<()>> {
    if key == "errno" {
        return Some(check(value));
    }
    if key == "public_key" {
        let key = PublicKey(*unhex(value)?);
        current.peers.push(CurrentPeer::new(key));
        return Some(Ok(()));
    }
    match (key, current.peers.last_mut()) {
        ("private_key", None) => current.key = Some(Secret::new(*unhex(value)?).public_key()),
        ("listen_port", None) => current.listen_port = value.parse().ok()?,
        ("preshared_key", Some(peer)) => {
            peer.preshared_key = Some(*unhex(value)?).filter(|key| *key != [0; 32]).map(Secret::new);
        }
        ("endpoint", Some(peer)) => peer.endpoint = Some(value.parse::<SocketAddr>().ok()?),
        ("persistent_keepalive_interval", Some(peer)) => {
            peer.persistent_keepalive_secs = value.parse().ok()?;
        }
        ("allowed_ip", Some(peer)) => {
            peer.allowed_ips.insert(value.parse().ok()?);
        }
        _ => {}
    }
    Some(Ok(()))
}

fn request(changes: &[Change<'_>]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(4096 * changes.len()));
    text.push_str("set=1\n");
    for change in changes {
        match change {
            Change::Tunnel { key, listen_port } => {
                line(&mut text, "private_key", &hex(key.bytes()));
                line(&mut text, "listen_port", &listen_port.unwrap_or(0).to_string());
            }
            Change::Peer { key, peer, .. } => peer_lines(&mut text, key, peer),
            Change::NoPeer { key } => {
                line(&mut text, "public_key", &hex(&key.0));
                line(&mut text, "remove", "true");
            }
        }
    }
    text.push('\n');
    text
}

fn peer_lines(text: &mut String, key: &PublicKey, peer: &PeerChange<'_>) {
    line(text, "public_key", &hex(&key.0));
    line(text, "preshared_key", &hex(peer.preshared_key.map_or(&[0; 32], Secret::bytes)));
    if let Some(endpoint) = peer.endpoint {
        line(text, "endpoint", &endpoint.to_string());
    }
    line(text, "persistent_keepalive_interval", &peer.persistent_keepalive_secs.to_string());
    line(text, "replace_allowed_ips", "true");
    for prefix in peer.allowed_ips {
        line(text, "allowed_ip", &prefix.to_string());
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    text.extend([key, "=", value, "\n"]);
}

fn hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        let Ok(parsed) = u8::from_str_radix(&text[at..at + 2], 16) else {
            bytes.zeroize();
            return None;
        };
        *byte = parsed;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::{BufRead, BufReader};
    use std::thread;

    use super::super::tunnel::Session;
    use super::*;

    /// An engine that hears one request and says this.
    fn engine(answer: &'static str) -> (UnixStream, thread::JoinHandle<String>) {
        let (near, far) = UnixStream::pair().unwrap();
        let hear = move || {
            let mut heard = String::new();
            let mut reader = BufReader::new(far);
            while reader.read_line(&mut heard).unwrap() > 1 {}
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
            heard
        };
        (near, thread::spawn(hear))
    }

    const KEY: &str = "0101010101010101010101010101010101010101010101010101010101010101";

    #[test]
    fn what_an_engine_has_is_read() {
        let answer = concat!(
            "private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n",
            "own_public_key=00\nlisten_port=7111\nfwmark=0\n",
            "public_key=0101010101010101010101010101010101010101010101010101010101010101\n",
            "preshared_key=0000000000000000000000000000000000000000000000000000000000000000\n",
            "protocol_version=1\nendpoint=[fd00::1]:7222\nlast_handshake_time_sec=0\ntx_bytes=0\n",
            "persistent_keepalive_interval=25\nallowed_ip=192.168.5.2/32\nallowed_ip=fd00::/64\n",
            "public_key=0202020202020202020202020202020202020202020202020202020202020202\n",
            "preshared_key=0303030303030303030303030303030303030303030303030303030303030303\n",
            "errno=0\n\n"
        );
        let (stream, engine) = engine(answer);
        let current = read(stream).unwrap();
        assert_eq!(engine.join().unwrap(), "get=1\n\n");
        assert_eq!(current.listen_port, 7111);
        let private = unhex("e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a").unwrap();
        assert_eq!(current.key, Some(Secret::new(*private).public_key()));
        let [first, second] = &current.peers[..] else { panic!("{:?}", current.peers) };
        assert_eq!(first.key, PublicKey([1; 32]));
        assert_eq!(first.endpoint, Some("[fd00::1]:7222".parse().unwrap()));
        assert_eq!(first.persistent_keepalive_secs, 25);
        assert_eq!(first.allowed_ips.len(), 2);
        assert!(first.preshared_key.is_none());
        assert_eq!(second.preshared_key.as_ref().unwrap().bytes(), &[3; 32]);
    }

    #[test]
    fn a_peer_is_set_whole() {
        let (stream, engine) = engine("errno=0\n\n");
        let allowed_ips = BTreeSet::from(["10.0.0.2/32".parse().unwrap()]);
        let peer = PeerChange {
            endpoint: Some("127.0.0.1:7222".parse().unwrap()),
            allowed_ips: &allowed_ips,
            preshared_key: None,
            persistent_keepalive_secs: 0,
        };
        write(stream, &[Change::Peer { key: PublicKey([1; 32]), peer, session: Session::Kept }]).unwrap();
        let zeros = "0".repeat(64);
        let expected = format!(
            "set=1\npublic_key={KEY}\npreshared_key={zeros}\nendpoint=127.0.0.1:7222\n\
             persistent_keepalive_interval=0\nreplace_allowed_ips=true\nallowed_ip=10.0.0.2/32\n\n"
        );
        assert_eq!(engine.join().unwrap(), expected);
    }

    #[test]
    fn a_refusal_is_its_number_with_either_sign() {
        for answer in ["errno=98\n\n", "errno=-98\n\n"] {
            let (stream, engine) = engine(answer);
            let error = write(stream, &[Change::NoPeer { key: PublicKey([1; 32]) }]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
            engine.join().unwrap();
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for answer in ["listen_port=x\n\n", "private_key=00\n\n", "hello\n\n", "errno=-5\n\n"] {
            let (stream, engine) = engine(answer);
            assert!(read(stream).is_err(), "{answer}");
            engine.join().unwrap();
        }
    }
}
