//! Names of interfaces in the namespace that the default domain shares with every domain of `isolation: vrf`.
//!
//! A kernel has each name once in a namespace, and a file may have it in each domain. Of those that want one name there
//! the domain of the lowest number has it, and any other gets the number behind it: `eth0` of domain 2 is `eth0-2`. So
//! the network that a file describes has the kernel's names, as ip(8) and every view show them, while the file's own
//! words, its tests and steps included, mean what they say.

use std::collections::{BTreeMap, BTreeSet};

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{
    Domain, DomainId, End, Interface, InterfaceName, Isolation, Key, Kind, Network, Object, Peer, Preshared,
    Route, Rule, SecretName, Target, WireGuard,
};
use crate::spec::report::Report;
use crate::spec::test::{Action, Assertion, Test, Turn};
use crate::spec::{Lowered, Origins};

/// What the kernel calls the interfaces that it cannot call as the file does.
#[derive(Debug, Default)]
pub(super) struct Renamed(BTreeMap<End, InterfaceName>);

impl Renamed {
    /// Finds a name for each; reports those that there is none for, and notes the others.
    pub(super) fn of(scope: &Scope<'_>, report: &mut Report) -> Self {
        let together = |end: &&End| scope.is_in_default_namespace(end.domain);
        let mut taken: BTreeSet<InterfaceName> =
            scope.ends.keys().filter(together).map(|end| end.interface.clone()).collect();
        taken.extend(devices(scope));
        let mut first: BTreeMap<&InterfaceName, (&End, Place)> = BTreeMap::new();
        let mut renamed = BTreeMap::new();
        for (end, &place) in scope.ends.iter().filter(|(end, _)| together(end)) {
            let Some(&holder) = first.get(&end.interface) else {
                first.insert(&end.interface, (end, place));
                continue;
            };
            let numbered = format!("{}-{}", end.interface, end.domain);
            match InterfaceName::new(numbered).ok().filter(|name| taken.insert(name.clone())) {
                Some(name) => drop(renamed.insert(end.clone(), name)),
                None => report.push(clash(end, place, holder, scope)),
            }
        }
        note(&renamed, scope, report);
        Self(renamed)
    }

    /// Calls everything as the kernel will.
    pub(super) fn apply(&self, lowered: &mut Lowered) {
        if self.0.is_empty() {
            return;
        }
        self.network(&mut lowered.network);
        self.origins(&mut lowered.origins);
        let secrets = std::mem::take(&mut lowered.secrets).into_iter();
        lowered.secrets = secrets.map(|(name, path)| (self.secret(name), path)).collect();
        lowered.tests.iter_mut().for_each(|test| self.test(test));
        for turn in &mut lowered.steps {
            match turn {
                Turn::Test(test) => self.test(test),
                Turn::Act(act) => self.action(&mut act.action),
            }
        }
    }

    fn name(&self, domain: DomainId, name: &mut InterfaceName) {
        if let Some(other) = self.0.get(&End { domain, interface: name.clone() }) {
            other.clone_into(name);
        }
    }

    fn end(&self, end: &mut End) {
        self.name(end.domain, &mut end.interface);
    }

    fn network(&self, network: &mut Network) {
        for (&id, domain) in &mut network.domains {
            self.domain(id, domain);
        }
    }

    fn domain(&self, id: DomainId, domain: &mut Domain) {
        for (mut name, mut interface) in std::mem::take(&mut domain.interfaces) {
            self.name(id, &mut name);
            self.interface(id, &mut interface);
            domain.interfaces.insert(name, interface);
        }
        for routes in domain.rtables.values_mut().chain([&mut domain.routes]) {
            *routes = std::mem::take(routes).into_iter().map(|route| self.route(id, route)).collect();
        }
        domain.rules =
            std::mem::take(&mut domain.rules).into_iter().map(|rule| self.rule(id, rule)).collect();
        let sysctls = std::mem::take(&mut domain.sysctls).into_iter();
        domain.sysctls = sysctls
            .map(|(name, value)| match name.interface() {
                Some(mut interface) => {
                    self.name(id, &mut interface);
                    (name.of(&interface), value)
                }
                None => (name, value),
            })
            .collect();
    }

    fn interface(&self, id: DomainId, interface: &mut Interface) {
        interface.controller.iter_mut().for_each(|controller| self.name(id, controller));
        match &mut interface.kind {
            Kind::Veth { peer: end } | Kind::Vlan { parent: end, .. } | Kind::Macvlan { parent: end } => {
                self.end(end);
            }
            Kind::WireGuard(tunnel) => self.tunnel(tunnel),
            Kind::Loopback | Kind::Bridge | Kind::Vrf { .. } | Kind::Dummy => {}
            Kind::Vxlan(_) | Kind::Physical { .. } | Kind::Existing => {}
        }
    }

