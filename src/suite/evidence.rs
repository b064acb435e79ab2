//! Looks around where a test has failed: follows the packet that it is about from table to table, through links and
//! tunnels, and keeps what it meets. What cannot be read is left out, for the failure itself is told in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Ground;
use super::wires::Wires;
use crate::backend::linux::view::Which;
use crate::model::{Dns, DomainId, End, InterfaceName, Key, Kind, PublicKey, RtableId};
use crate::spec::{Assertion, Test};
use crate::status::{Evidence, Family, Lookup, RouteGet, RouteTable, SocketTable, StatusView, TunnelStatus};

/// The most lookups, in all.
const LOOKUPS: usize = 16;
/// The most domains whose sockets are shown.
const SOCKET_TABLES: usize = 8;

/// What is to be seen of the network where this test failed.
pub(super) fn of(test: &Test, ground: &Ground) -> Evidence {
    let status = ground.survey.status(&ground.network, Some(&ground.network), String::new()).ok();
    let mut search = Search { ground, status, seen: BTreeSet::new(), evidence: Evidence::default() };
    match (test.inside, &test.assertion) {
        (_, Assertion::Isolated { domains }) => search.between(domains),
        (Some(domain), assertion) => search.about(domain, assertion),
        (None, _) => {}
    }
    Evidence { services: ground.services(), ..search.evidence }
}

/// What is to be seen where a step could not be taken.
pub(super) fn of_step(ground: &Ground) -> Evidence {
    Evidence { services: ground.services(), ..Evidence::default() }
}

struct Search<'g> {
    ground: &'g Ground,
    status: Option<StatusView>,
    /// What has been looked up where.
    seen: BTreeSet<(DomainId, IpAddr)>,
    evidence: Evidence,
}

