//! Routes: by which interface each one leaves, and whether its gateway can be reached at all.
//!
//! A gateway must lie in a network that is on a link, by an address or by a route without a gateway; where several
//! hold it, the longest wins (RFC 1812, 5.2.4.3). In the default domain interfaces may have addresses that the
//! file does not know of, so there a route with a gateway names its interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, InterfaceName, Object, Prefix, Route, Target};
use crate::spec::fields::nearest;
use crate::spec::origins::Origins;
use crate::spec::report::{Placed, Report};
use crate::spec::words::{self, Dropped};

/// The routes of a domain.
pub(super) fn lower(
    id: DomainId,
    domain: &words::Domain,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> BTreeSet<Route> {
    let surroundings = Surroundings::of(id, domain, scope);
    let mut first: BTreeMap<(Prefix, u32), Place> = BTreeMap::new();
    let mut routes = BTreeSet::new();
    for Placed { value: words, place } in &domain.routes {
        let Some(target) = surroundings.target(words, report) else { continue };
        let metric = metric(words);
        match first.get(&(words.to.value, metric)) {
            Some(&other) => report.push(
                Diagnostic::error(*place, format!("two routes to {} with metric {metric}", words.to.value))
                    .label("again here")
                    .related(other, "first here")
                    .help("remove one of the two, or give it another `metric`"),
            ),
            None => {
                first.insert((words.to.value, metric), *place);
                origins.add(Object::Route(id, id.into(), words.to.value, metric), *place);
                routes.insert(Route { to: words.to.value, metric, target });
            }
        }
    }
    routes
}

/// An IPv6 route of metric 0 gets the default one (net/ipv6/route.c, `ip6_route_info_create`).
fn metric(words: &words::Route) -> u32 {
    let default = Route::default_metric(words.to.value);
    match words.metric {
        Some(0) | None => default,
        Some(metric) => metric,
    }
}

/// What the routes of a domain can refer to.
struct Surroundings<'a> {
    word: String,
    is_default: bool,
    /// Whether every interface is known by name.
    named: bool,
    /// Whether everything that could be here is known.
    whole: bool,
    interfaces: BTreeSet<&'a str>,
    addresses: BTreeSet<IpAddr>,
    /// What is on a link, and by which interface.
    connected: Vec<(Prefix, InterfaceName)>,
}

impl<'a> Surroundings<'a> {
    fn of(id: DomainId, domain: &'a words::Domain, scope: &'a Scope<'_>) -> Self {
        let listed = domain.interfaces.iter();
        let joined = scope.links.keys().filter(|end: &&End| end.domain == id);
        let names = listed.clone().map(|interface| interface.name.value.as_str());
        let own =
            listed.clone().flat_map(|interface| &interface.addresses).chain(domain.loopback.iter().flatten());
        let mut connected: Vec<_> = listed.flat_map(networks).collect();
        connected.extend(domain.routes.iter().filter_map(|route| on_link(&route.value)));
        Self {
            word: scope.names.word(id),
            is_default: id.is_default(),
            named: scope.is_named(id),
            whole: scope.is_whole(id),
            interfaces: names.chain(joined.map(|end| end.interface.as_str())).chain(["lo"]).collect(),
            addresses: own.map(|address| address.value.ip()).collect(),
            connected,
        }
    }

    fn target(&self, words: &words::Route, report: &mut Report) -> Option<Target> {
        match words.dropped {
            Some(Dropped::Blackhole) => return Some(Target::Blackhole),
            Some(Dropped::Unreachable) => return Some(Target::Unreachable),
            Some(Dropped::Prohibit) => return Some(Target::Prohibit),
            None => {}
        }
        self.check_source(words, report);
        let dev = match (&words.dev, &words.via) {
            (Some(dev), via) => {
                self.check_interface(dev, report);
                if let Some(via) = via.as_ref().filter(|_| !words.onlink) {
                    self.check_gateway(via, dev, report);
                }
                dev.value.clone()
            }
            (None, Some(via)) => self.interface_towards(via, report)?,
            (None, None) => return None,
        };
        let via = words.via.as_ref().map(|via| via.value);
        Some(Target::Unicast { via, dev, src: words.src.as_ref().map(|src| src.value), onlink: words.onlink })
    }