    fn tunnel(&self, tunnel: &mut WireGuard) {
        self.key(&mut tunnel.key);
        for (mut key, mut peer) in std::mem::take(&mut tunnel.peers) {
            self.key(&mut key);
            self.peer(&mut peer);
            tunnel.peers.insert(key, peer);
        }
    }

    fn key(&self, key: &mut Key) {
        match key {
            Key::Of(end) => self.end(end),
            Key::Public(_) => {}
        }
    }

    fn peer(&self, peer: &mut Peer) {
        peer.preshared_key = match peer.preshared_key.take() {
            Some(Preshared::Of(name)) => Some(Preshared::Of(self.secret(name))),
            other @ (Some(Preshared::Known(_)) | None) => other,
        };
    }

    fn secret(&self, mut name: SecretName) -> SecretName {
        match &mut name {
            SecretName::PrivateKey(end) | SecretName::PresharedKey(end, _) => self.end(end),
        }
        name
    }

    fn route(&self, id: DomainId, mut route: Route) -> Route {
        match &mut route.target {
            Target::Unicast { dev, .. } => self.name(id, dev),
            Target::Multipath { hops, .. } => hops.iter_mut().for_each(|hop| self.name(id, &mut hop.dev)),
            Target::Blackhole | Target::Unreachable | Target::Prohibit => {}
        }
        route
    }

    fn rule(&self, id: DomainId, mut rule: Rule) -> Rule {
        rule.selector.iif.iter_mut().for_each(|iif| self.name(id, iif));
        rule
    }

    fn origins(&self, origins: &mut Origins) {
        origins.rename(|object| match object {
            Object::Interface(end) | Object::Address(end, _) | Object::Peer(end, _) => self.end(end),
            Object::Sysctl(id, name) => {
                if let Some(mut interface) = name.interface() {
                    self.name(*id, &mut interface);
                    *name = name.of(&interface);
                }
            }
            Object::Domain(_) | Object::Route(..) | Object::Rule(..) => {}
        });
    }

    fn test(&self, test: &mut Test) {
        let Some(id) = test.inside else { return };
        match &mut test.assertion {
            Assertion::Handshake { tunnel, .. } | Assertion::Counter { tunnel, .. } => self.name(id, tunnel),
            Assertion::Route { way, .. } => way.dev.iter_mut().for_each(|dev| self.name(id, dev)),
            Assertion::Ping { .. } | Assertion::Tcp { .. } | Assertion::Udp { .. } => {}
            Assertion::Http { .. } | Assertion::Dns { .. } | Assertion::Path { .. } => {}
            Assertion::Mtu { .. } | Assertion::Socket { .. } | Assertion::Isolated { .. } => {}
            Assertion::Exec { .. } => {}
        }
    }

    fn action(&self, action: &mut Action) {
        match action {
            Action::Cut(end) | Action::Restore(end) => self.end(end),
            Action::Move { tunnel: end, .. } | Action::Set { link: end, .. } => self.end(end),
            Action::Kill(_) | Action::Start(_) | Action::Wait(_) | Action::Apply(_) => {}
        }
    }
}

/// The VRF devices of that namespace.
fn devices(scope: &Scope<'_>) -> impl Iterator<Item = InterfaceName> {
    let guests = scope.domains.iter().filter(|(id, _)| scope.isolation(*id) == Isolation::Vrf);
    guests.map(|&(id, _)| InterfaceName::of_vrf(id))
}

fn clash(end: &End, place: Place, (holder, first): (&End, Place), scope: &Scope<'_>) -> Diagnostic {
    let longest = 15usize.saturating_sub(format!("-{}", end.domain).len());
    Diagnostic::error(place, format!("two interfaces `{}` in one namespace", end.interface))
        .label(format!("`{}`", scope.names.end(end)))
        .related(first, format!("`{}`", scope.names.end(holder)))
        .help(format!(
            "with `isolation: vrf` domains share names with the default domain, and `{}-{}` is taken or too long: \
             rename one, to at most {longest} letters",
            end.interface, end.domain
        ))
}

fn note(renamed: &BTreeMap<End, InterfaceName>, scope: &Scope<'_>, report: &mut Report) {
    let Some(place) = renamed.keys().find_map(|end| scope.ends.get(end)) else { return };
    let called: Vec<_> =
        renamed.iter().map(|(end, name)| format!("`{}` is `{name}`", scope.names.end(end))).collect();
    report.push(
        Diagnostic::note(*place, format!("names that the kernel has twice: {}", called.join(", ")))
            .label("with `isolation: vrf` domains share names with the default domain")
            .help("the file's own words go on meaning its own names; views, programs and kept keys go by the kernel's"),
    );
}
