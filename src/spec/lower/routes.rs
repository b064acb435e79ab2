//! Routes: by which interface each one leaves, and whether its gateway can be reached at all.
//!
//! A gateway must lie in a network that is on a link, by an address or by a route without a gateway; where several
//! hold it, the longest wins (RFC 1812, 5.2.4.3). In the default domain interfaces may have addresses that the
//! file does not know of, so there a route with a gateway names its interface.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::devices;
use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, Hop, InterfaceName, Object, Prefix, Route, RtableId, Target};
use crate::spec::origins::Origins;
use crate::spec::report::{Placed, Report};
use crate::spec::words::{self, Dropped};

/// The routes of a domain's own rtable, and of its further ones.
pub(super) fn lower(
    id: DomainId,
    domain: &words::Domain,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> (BTreeSet<Route>, BTreeMap<RtableId, BTreeSet<Route>>) {
    let mut surroundings = Surroundings::of(id, domain, scope);
    let own = table(id.into(), &domain.routes, &surroundings, origins, report);
    let connected = surroundings.connected.len();
    let mut further = BTreeMap::new();
    for words in &domain.rtables {
        let number = words.number.value;
        surroundings.connected.truncate(connected);
        surroundings.connected.extend(words.routes.iter().filter_map(|route| on_link(&route.value)));
        further.insert(number, table(number, &words.routes, &surroundings, origins, report));
    }
    (own, further)
}

/// The routes of one rtable.
fn table(
    rtable: RtableId,
    words: &[Placed<words::Route>],
    surroundings: &Surroundings<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> BTreeSet<Route> {
    let id = surroundings.id;
    let mut first: BTreeMap<(Prefix, u32), Place> = BTreeMap::new();
    let mut routes = BTreeSet::new();
    for Placed { value: words, place } in words {
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
                origins.add(Object::Route(id, rtable, words.to.value, metric), *place);
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
    scope: &'a Scope<'a>,
    id: DomainId,
    word: String,
    is_default: bool,
    /// Whether everything that could be here is known.
    whole: bool,
    addresses: BTreeSet<IpAddr>,
    /// What is on a link, and by which interface.
    connected: Vec<(Prefix, InterfaceName)>,
}

impl<'a> Surroundings<'a> {
    fn of(id: DomainId, domain: &'a words::Domain, scope: &'a Scope<'a>) -> Self {
        let listed = domain.interfaces.iter();
        let own =
            listed.clone().flat_map(|interface| &interface.addresses).chain(domain.loopback.iter().flatten());
        let mut connected: Vec<_> = listed.flat_map(networks).collect();
        connected.extend(domain.routes.iter().filter_map(|route| on_link(&route.value)));
        Self {
            scope,
            id,
            word: scope.names.word(id),
            is_default: id.is_default(),
            whole: scope.is_whole(id),
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
        let src = words.src.as_ref().map(|src| src.value);
        if !words.hops.is_empty() {
            let hops: Vec<_> = words.hops.iter().map(|hop| self.hop(hop, report)).collect();
            let hops = hops.into_iter().collect::<Option<_>>()?;
            return Some(Target::Multipath { hops, src });
        }
        let checked = words.via.as_ref().filter(|_| !words.onlink);
        let dev = self.device(words.dev.as_ref(), words.via.as_ref(), checked, report)?;
        Some(Target::Unicast { via: words.via.as_ref().map(|via| via.value), dev, src, onlink: words.onlink })
    }

    fn hop(&self, words: &words::Hop, report: &mut Report) -> Option<Hop> {
        let via = words.via.as_ref();
        let dev = self.device(words.dev.as_ref(), via, via, report)?;
        Some(Hop { via: via.map(|via| via.value), dev, weight: words.weight })
    }

    /// The interface that is named, or else that the gateway is on; `checked` is the gateway if it must be on it.
    fn device(
        &self,
        dev: Option<&Placed<InterfaceName>>,
        via: Option<&Placed<IpAddr>>,
        checked: Option<&Placed<IpAddr>>,
        report: &mut Report,
    ) -> Option<InterfaceName> {
        let Some(dev) = dev else { return self.interface_towards(via?, report) };
        devices::check(self.id, dev, self.scope, report);
        if let Some(via) = checked {
            self.check_gateway(via, dev, report);
        }
        Some(dev.value.clone())
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

    fn check_gateway(&self, via: &Placed<IpAddr>, dev: &Placed<InterfaceName>, report: &mut Report) {
        let known = self.whole && !self.is_default && devices::has(self.id, &dev.value, self.scope);
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
