//! WireGuard interfaces: engine, underlay, port, and what the peers of one must not have in common.

use std::collections::BTreeMap;

use super::isolations;
use super::peers;
use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, Engine, Isolation, Key, Object, Peer, Prefix, WireGuard};
use crate::spec::origins::Origins;
use crate::spec::report::Report;
use crate::spec::words;

/// A tunnel with its peers.
pub(super) fn lower(
    end: &End,
    interface: &words::Interface,
    tunnel: &words::WireGuard,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> WireGuard {
    if let Some(word) = &tunnel.underlay {
        scope.names.domain(word, report);
    }
    let engine = engine(tunnel, scope, report);
    let mut peers: BTreeMap<Key, (Peer, Place)> = BTreeMap::new();
    let mut claims: BTreeMap<Prefix, Place> = BTreeMap::new();
    for words in &tunnel.peers {
        let Some((key, peer)) = peers::lower(end, words, scope, report) else { continue };
        origins.add(Object::Peer(end.clone(), words.word.value.clone()), words.word.place);
        claim_prefixes(&peer, words, &mut claims, report);
        match peers.get(&key) {
            Some((first, place)) => report.push(same_key(words, first, *place)),
            None => {
                peers.insert(key, (peer, words.word.place));
            }
        }
    }
    if scope.is_whole(end.domain) {
        check_purpose(interface, tunnel, report);
    }
    WireGuard {
        engine,
        underlay: scope.underlay(tunnel).unwrap_or(DomainId::DEFAULT),
        listen_port: tunnel.listen_port.as_ref().map(|port| port.value),
        key: Key::Of(end.clone()),
        peers: peers.into_iter().map(|(key, (peer, _))| (key, peer)).collect(),
    }
}

/// Only the userspace engine binds its sockets to the VRF of an underlay that is no namespace.
fn engine(tunnel: &words::WireGuard, scope: &Scope<'_>, report: &mut Report) -> Engine {
    let engine = tunnel.engine.unwrap_or(scope.engine);
    let Some(word) = &tunnel.underlay else { return engine };
    let in_vrf = scope.names.known(&word.value).is_some_and(|id| scope.isolation(id) == Isolation::Vrf);
    match engine {
        Engine::Auto if in_vrf => Engine::Userspace,
        Engine::Auto | Engine::Userspace => engine,
        Engine::Kernel => {
            isolations::refuse_kernel_underlay("a tunnel of the kernel engine", word, scope, report);
            engine
        }
    }
}

fn same_key(words: &words::Peer, first: &Peer, place: Place) -> Diagnostic {
    let first = first.name.as_deref().unwrap_or_default();
    Diagnostic::error(words.word.place, format!("peers `{first}` and `{}` are the same", words.word.value))
        .label("the same key again")
        .related(place, "first here")
        .help("an interface has one peer for each public key; remove one of the two")
}

/// A prefix belongs to one peer; wg(8) would take it from the first in silence.
fn claim_prefixes(
    peer: &Peer,
    words: &words::Peer,
    claims: &mut BTreeMap<Prefix, Place>,
    report: &mut Report,
) {
    for &prefix in &peer.allowed_ips {
        let place = peers::place_of(prefix, words);
        match claims.get(&prefix) {
            Some(&first) => report.push(
                Diagnostic::error(place, format!("{prefix} is allowed to two peers"))
                    .label("again here")
                    .related(first, "first here")
                    .help("give each peer prefixes of its own; the longest one that matches wins"),
            ),
            None => {
                claims.insert(prefix, place);
            }
        }
    }
}

/// A tunnel that no packet can use was hardly meant to be one.
fn check_purpose(interface: &words::Interface, tunnel: &words::WireGuard, report: &mut Report) {
    if interface.addresses.is_empty() && tunnel.peers.is_empty() {
        let message = format!("tunnel `{}` has neither addresses nor peers", interface.name.value);
        let warning = Diagnostic::warning(interface.name.place, message);
        report.push(warning.help("write `addresses: [ADDRESS/LENGTH]` and `peers: {DOMAIN/IF: {}}`"));
    }
}

/// Two tunnels cannot listen on one port of one underlay.
pub(super) fn check_ports(scope: &Scope<'_>, report: &mut Report) {
    let mut taken: BTreeMap<(DomainId, u16), (String, Place)> = BTreeMap::new();
    for (end, tunnel) in scope.tunnels() {
        let (Some(underlay), Some(port)) = (scope.underlay(tunnel), &tunnel.listen_port) else { continue };
        match taken.get(&(underlay, port.value)) {
            Some((other, first)) => report.push(
                Diagnostic::error(
                    port.place,
                    format!("port {} is used twice in domain {}", port.value, scope.names.word(underlay)),
                )
                .label(format!("by `{}`", scope.names.end(end)))
                .related(*first, format!("by `{other}`"))
                .help("write another port, or `auto`"),
            ),
            None => {
                taken.insert((underlay, port.value), (scope.names.end(end), port.place));
            }
        }
    }
}
