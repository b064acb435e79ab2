//! What a tunnel's engine says: handshakes and encrypted bytes.

use std::time::Instant;

use super::{Ground, throughout, until};
use crate::model::{DomainId, End, InterfaceName};
use crate::spec::{Growth, Presence};
use crate::status::PeerView;

/// A session older than this is used no more (`REJECT_AFTER_TIME`, WireGuard's paper, 6.1).
const FRESH_SECS: u64 = 180;

pub(super) fn shaken(
    domain: DomainId,
    ground: &Ground,
    tunnel: &InterfaceName,
    peer: Option<&str>,
    expect: Presence,
) -> Option<String> {
    let at = End { domain, interface: tunnel.clone() };
    let view = match ground.tunnel(&at) {
        Ok(view) => view,
        Err(gone) => return Some(gone),
    };
    let is_meant = |view: &&PeerView| peer.is_none_or(|name| view.name.as_deref() == Some(name));
    let mut peers = view.peers.iter().filter(is_meant).peekable();
    match expect {
        Presence::Present if peers.peek().is_none() => Some(match peer {
            Some(peer) => format!("{at} has no peer {peer}"),
            None => format!("{at} has no peers"),
        }),
        Presence::Present => peers.find_map(|peer| (!is_fresh(peer)).then(|| without(peer))),
        Presence::Absent => peers.find_map(|peer| {
            is_fresh(peer).then(|| format!("a handshake with {} {}", word(peer), age(peer)))
        }),
    }
}

fn is_fresh(peer: &PeerView) -> bool {
    peer.last_handshake_secs_ago.is_some_and(|age| age <= FRESH_SECS)
}

fn without(peer: &PeerView) -> String {
    match (peer.last_handshake_secs_ago, peer.tx_bytes) {
        (Some(_), _) => format!("the last handshake with {} {}", word(peer), age(peer)),
        (None, 0) => format!("no handshake with {}, and nothing sent to it that would need one", word(peer)),
        (None, bytes) => format!("no handshake with {}, though {bytes} bytes were sent to it", word(peer)),
    }
}

fn age(peer: &PeerView) -> String {
    format!("was {} s ago", peer.last_handshake_secs_ago.unwrap_or(0))
}

fn word(peer: &PeerView) -> String {
    peer.name.clone().unwrap_or_else(|| peer.public_key.to_string())
}

pub(super) fn counted(
    domain: DomainId,
    ground: &Ground,
    tunnel: &InterfaceName,
    expect: Growth,
    deadline: Instant,
) -> Option<String> {
    let at = End { domain, interface: tunnel.clone() };
    let growth = |wrong: fn(u64, u64) -> bool| match ground.growth(&at) {
        Ok([then, now]) => wrong(then, now).then(|| format!("{then} bytes then, {now} now")),
        Err(gone) => Some(gone),
    };
    match expect {
        Growth::Grew => until(deadline, |_| growth(|then, now| now <= then)),
        Growth::Still => throughout(deadline, |_| growth(|then, now| now > then)),
    }
}
