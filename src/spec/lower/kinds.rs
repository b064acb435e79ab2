//! Interfaces that stand on another one, and VXLAN.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use super::{devices, lent};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, Interface, InterfaceName, Kind, Network, Object, Vxlan};
use crate::spec::fields::nearest;
use crate::spec::origins::Origins;
use crate::spec::report::{Placed, Report};
use crate::spec::{values, words};

/// What stands on the interface that a word means; on nothing if there is no such interface, which is reported.
pub(super) fn on_parent(
    end: &End,
    word: &Placed<String>,
    scope: &Scope<'_>,
    report: &mut Report,
    kind: impl FnOnce(End) -> Kind,
) -> Kind {
    match parent(end, word, scope, report) {
        Some(parent) => {
            check_carries_frames(&parent, word, scope, report);
            lent::check_at_home(&parent, word.place, scope, report);
            check_ends(end, word, scope, report);
            kind(parent)
        }
        None => Kind::Existing,
    }
}

fn parent(end: &End, word: &Placed<String>, scope: &Scope<'_>, report: &mut Report) -> Option<End> {
    let (domain, interface) = match word.value.split_once('/') {
        Some((domain, interface)) => {
            (scope.names.domain(&Placed::new(domain.to_owned(), word.place), report)?, interface)
        }
        None => (end.domain, word.value.as_str()),
    };
    let interface = match values::any_interface_name(interface) {
        Ok(name) => name,
        Err(trouble) => {
            report.push(trouble.at(word.place));
            return None;
        }
    };
    let parent = End { domain, interface };
    let is_loopback = parent.interface == InterfaceName::loopback();
    if scope.ends.contains_key(&parent) || (domain.is_default() && !is_loopback) {
        return Some(parent);
    }
    if is_loopback || scope.is_named(domain) {
        report.push(no_parent(word, &parent, scope));
    }
    None
}

fn no_parent(word: &Placed<String>, parent: &End, scope: &Scope<'_>) -> Diagnostic {
    let name = parent.interface.as_str();
    if parent.interface == InterfaceName::loopback() {
        return Diagnostic::error(word.place, "nothing can stand on `lo`")
            .help("name an interface that carries Ethernet frames");
    }
    let message = format!("no interface `{name}` in domain {}", scope.names.word(parent.domain));
    let diagnostic = Diagnostic::error(word.place, message).label("the parent");
    let elsewhere = scope.ends.keys().find(|end| end.interface == parent.interface);
    match (elsewhere, nearest(name, devices::of(parent.domain, scope))) {
        (Some(other), _) => diagnostic.help(format!("write `{}`", scope.names.end(other))),
        (None, Some(near)) => diagnostic.help(format!("write `{near}`")),
        (None, None) => diagnostic.help(format!("write `0/{name}` for an interface of the default domain")),
    }
}

fn check_carries_frames(parent: &End, word: &Placed<String>, scope: &Scope<'_>, report: &mut Report) {
    let kind = scope.interfaces.get(parent).and_then(|words| words.kind.as_ref());
    if let Some(words::Kind::WireGuard(_)) = kind.map(|kind| &kind.value) {
        let message = format!("nothing can stand on `{}`", scope.names.end(parent));
        report.push(
            Diagnostic::error(word.place, message)
                .label("a WireGuard interface carries packets, not Ethernet frames")
                .help("name an interface that carries Ethernet frames"),
        );
    }
}

/// Going from parent to parent must end; of interfaces that stand on each other the first one is reported.
fn check_ends(end: &End, word: &Placed<String>, scope: &Scope<'_>, report: &mut Report) {
    let mut seen = BTreeSet::from([end.clone()]);
    let mut next = parent_of(end, scope);
    while let Some(parent) = next {
        if &parent == end && seen.first() == Some(end) {
            let message = format!("`{}` stands on itself", scope.names.end(end));
            let through: Vec<_> = seen.iter().filter(|other| *other != end).collect();
            let diagnostic = Diagnostic::error(word.place, message);
            report.push(match through[..] {
                [] => diagnostic.help("name the interface whose frames it takes"),
                [other, ..] => diagnostic.help(format!("`{}` stands on it too", scope.names.end(other))),
            });
        }
        if !seen.insert(parent.clone()) {
            return;
        }
        next = parent_of(&parent, scope);
    }
}