impl Search<'_> {
    fn about(&mut self, domain: DomainId, assertion: &Assertion) {
        match assertion {
            Assertion::Ping { to, .. } | Assertion::Path { to, .. } | Assertion::Mtu { to, .. } => {
                self.way(domain, Which::Own, *to);
            }
            Assertion::Tcp { to, .. } | Assertion::Udp { to, .. } => self.call(domain, *to),
            Assertion::Http { url, .. } => self.call(domain, url.to),
            Assertion::Route { to, way, .. } => {
                self.way(domain, which(domain, way.rtable), *to);
            }
            Assertion::Socket { port, .. } => {
                self.bound(domain, *port);
            }
            Assertion::Handshake { tunnel, .. } | Assertion::Counter { tunnel, .. } => {
                let at = End { domain, interface: tunnel.clone() };
                for (underlay, endpoint) in self.carriers(&at, |_| true) {
                    self.tables(underlay, Which::Own, endpoint);
                }
                let tunnel = self.ground.network.interface(&at).and_then(|interface| interface.wireguard());
                if let Some((underlay, Some(port))) =
                    tunnel.map(|tunnel| (tunnel.underlay, tunnel.listen_port))
                {
                    self.bound(underlay, port);
                }
            }
            Assertion::Dns { .. } => self.looks_up(domain),
            Assertion::Exec { .. } => self.domain(domain),
            Assertion::Isolated { domains } => self.between(domains),
        }
    }

    /// A domain alone: all of its routes, rules and listeners.
    fn domain(&mut self, domain: DomainId) {
        let survey = &self.ground.survey;
        self.evidence.routes.extend(survey.route_table(domain, Which::Own).map(RouteTable::outward));
        self.rules(domain, Family::Inet);
        self.evidence.sockets.extend(survey.socket_table(domain));
    }

    /// The ways to a domain's name servers, and the domain itself.
    fn looks_up(&mut self, domain: DomainId) {
        let dns = self.ground.network.domains.get(&domain).map(|domain| domain.dns.clone());
        if let Some(Dns::Own(resolver)) = dns {
            for server in resolver.servers {
                self.leave(domain, Which::Own, server);
            }
        }
        self.domain(domain);
    }

    /// The way to an address, and who waits at this port where it ends.
    fn call(&mut self, domain: DomainId, to: SocketAddr) {
        let end = self.way(domain, Which::Own, to.ip());
        self.sockets(&[end], to.port());
    }

    /// Follows a packet, and shows the tables where it begins and where it ends; returns where that is.
    fn way(&mut self, domain: DomainId, which: Which, to: IpAddr) -> DomainId {
        let end = self.leave(domain, which, to);
        self.tables(domain, which, to);
        if end != domain {
            self.tables(end, Which::Own, to);
        }
        end
    }

    fn tables(&mut self, domain: DomainId, which: Which, to: IpAddr) {
        let table = self.ground.survey.route_table(domain, which);
        self.evidence.routes.extend(table.map(|table| table.about(to)));
        self.rules(domain, if to.is_ipv6() { Family::Inet6 } else { Family::Inet });
    }

    fn rules(&mut self, domain: DomainId, family: Family) {
        let rules = self.ground.survey.rules(domain, family).ok();
        self.evidence.rules.extend(rules.filter(|table| !table.rules.is_empty()));
    }

    /// Follows a packet from where it is sent: one to the domain itself goes by its loopback.
    fn leave(&mut self, domain: DomainId, which: Which, to: IpAddr) -> DomainId {
        let first = self.evidence.way.len();
        let end = self.follow(domain, which, to, None);
        let found = self.evidence.way.get(first).and_then(|lookup| lookup.found.as_ref());
        if found.is_some_and(RouteGet::is_local) {
            self.passes(&End { domain, interface: InterfaceName::loopback() });
        }
        end
    }

    /// Looks an address up in domain after domain, as far as the file says where links and tunnels lead; in one that a
    /// packet came into by this interface, if it did.
    fn follow(&mut self, domain: DomainId, which: Which, to: IpAddr, by: Option<&End>) -> DomainId {
        if self.evidence.way.len() >= LOOKUPS || !self.seen.insert((domain, to)) {
            return domain;
        }
        let Ok(found) = self.ground.survey.route_get(domain, which, to) else { return domain };
        let leading = found.as_ref().filter(|found| found.leads_somewhere() && !found.is_local());
        let is_stopped = leading.is_some() && by.is_some_and(|by| !self.ground.forwards(by, to));
        self.evidence.way.push(Lookup { domain: domain.number(), to, found: found.clone(), is_stopped });
        match leading.filter(|_| !is_stopped).and_then(|found| self.next(domain, found)) {
            Some(next) => self.follow(next.domain, Which::Own, to, Some(&next)),
            None => domain,
        }
    }

    /// Where a packet comes into the next domain by a route.
    fn next(&mut self, domain: DomainId, found: &RouteGet) -> Option<End> {
        let at = End { domain, interface: InterfaceName::new(found.route.dev.as_str()).ok()? };
        self.passes(&at);
        let network = &self.ground.network;
        let far = match network.interface(&at)?.wireguard() {
            Some(_) => self.through(&at, found.route_to)?,
            None => Wires::of(network).far_end(&at, found)?,
        };
        self.passes(&far);
        Some(far)
    }

    fn passes(&mut self, at: &End) {
        self.evidence.interfaces.insert(self.ground.end_word(at));
    }

    /// The far end of a tunnel for packets to an address, if it is in the file; shows the tunnel and what carries it.
    fn through(&mut self, at: &End, to: IpAddr) -> Option<End> {
        let (key, far) = Wires::of(&self.ground.network).beyond_tunnel(at, to)?;
        self.carriers(at, |peer| *key == Key::Public(*peer));
        far
    }

    /// The state of a tunnel with some of its peers, and the ways of its encrypted packets; returns where they go to.
    fn carriers(&mut self, at: &End, is_meant: impl Fn(&PublicKey) -> bool) -> Vec<(DomainId, IpAddr)> {
        let found = self.status.as_ref().and_then(|status| tunnel_of(status, at));
        let Some(mut tunnel) = found else { return Vec::new() };
        tunnel.peers.retain(|peer| is_meant(&peer.view.public_key));
        let underlay = DomainId::new(tunnel.underlay).unwrap_or(DomainId::DEFAULT);
        let endpoints = tunnel.peers.iter().filter_map(|peer| Some((underlay, peer.view.endpoint?.ip())));
        let endpoints: Vec<_> = endpoints.collect();
        self.evidence.tunnels.insert(at.to_string(), tunnel);
        for (underlay, endpoint) in &endpoints {
            self.leave(*underlay, Which::Own, *endpoint);
        }
        endpoints
    }

    /// Who waits at this port in this domain, and in which others somebody does.
    fn bound(&mut self, domain: DomainId, port: u16) {
        let others = self.ground.network.domains.keys().copied().filter(|other| *other != domain);
        let all: Vec<_> = [domain].into_iter().chain(others).collect();
        self.sockets(&all, port);
    }

    /// Who waits at this port in the first of these domains, and in which others somebody does.
    fn sockets(&mut self, domains: &[DomainId], port: u16) {
        let tables = domains.iter().filter_map(|domain| self.ground.survey.socket_table(*domain).ok());
        let tables: Vec<SocketTable> = tables.map(|table| table.of_port(port)).collect();
        let first = domains.first().map(|domain| domain.number());
        let is_shown = |table: &SocketTable| first == Some(table.domain) || !table.sockets.is_empty();
        let shown = tables.into_iter().filter(is_shown);
        self.evidence.port = Some(port);
        self.evidence.sockets.extend(shown.take(SOCKET_TABLES));
    }

    /// Whether there are ways from each domain to addresses of another.
    fn between(&mut self, domains: &[DomainId]) {
        let network = &self.ground.network;
        let outer = |domain: &DomainId| {
            let interfaces = network.domains.get(domain).into_iter().flat_map(|it| it.interfaces.values());
            let outer = interfaces.filter(|interface| interface.kind != Kind::Loopback);
            outer.flat_map(|it| it.addresses.iter().map(|own| own.network.ip())).collect::<Vec<_>>()
        };
        let mut leading = BTreeMap::new();
        for from in domains {
            for to in domains.iter().filter(|to| *to != from).flat_map(outer) {
                let found = self.ground.survey.route_get(*from, Which::Own, to);
                if found.is_ok_and(|found| {
                    found.is_some_and(|found| found.leads_somewhere() && !found.is_local())
                }) {
                    self.leave(*from, Which::Own, to);
                    leading.entry(*from).or_insert(to);
                }
            }
        }
        leading.into_iter().for_each(|(from, to)| self.tables(from, Which::Own, to));
    }
}

/// The rtable that is meant in a domain.
pub(super) fn which(domain: DomainId, rtable: Option<RtableId>) -> Which {
    match rtable {
        Some(rtable) if rtable != domain.into() => Which::Further(rtable.number()),
        Some(_) | None => Which::Own,
    }
}

fn tunnel_of(status: &StatusView, at: &End) -> Option<TunnelStatus> {
    let is_it = |domain: u32, name: &str| domain == at.domain.number() && name == at.interface.as_str();
    let mut tunnels = status.tunnels();
    tunnels.find(|(domain, it, _)| is_it(domain.domain, &it.name)).map(|(_, _, tunnel)| tunnel.clone())
}
