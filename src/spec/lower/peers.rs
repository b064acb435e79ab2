//! Peers: which interface of the file each one is, and what follows from that.
//!
//! A peer that is an interface of the file needs nothing else said: its key and port are known, its addresses are
//! what it may send, and if both tunnels have the same underlay, it is reached over the loopback there.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::names::Names;
use super::scope::{Scope, tunnel};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, Endpoint, Host, Key, Peer, Prefix, Preshared, SecretName};
use crate::spec::fields::{listed, nearest};
use crate::spec::report::Report;
use crate::spec::words::{self, PeerWord};

/// What a peer's word says of an interface: `DOMAIN/IF`, or `IF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Called<'w> {
    pub(super) domain: Option<DomainId>,
    pub(super) interface: &'w str,
}

impl<'w> Called<'w> {
    /// What the word says; nothing if it is of no domain of the file.
    pub(super) fn by(word: &'w str, names: &Names) -> Option<Self> {
        match word.split_once('/') {
            Some((domain, interface)) => Some(Self { domain: Some(names.known(domain)?), interface }),
            None => Some(Self { domain: None, interface: word }),
        }
    }
}

/// A peer of the tunnel at `end`; `None` if it is nobody, which is reported.
pub(super) fn lower(
    end: &End,
    words: &words::Peer,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<(Key, Peer)> {
    let (key, endpoint, usual, whole) = match &words.who {
        PeerWord::Unknown => return None,
        PeerWord::Foreign(key) => (Key::Public(key.value), None, None, true),
        PeerWord::InFile => {
            let other = find(end, words, scope, report)?;
            check_pair(end, &other, words, scope, report);
            let endpoint = loopback_of(end, &other, scope);
            let addresses = own_prefixes(&other, scope);
            let whole = scope.is_whole(other.domain);
            (Key::Of(other), endpoint, Some(addresses), whole)
        }
    };
    if whole {
        check_prefixes(words, usual.as_ref(), report);
    }
    let given =
        words.allowed_ips.as_ref().map(|list| list.iter().map(|p| Prefix::containing(p.value)).collect());
    let preshared = words.preshared_key_file.as_ref();
    let peer = Peer {
        name: Some(words.word.value.clone()),
        endpoint: words.endpoint.as_ref().map(|endpoint| endpoint.value.clone()).or(endpoint),
        allowed_ips: given.or(usual).unwrap_or_default(),
        preshared_key: preshared
            .map(|_| Preshared::Of(SecretName::PresharedKey(end.clone(), words.word.value.clone()))),
        persistent_keepalive_secs: words.persistent_keepalive_secs,
    };
    Some((key, peer))
}

/// Where the file allows a peer this prefix; the peer itself where it follows from its addresses.
pub(super) fn place_of(prefix: Prefix, words: &words::Peer) -> Place {
    let mut given = words.allowed_ips.iter().flatten();
    given.find(|p| Prefix::containing(p.value) == prefix).map_or(words.word.place, |placed| placed.place)
}

/// The tunnel that the word names: `DOMAIN/IF`, or `IF` if the file has only one of that name.
fn find(end: &End, words: &words::Peer, scope: &Scope<'_>, report: &mut Report) -> Option<End> {
    let (word, place) = (words.word.value.as_str(), words.word.place);
    let Some(called) = Called::by(word, &scope.names) else {
        let domain = word.split('/').next().unwrap_or(word);
        if !scope.names.is_broken(domain) {
            report.push(scope.names.unknown(domain, place));
        }
        return None;
    };
    let matching = scope.called(&called);
    match matching[..] {
        [] if scope.all_named() => report.push(nobody(end, words, scope)),
        [] => {}
        [only] if only == end => report.push(
            Diagnostic::error(place, format!("`{word}` is a peer of itself"))
                .help("name the interface at the other end of the tunnel"),
        ),
        [only] if tunnel(scope.interfaces[only]).is_some() => return Some(only.clone()),
        [only] if scope.is_whole(only.domain) => report.push(
            Diagnostic::error(place, format!("`{}` is no WireGuard interface", scope.names.end(only)))
                .related(scope.interfaces[only].name.place, "this interface")
                .help("give it `wireguard: {}`, or name another one"),
        ),
        [_] => {}
        [..] => {
            let words: Vec<String> = matching.iter().map(|end| scope.names.end(end)).collect();
            let message = format!("`{word}` could be any of {}", listed(&words));
            let other = matching.iter().find(|&&other| other != end).unwrap_or(&end);
            let help = format!("write `{}`", scope.names.end(other));
            report.push(Diagnostic::error(place, message).help(help));
        }
    }
    None
}

fn nobody(end: &End, words: &words::Peer, scope: &Scope<'_>) -> Diagnostic {
    let word = words.word.value.as_str();
    let others = scope.tunnels().map(|(other, _)| other).filter(|&other| other != end);
    let known: Vec<String> = others.map(|other| scope.names.end(other)).collect();
    let bare = known.iter().map(|name| name.rsplit('/').next().unwrap_or(name));
    let near = match word.contains('/') {
        true => nearest(word, known.iter().map(String::as_str)),
        false => nearest(word, bare),
    };
    let diagnostic =
        Diagnostic::error(words.word.place, format!("peer `{word}` is no interface of this file"));
    match near {
        Some(near) => diagnostic.help(format!("write `{near}`, or give it a `public_key`")),
        None if known.is_empty() => diagnostic.help("give it a `public_key`"),
        None => diagnostic.help(format!("give it a `public_key`, or name one of {}", listed(&known))),
    }
}

/// The other side must know this one, agree on a preshared key, and one of the two must know where the other is.
fn check_pair(end: &End, other: &End, words: &words::Peer, scope: &Scope<'_>, report: &mut Report) {
    let Some(theirs) = scope.interfaces.get(other).and_then(|interface| tunnel(interface)) else { return };
    let (this, that) = (scope.names.end(end), scope.names.end(other));
    let Some(back) = scope.peer(other, end) else {
        if scope.is_whole(other.domain)
            && !theirs.peers.iter().any(|peer| matches!(peer.who, PeerWord::Foreign(_)))
        {
            let message = format!("`{that}` does not have `{this}` as a peer");
            let warning = Diagnostic::warning(words.word.place, message).label("nobody will answer");
            report.push(warning.help(format!("add `{this}: {{}}` to the peers of `{that}`")));
        }
        return;
    };
    if words.preshared_key_file.is_some() && back.preshared_key_file.is_none() {
        let message = format!("only one side of `{this}` and `{that}` has a preshared key");
        report.push(
            Diagnostic::warning(words.word.place, message)
                .related(back.word.place, "none here")
                .help("write `preshared_key_file` on both sides"),
        );
    }
    let endpoints = words.endpoint.is_some() || back.endpoint.is_some();
    let apart = underlays(end, other, scope).is_some_and(|(ours, theirs)| ours != theirs);
    if apart && !endpoints && end < other {
        let message = format!("neither `{this}` nor `{that}` knows where the other is");
        report.push(
            Diagnostic::warning(words.word.place, message)
                .related(back.word.place, "no endpoint here either")
                .help("their underlays differ: write `endpoint: ADDRESS` on one side"),
        );
    }
}

fn loopback_of(end: &End, other: &End, scope: &Scope<'_>) -> Option<Endpoint> {
    let (ours, theirs) = underlays(end, other, scope)?;
    let host = Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
    (ours == theirs).then_some(Endpoint { host, port: None })
}

fn underlays(end: &End, other: &End, scope: &Scope<'_>) -> Option<(DomainId, DomainId)> {
    let underlay = |end: &End| scope.underlay(tunnel(scope.interfaces.get(end)?)?);
    Some((underlay(end)?, underlay(other)?))
}

fn own_prefixes(other: &End, scope: &Scope<'_>) -> BTreeSet<Prefix> {
    let addresses = scope.interfaces.get(other).map(|interface| interface.addresses.as_slice());
    addresses.unwrap_or_default().iter().map(|address| Prefix::host(address.value.ip())).collect()
}

fn check_prefixes(words: &words::Peer, usual: Option<&BTreeSet<Prefix>>, report: &mut Report) {
    let Some(given) = &words.allowed_ips else {
        if usual.is_none_or(BTreeSet::is_empty) {
            let message = format!("peer `{}` has no allowed_ips", words.word.value);
            let warning =
                Diagnostic::warning(words.word.place, message).label("no packet goes to it or comes from it");
            report.push(warning.help("write `allowed_ips: [PREFIX]`"));
        }
        return;
    };
    for placed in given {
        let prefix = Prefix::containing(placed.value);
        if prefix.address() != placed.value.ip() {
            let message = format!("{} has bits set to the right of its length", placed.value);
            let warning = Diagnostic::warning(placed.place, message).label(format!("taken as {prefix}"));
            report.push(warning.help(format!("write `{prefix}`, or `{}` for one host", placed.value.ip())));
        }
    }
}
