//! Tests and steps: the domains that they name, and the interfaces and peers that they are about.

use super::scope::{Scope, tunnel};
use super::services::{self, Services};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, InterfaceName, ServiceName};
use crate::spec::fields::{listed, nearest};
use crate::spec::report::{Placed, Report};
use crate::spec::test::{Act, Action, Assertion, Test, Turn};
use crate::spec::words::{self, EndWord};

/// One item of `tests`.
pub(super) fn test(words: &words::Test, scope: &Scope<'_>, report: &mut Report) -> Option<Test> {
    let asserted = words.assertion.to_string();
    let inside = match &words.inside {
        Some(word) => Some(scope.names.domain(word, report)?),
        None => None,
    };
    let prefix = words.inside.as_ref().map(|word| format!("{}: ", word.value)).unwrap_or_default();
    let name = words.name.clone().unwrap_or_else(|| format!("{prefix}{asserted}"));
    let assertion = words.assertion.clone().with_domains(|word| scope.names.domain(&word, report))?;
    if let Some(inside) = inside {
        check(&assertion, inside, words.place, scope, report);
    }
    Some(Test { inside, name, asserted, assertion, within: words.within, place: words.place })
}

/// Names of interfaces and peers that are not there.
fn check(assertion: &Assertion, inside: DomainId, place: Place, scope: &Scope<'_>, report: &mut Report) {
    match assertion {
        Assertion::Handshake { tunnel, peer, .. } => {
            let at = End { domain: inside, interface: tunnel.clone() };
            let Some(found) = tunnel_at(&at, place, scope, report) else { return };
            if let Some(peer) = peer {
                check_peer(&Placed::new(peer.clone(), place), found, &at, scope, report);
            }
        }
        Assertion::Counter { tunnel, .. } => {
            let at = End { domain: inside, interface: tunnel.clone() };
            let _ = tunnel_at(&at, place, scope, report);
        }
        Assertion::Route { way, .. } => {
            if let Some(dev) = &way.dev {
                check_interface(&End { domain: inside, interface: dev.clone() }, place, scope, report);
            }
        }
        Assertion::Ping { .. } | Assertion::Tcp { .. } | Assertion::Udp { .. } | Assertion::Http { .. } => {}
        Assertion::Dns { .. } | Assertion::Path { .. } | Assertion::Mtu { .. } | Assertion::Socket { .. } => {
        }
        Assertion::Isolated { .. } | Assertion::Exec { .. } => {}
    }
}

/// One item of `steps`.
pub(super) fn turn(
    words: &words::Step,
    scope: &Scope<'_>,
    services: &Services,
    report: &mut Report,
) -> Option<Turn> {
    match words {
        words::Step::Test(words) => test(words, scope, report).map(Turn::Test),
        words::Step::Act(words) => act(words, scope, services, report).map(Turn::Act),
    }
}

fn act(words: &words::Act, scope: &Scope<'_>, services: &Services, report: &mut Report) -> Option<Act> {
    let mut service = |name: &Placed<ServiceName>| {
        services::check(name, services, scope, report);
        name.value.clone()
    };
    let (text, action) = match &words.action {
        words::Action::Wait(time) => (format!("wait {} ms", time.as_millis()), Action::Wait(*time)),
        words::Action::Cut(word) => (format!("cut {}", text(word)), Action::Cut(end(word, scope, report)?)),
        words::Action::Restore(word) => {
            (format!("restore {}", text(word)), Action::Restore(end(word, scope, report)?))
        }
        words::Action::Set { link, impairment, one_way } => {
            let way = if *one_way { " one way" } else { "" };
            let words = format!("set {}{way}: {impairment}", text(link));
            let link = end_of_link(link, scope, report)?;
            (words, Action::Set { link, impairment: *impairment, one_way: *one_way })
        }
        // Told of where the story goes on with that file.
        words::Action::Apply(_) => return None,
        words::Action::Kill(name) => (format!("kill {name}"), Action::Kill(service(name))),
        words::Action::Start(name) => (format!("start {name}"), Action::Start(service(name))),
        words::Action::Move { tunnel: word, peer, endpoint } => {
            let at = end(word, scope, report)?;
            let found = tunnel_at(&at, word.place, scope, report)?;
            check_peer(peer, found, &at, scope, report);
            let (peer, endpoint) = (peer.value.clone(), *endpoint);
            let text = format!("move {}: {peer} is at {endpoint}", text(word));
            (text, Action::Move { tunnel: at, peer, endpoint })
        }
    };
    Some(Act { text, action, place: words.place })
}

fn text(word: &Placed<EndWord>) -> String {
    format!("{}/{}", word.value.domain, word.value.interface)
}

fn end(word: &Placed<EndWord>, scope: &Scope<'_>, report: &mut Report) -> Option<End> {
    let domain = scope.names.domain(&Placed::new(word.value.domain.clone(), word.place), report)?;
    let at = End { domain, interface: word.value.interface.clone() };
    check_interface(&at, word.place, scope, report);
    Some(at)
}

fn end_of_link(word: &Placed<EndWord>, scope: &Scope<'_>, report: &mut Report) -> Option<End> {
    let at = end(word, scope, report)?;
    let is_end = scope.links.contains_key(&at);
    if !is_end && scope.links_whole && scope.ends.contains_key(&at) {
        let message = format!("`{}` is no end of a link", text(word));
        report.push(Diagnostic::error(word.place, message).help("only links do something to packets"));
    }
    is_end.then_some(at)
}

fn check_interface(at: &End, place: Place, scope: &Scope<'_>, report: &mut Report) {
    let is_known = scope.ends.contains_key(at) || at.interface.as_str() == "lo";
    if is_known || !scope.is_named(at.domain) {
        return;
    }
    let known = scope.ends.keys().filter(|end| end.domain == at.domain);
    let known: Vec<&InterfaceName> = known.map(|end| &end.interface).collect();
    let message = format!("domain {} has no interface `{}`", scope.names.word(at.domain), at.interface);
    let near = nearest(at.interface.as_str(), known.iter().map(|name| name.as_str()));
    report.push(Diagnostic::error(place, message).help(match near {
        Some(near) => format!("write `{near}`"),
        None => format!("it has {}", listed(&known)),
    }));
}

fn tunnel_at<'a>(
    at: &End,
    place: Place,
    scope: &Scope<'a>,
    report: &mut Report,
) -> Option<&'a words::WireGuard> {
    let found = scope.interfaces.get(at).and_then(|interface| tunnel(interface));
    if found.is_none() && scope.is_named(at.domain) {
        let tunnels = scope.tunnels().map(|(end, _)| end).filter(|end| end.domain == at.domain);
        let known: Vec<_> = tunnels.map(|end| &end.interface).collect();
        let word = scope.names.word(at.domain);
        let message = format!("domain {word} has no tunnel `{}`", at.interface);
        report.push(Diagnostic::error(place, message).help(format!("its tunnels: {}", listed(&known))));
    }
    found
}

fn check_peer(
    peer: &Placed<String>,
    tunnel: &words::WireGuard,
    at: &End,
    scope: &Scope<'_>,
    report: &mut Report,
) {
    let known: Vec<String> = tunnel.peers.iter().map(|peer| peer.word.value.to_string()).collect();
    if known.contains(&peer.value) {
        return;
    }
    let message = format!("{} has no peer `{}`", scope.names.end(at), peer.value);
    report.push(Diagnostic::error(peer.place, message).help(format!("its peers: {}", listed(&known))));
}