fn parent_of(end: &End, scope: &Scope<'_>) -> Option<End> {
    let word = match &scope.interfaces.get(end)?.kind.as_ref()?.value {
        words::Kind::Vlan { parent, .. } | words::Kind::Macvlan { parent } => parent,
        words::Kind::WireGuard(_) | words::Kind::Bridge { .. } | words::Kind::Dummy => return None,
        words::Kind::Vxlan(_) | words::Kind::Physical { .. } | words::Kind::Unknown => return None,
    };
    let (domain, interface) = match word.value.split_once('/') {
        Some((domain, interface)) => (scope.names.known(domain)?, interface),
        None => (end.domain, word.value.as_str()),
    };
    Some(End { domain, interface: InterfaceName::new(interface).ok()? })
}

/// A VXLAN interface.
pub(super) fn vxlan(words: &words::Vxlan, scope: &Scope<'_>, report: &mut Report) -> Kind {
    if let Some(word) = &words.underlay {
        scope.names.domain(word, report);
    }
    Kind::Vxlan(Vxlan {
        id: words.id.value,
        underlay: scope.underlay_called(words.underlay.as_ref()).unwrap_or(DomainId::DEFAULT),
        local: words.local,
        remote: words.remote,
        port: words.port,
    })
}

/// One tag of an interface is one vlan's.
pub(super) fn check_tags(scope: &Scope<'_>, report: &mut Report) {
    let mut taken: BTreeMap<(End, u16), Place> = BTreeMap::new();
    for (end, words) in &scope.interfaces {
        let Some(words::Kind::Vlan { id, .. }) = words.kind.as_ref().map(|kind| &kind.value) else {
            continue;
        };
        let Some(parent) = parent_of(end, scope) else { continue };
        let message = format!("vlan {} is twice on `{}`", id.value, scope.names.end(&parent));
        match taken.get(&(parent.clone(), id.value)) {
            Some(&first) => report.push(
                Diagnostic::error(id.place, message)
                    .label("again here")
                    .related(first, "first here")
                    .help("write another `id`"),
            ),
            None => {
                taken.insert((parent, id.value), id.place);
            }
        }
    }
}

/// In one namespace a number and a port are one VXLAN's for each family (drivers/net/vxlan, `vxlan_config_validate`).
pub(super) fn check_numbers(scope: &Scope<'_>, report: &mut Report) {
    let mut taken: BTreeMap<(DomainId, u32, u16, bool), Place> = BTreeMap::new();
    for words in scope.interfaces.values() {
        let Some(words::Kind::Vxlan(vxlan)) = words.kind.as_ref().map(|kind| &kind.value) else { continue };
        let Some(underlay) = scope.underlay_called(vxlan.underlay.as_ref()) else { continue };
        let namespace = if scope.is_in_default_namespace(underlay) { DomainId::DEFAULT } else { underlay };
        let is_ipv6 = vxlan.remote.or(vxlan.local).is_some_and(|address| address.is_ipv6());
        let key = (namespace, vxlan.id.value, vxlan.port, is_ipv6);
        match taken.get(&key) {
            Some(&first) => report.push(
                Diagnostic::error(
                    vxlan.id.place,
                    format!("vxlan {} is twice in one namespace", vxlan.id.value),
                )
                .label("its sockets are in that of its `underlay`")
                .related(first, "first here")
                .help("write another `id` or `port`, or give the underlays namespaces of their own"),
            ),
            None => {
                taken.insert(key, vxlan.id.place);
            }
        }
    }
}

/// Adds the interfaces of the default domain that others stand on and that the file does not list: they must exist.
pub(super) fn add_parents(scope: &Scope<'_>, network: &mut Network, origins: &mut Origins) {
    for (end, words) in &scope.interfaces {
        let Some(parent) = parent_of(end, scope).filter(|parent| parent.domain.is_default()) else {
            continue;
        };
        let Some(domain) = network.domains.get_mut(&parent.domain) else { continue };
        domain.interfaces.entry(parent.interface.clone()).or_insert_with(|| {
            origins.add(Object::Interface(parent), words.name.place);
            Interface::new(Kind::Existing)
        });
    }
}
