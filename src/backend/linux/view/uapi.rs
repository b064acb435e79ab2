//! The state of a tunnel from its UAPI socket: the `get` operation of the cross-platform protocol
//! (<https://www.wireguard.com/xplatform/>).
//!
//! The answer holds the private key. It is read into memory that is wiped, becomes a public key on the spot, and is in
//! no value and no error; an error names the key of a line, never its value.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnetwork::IpNetwork;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::model::PublicKey;
use crate::state::Secret;
use crate::status::{PeerView, TunnelView};

/// How long an engine may take for the next bytes of its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// More than a tunnel with a hundred thousand peers has to say.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// Why a tunnel did not tell its state.
#[derive(Debug, Error)]
pub enum UapiError {
    /// Its socket failed.
    #[error("uapi socket")]
    Socket(#[from] io::Error),
    /// It refused, with this error number.
    #[error("refused with errno {0}")]
    Refused(i32),
    /// A line that makes no sense, by its key.
    #[error("malformed answer: `{0}`")]
    Malformed(String),
}

/// The state of the tunnel whose UAPI socket is here; see [`tunnel_of_stream`].
pub fn tunnel_of_uapi(path: &Path) -> Result<TunnelView, UapiError> {
    tunnel_of_stream(UnixStream::connect(path)?)
}

/// The state of the tunnel that this connection leads to. Its underlay is not known there, and left 0.
pub fn tunnel_of_stream(mut stream: UnixStream) -> Result<TunnelView, UapiError> {
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(b"get=1\n\n")?;
    let answer = read_answer(&mut stream)?;
    parse(&answer, SystemTime::now())
}

/// Everything up to the empty line that ends an answer.
fn read_answer(stream: &mut impl Read) -> Result<Zeroizing<String>, UapiError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut chunk = Zeroizing::new([0; 16 * 1024]);
    while !bytes.ends_with(b"\n\n") {
        let count = stream.read(&mut chunk[..])?;
        if count == 0 || bytes.len() as u64 > ANSWER_BYTES {
            return Err(UapiError::Malformed("no end".to_owned()));
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
    let text = str::from_utf8(&bytes).map_err(|_| UapiError::Malformed("not UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn parse(answer: &str, now: SystemTime) -> Result<TunnelView, UapiError> {
    let mut tunnel = TunnelView::default();
    for line in answer.lines().filter(|line| !line.is_empty()) {
        let Some((key, value)) = line.split_once('=') else {
            return Err(UapiError::Malformed("line without `=`".to_owned()));
        };
        match (key, tunnel.peers.last_mut()) {
            ("errno", _) => match number::<i32>(key, value)? {
                0 => {}
                errno => return Err(UapiError::Refused(errno)),
            },
            ("public_key", _) => tunnel.peers.push(PeerView::new(PublicKey(*bytes(key, value)?))),
            (_, None) => read_own(&mut tunnel, key, value)?,
            (_, Some(peer)) => read_peer(peer, key, value, now)?,
        }
    }
    Ok(tunnel)
}

fn read_own(tunnel: &mut TunnelView, key: &str, value: &str) -> Result<(), UapiError> {
    match key {
        "private_key" => {
            let secret = bytes(key, value)?;
            tunnel.public_key = (*secret != [0; 32]).then(|| Secret::new(*secret).public_key());
        }
        "listen_port" => tunnel.listen_port = number(key, value)?,
        "fwmark" => tunnel.fwmark = number(key, value)?,
        _ => {}
    }
    Ok(())
}

fn read_peer(peer: &mut PeerView, key: &str, value: &str, now: SystemTime) -> Result<(), UapiError> {
    match key {
        "preshared_key" => peer.has_preshared_key = *bytes(key, value)? != [0; 32],
        "endpoint" => peer.endpoint = Some(number::<SocketAddr>(key, value)?),
        "persistent_keepalive_interval" => peer.persistent_keepalive_secs = number(key, value)?,
        "tx_bytes" => peer.tx_bytes = number(key, value)?,
        "rx_bytes" => peer.rx_bytes = number(key, value)?,
        "last_handshake_time_sec" => peer.last_handshake_secs_ago = secs_ago(number(key, value)?, now),
        "allowed_ip" => peer.allowed_ips.push(number::<IpNetwork>(key, value)?),
        _ => {}
    }
    Ok(())
}

/// How long ago this second of the epoch was; 0 is never.
pub(super) fn secs_ago(epoch_secs: u64, now: SystemTime) -> Option<u64> {
    let now_secs = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    (epoch_secs != 0).then(|| now_secs.saturating_sub(epoch_secs))
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, UapiError> {
    value.parse().map_err(|_| UapiError::Malformed(key.to_owned()))
}

/// The 32 bytes of a key in hexadecimal.
fn bytes(key: &str, value: &str) -> Result<Zeroizing<[u8; 32]>, UapiError> {
    let malformed = || UapiError::Malformed(key.to_owned());
    let mut bytes = Zeroizing::new([0; 32]);
    if value.len() != 64 || !value.is_ascii() {
        return Err(malformed());
    }
    for (position, byte) in bytes.iter_mut().enumerate() {
        let digits = &value[2 * position..2 * position + 2];
        *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
    const PEER: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";

    fn answer(peer_lines: &str) -> String {
        format!(
            "private_key={PRIVATE}\nlisten_port=12912\nfwmark=7\npublic_key={PEER}\n{peer_lines}errno=0\n\n"
        )
    }

    #[test]
    fn every_key_of_an_answer_is_read() {
        let text = answer(&format!(
            "preshared_key={PRIVATE}\nendpoint=[abcd:23::33%2]:51820\nallowed_ip=192.168.4.4/32\n\
             allowed_ip=fd00::/64\ntx_bytes=38333\nrx_bytes=2224\npersistent_keepalive_interval=111\n\
             last_handshake_time_sec=1000\nlast_handshake_time_nsec=51820\nprotocol_version=1\n"
        ));
        let tunnel = parse(&text, UNIX_EPOCH + Duration::from_secs(1007)).unwrap();
        let own = x25519_dalek::StaticSecret::from(*bytes("", PRIVATE).unwrap());
        let public = PublicKey(x25519_dalek::PublicKey::from(&own).to_bytes());
        assert_eq!((tunnel.listen_port, tunnel.fwmark, tunnel.public_key), (12912, 7, Some(public)));
        let peer = &tunnel.peers[0];
        assert_eq!(peer.public_key, PublicKey(*bytes("", PEER).unwrap()));
        assert_eq!(peer.endpoint, "[abcd:23::33%2]:51820".parse().ok());
        assert_eq!((peer.tx_bytes, peer.rx_bytes), (38333, 2224));
        assert_eq!((peer.persistent_keepalive_secs, peer.last_handshake_secs_ago), (111, Some(7)));
        assert_eq!(peer.allowed_ips.len(), 2);
        assert!(peer.has_preshared_key);
    }

    #[test]
    fn what_never_happened_is_said_so() {
        let text = answer(&format!("preshared_key={}\nlast_handshake_time_sec=0\n", "0".repeat(64)));
        let tunnel = parse(&text, SystemTime::now()).unwrap();
        assert_eq!(tunnel.peers[0].last_handshake_secs_ago, None);
        assert!(!tunnel.peers[0].has_preshared_key);
    }

    #[test]
    fn no_secret_is_in_a_value_or_an_error() {
        let text = answer(&format!("preshared_key={PRIVATE}\n"));
        let tunnel = parse(&text, SystemTime::now()).unwrap();
        let shown = format!("{tunnel:?} {}", serde_json::to_string(&tunnel).unwrap());
        assert!(!shown.contains(&PRIVATE[..16]));
        let spoilt = format!("private_key={PRIVATE}0\nerrno=0\n\n");
        assert_eq!(parse(&spoilt, UNIX_EPOCH).unwrap_err().to_string(), "malformed answer: `private_key`");
    }

    #[test]
    fn refusals_and_cut_answers_are_errors() {
        assert!(matches!(parse("errno=1\n\n", UNIX_EPOCH), Err(UapiError::Refused(1))));
        assert!(read_answer(&mut &b"listen_port=1\n"[..]).is_err());
        assert!(read_answer(&mut &b"listen_port=1\nerrno=0\n\n"[..]).is_ok());
    }
}