    fn check_source(&self, words: &words::Route, report: &mut Report) {
        let Some(src) = &words.src else { return };
        if self.whole && !self.is_default && !self.addresses.contains(&src.value) {
            let message = format!("source {} is not an address of domain {}", src.value, self.word);
            report.push(
                Diagnostic::error(src.place, message).help("write an address of one of its interfaces"),
            );
        }
    }

    fn check_interface(&self, dev: &Placed<InterfaceName>, report: &mut Report) {
        let name = dev.value.as_str();
        if self.is_default || !self.named || self.interfaces.contains(name) {
            return;
        }
        let diagnostic =
            Diagnostic::error(dev.place, format!("no interface `{name}` in domain {}", self.word));
        report.push(match nearest(name, self.interfaces.iter().copied()) {
            Some(near) => diagnostic.help(format!("write `{near}`")),
            None => diagnostic.help(format!("add `{name}` to its `interfaces:`, or name it in `links:`")),
        });
    }

    fn check_gateway(&self, via: &Placed<IpAddr>, dev: &Placed<InterfaceName>, report: &mut Report) {
        let known = self.whole && !self.is_default && self.interfaces.contains(dev.value.as_str());
        if !known || is_link_local(via.value) {
            return;
        }
        let there =
            |(prefix, name): &(Prefix, InterfaceName)| prefix.contains(via.value) && name == &dev.value;
        if self.addresses.contains(&via.value) {
            report.push(self.own_gateway(via));
        } else if !self.connected.iter().any(there) {
            let message = format!("gateway {} is not in a network of `{}`", via.value, dev.value);
            let diagnostic = Diagnostic::error(via.place, message).related(dev.place, "the interface");
            report.push(diagnostic.help("write a gateway that is on the link, or add `onlink: true`"));
        }
    }

    /// The interface whose network holds the gateway.
    fn interface_towards(&self, via: &Placed<IpAddr>, report: &mut Report) -> Option<InterfaceName> {
        let holding = self.connected.iter().filter(|(prefix, _)| prefix.contains(via.value));
        let longest = holding.clone().map(|(prefix, _)| prefix.length()).max();
        let best = holding.filter(|(prefix, _)| Some(prefix.length()) == longest).map(|(_, name)| name);
        let best: Vec<&InterfaceName> = best.collect::<BTreeSet<_>>().into_iter().collect();
        match best[..] {
            _ if is_link_local(via.value) => report.push(
                Diagnostic::error(via.place, format!("gateway {} could be on any link", via.value))
                    .help("write `dev: INTERFACE` too"),
            ),
            _ if self.addresses.contains(&via.value) => report.push(self.own_gateway(via)),
            [only] => return Some(only.clone()),
            [] if self.is_default => report.push(
                Diagnostic::error(via.place, format!("no interface of this file reaches gateway {}", via.value))
                    .help("write `dev: INTERFACE` too: the default domain has interfaces that the file does not know"),
            ),
            [] if self.whole => report.push(self.unreached(via)),
            [] => {}
            [one, other, ..] => report.push(
                Diagnostic::error(via.place, format!("gateway {} is on both `{one}` and `{other}`", via.value))
                    .help(format!("write `dev: {one}` or `dev: {other}` too")),
            ),
        }
        None
    }

    fn own_gateway(&self, via: &Placed<IpAddr>) -> Diagnostic {
        let message = format!("gateway {} is an address of domain {} itself", via.value, self.word);
        Diagnostic::error(via.place, message).help("write the address of the next router")
    }

    fn unreached(&self, via: &Placed<IpAddr>) -> Diagnostic {
        let message =
            format!("gateway {} is not reached by any connected network of domain {}", via.value, self.word);
        let networks = self.connected.iter().map(|(prefix, name)| format!("{prefix} on {name}"));
        let networks: Vec<String> = networks.take(4).collect();
        let diagnostic = Diagnostic::error(via.place, message);
        match networks[..] {
            [] => diagnostic.help("give one of its interfaces an address in the gateway's network"),
            [..] => diagnostic.help(format!("its networks: {}", networks.join(", "))),
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn networks(interface: &words::Interface) -> impl Iterator<Item = (Prefix, InterfaceName)> {
    let name = &interface.name.value;
    interface.addresses.iter().map(|address| (Prefix::containing(address.value), name.clone()))
}

/// What a route without a gateway puts on a link.
fn on_link(route: &words::Route) -> Option<(Prefix, InterfaceName)> {
    let dev = route.dev.as_ref().filter(|_| route.via.is_none())?;
    Some((route.to.value, dev.value.clone()))
}
