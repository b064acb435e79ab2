//! The way back: a network in the user's words, as a person would have written them.
//!
//! What a file need not say is left out: ends of links that have nothing on them, a loopback as every domain has it,
//! metrics that the kernel gives. Reading what is written gives the same network again; a test holds that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::lower::loopback_addresses;
use super::yaml::Words;
use crate::model::{
    Action, Address, Dns, Domain, DomainId, DomainName, End, Engine, Hop, Impairment, Interface,
    InterfaceName, Isolation, Key, Kind, Network, Peer, Prefix, Preshared, Route, Rule, SecretName, Target,
    Vxlan, WireGuard,
};

/// A file for this network, which is not bound yet; `secrets` are where the keys that it names are.
///
/// VRF devices and what else follows from an isolation are no part of such a network, and are not written.
pub fn write(network: &Network, secrets: &BTreeMap<SecretName, PathBuf>) -> String {
    let writer = Writer { network, secrets };
    let mut file = vec![("name", Words::text(&network.name))];
    file.push(("domains", Words::block(writer.domains())));
    let links = writer.links();
    if !links.is_empty() {
        file.push(("links", Words::Lines(links)));
    }
    Words::block(file).to_string()
}

struct Writer<'n> {
    network: &'n Network,
    secrets: &'n BTreeMap<SecretName, PathBuf>,
}

impl Writer<'_> {
    fn domains(&self) -> Vec<(String, Words)> {
        let told = self.network.domains.iter().map(|(&id, domain)| {
            let (word, number) = match domain.name == DomainName::of_number(id) {
                true => (id.to_string(), None),
                false => (domain.name.to_string(), Some(("rdomain", Words::text(id)))),
            };
            let mut inside: Vec<(&str, Words)> = number.into_iter().collect();
            inside.extend(self.domain(id, domain));
            (id, word, inside)
        });
        let told = told.filter(|(id, _, inside)| !id.is_default() || !inside.is_empty());
        told.map(|(_, word, inside)| (word, Words::block(inside))).collect()
    }

    fn domain(&self, id: DomainId, domain: &Domain) -> Vec<(&'static str, Words)> {
        let mut words = Vec::new();
        if !id.is_default() && domain.isolation != Isolation::Auto {
            words.push(("isolation", Words::text(domain.isolation)));
        }
        let lo = domain.interfaces.get(&InterfaceName::loopback());
        if let Some(addresses) = loopback(id, lo) {
            words.push(("lo", Words::flow([("addresses", addresses)])));
        }
        let interfaces = self.interfaces(id, domain);
        if !interfaces.is_empty() {
            words.push(("interfaces", Words::block(interfaces)));
        }
        if !domain.routes.is_empty() {
            words.push(("routes", routes(&domain.routes)));
        }
        if !domain.rtables.is_empty() {
            let further = domain.rtables.iter().map(|(rtable, inside)| (rtable, routes(inside)));
            let further = further.map(|(rtable, inside)| (rtable, Words::block([("routes", inside)])));
            words.push(("rtables", Words::block(further)));
        }
        let rules: Vec<_> = domain.rules.iter().filter_map(rule).collect();
        if !rules.is_empty() {
            words.push(("rules", Words::Lines(rules)));
        }
        if !domain.sysctls.is_empty() {
            words.push(("sysctls", Words::block(domain.sysctls.iter().map(|(n, v)| (n, Words::text(v))))));
        }
        words.extend(dns(&domain.dns).map(|dns| ("dns", dns)));
        words
    }

    fn interfaces(&self, id: DomainId, domain: &Domain) -> Vec<(String, Words)> {
        let loopback = InterfaceName::loopback();
        let told = domain.interfaces.iter().filter(|(name, _)| **name != loopback);
        let told = told.filter_map(|(name, interface)| {
            let at = End { domain: id, interface: name.clone() };
            let words = self.interface(&at, interface, domain);
            let follows = words.is_empty() && matches!(interface.kind, Kind::Veth { .. });
            (!follows).then(|| (name.to_string(), Words::block(words)))
        });
        told.collect()
    }

    fn interface(&self, at: &End, interface: &Interface, domain: &Domain) -> Vec<(&'static str, Words)> {
        let mut words = Vec::new();
        match &interface.kind {
            Kind::Loopback | Kind::Existing | Kind::Veth { .. } | Kind::Vrf { .. } => {}
            Kind::WireGuard(_) => {}
            Kind::Bridge => words.push(("bridge", ports(&at.interface, domain))),
            Kind::Dummy => words.push(("dummy", Words::flow::<&str>([]))),
            Kind::Vlan { parent, id } => {
                let parent = self.end(at.domain, parent);
                words.push(("vlan", Words::flow([("parent", parent), ("id", Words::text(id))])));
            }
            Kind::Macvlan { parent } => {
                words.push(("macvlan", Words::flow([("parent", self.end(at.domain, parent))])));
            }
            Kind::Vxlan(inside) => words.push(("vxlan", self.vxlan(inside))),
            Kind::Physical { home } if *home == at.interface => {
                words.push(("physical", Words::flow::<&str>([])));
            }
            Kind::Physical { home } => words.push(("physical", Words::text(home))),
        }
        if !interface.addresses.is_empty() {
            words.push(("addresses", addresses(&interface.addresses)));
        }
        if interface.addresses.iter().any(|address| address.duplicate_detection) {
            words.push(("dad", Words::text(true)));
        }
        words.extend(interface.mtu.map(|mtu| ("mtu", Words::text(mtu))));
        if !interface.up {
            words.push(("up", Words::text(false)));
        }
        if let Kind::WireGuard(inside) = &interface.kind {
            words.push(("wireguard", Words::block(self.tunnel(at, inside))));
        }
        words
    }

    fn tunnel(&self, at: &End, tunnel: &WireGuard) -> Vec<(&'static str, Words)> {
        let mut words = Vec::new();
        if tunnel.engine != Engine::Auto {
            words.push(("engine", Words::text(tunnel.engine)));
        }
        if !tunnel.underlay.is_default() {
            words.push(("underlay", Words::text(self.word(tunnel.underlay))));
        }
        words.extend(tunnel.listen_port.map(|port| ("listen_port", Words::text(port))));
        let secret = self.secrets.get(&SecretName::PrivateKey(at.clone()));
        words.extend(secret.map(|path| ("private_key_file", Words::text(path.display()))));
        if !tunnel.peers.is_empty() {
            let peers = tunnel.peers.iter().enumerate();
            let peers = peers.map(|(number, (key, inside))| self.peer(number, key, inside));
            words.push(("peers", Words::block(peers)));
        }
        words
    }

    fn peer(&self, number: usize, key: &Key, peer: &Peer) -> (String, Words) {
        let mut words = Vec::new();
        let word = match key {
            Key::Of(end) => format!("{}/{}", self.word(end.domain), end.interface),
            Key::Public(key) => {
                words.push(("public_key", Words::text(key)));
                peer.name.clone().unwrap_or_else(|| format!("peer{}", number + 1))
            }
        };
        if let Some(Preshared::Of(name)) = &peer.preshared_key {
            let path = self.secrets.get(name);
            words.extend(path.map(|path| ("preshared_key_file", Words::text(path.display()))));
        }
        words.extend(peer.endpoint.iter().map(|endpoint| ("endpoint", Words::text(endpoint))));
        words.push(("allowed_ips", Words::list(&peer.allowed_ips)));
        if peer.persistent_keepalive_secs != 0 {
            words.push(("persistent_keepalive", Words::text(peer.persistent_keepalive_secs)));
        }
        (word, Words::flow(words))
    }

    fn vxlan(&self, vxlan: &Vxlan) -> Words {
        let Vxlan { id, underlay, local, remote, port } = vxlan;
        let mut words = vec![("id", Words::text(id))];
        if !underlay.is_default() {
            words.push(("underlay", Words::text(self.word(*underlay))));
        }
        words.extend(local.map(|address| ("local", Words::text(address))));
        words.extend(remote.map(|address| ("remote", Words::text(address))));
        words.push(("port", Words::text(port)));
        Words::flow(words)
    }

    fn links(&self) -> Vec<Words> {
        let joined = self.network.interfaces().filter_map(|(at, interface)| match &interface.kind {
            Kind::Veth { peer } if at < *peer => {
                let far = self.network.interface(peer).map(|far| far.impairment).unwrap_or_default();
                Some(([at, peer.clone()], [interface.impairment, far]))
            }
            Kind::Veth { .. } | Kind::Loopback | Kind::Bridge | Kind::WireGuard(_) | Kind::Vrf { .. } => None,
            Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) | Kind::Existing => None,
            Kind::Physical { .. } => None,
        });
        let whole = |end: &End| format!("{}/{}", self.word(end.domain), end.interface);
        let one_link = |(ends, does): ([End; 2], [Impairment; 2])| match does {
            [near, far] if near == far => {
                let ends = ("ends", Words::list(&ends.map(|end| whole(&end))));
                Words::flow([ends].into_iter().chain(doings(near)))
            }
            does => {
                let ends = ends.iter().zip(does).map(|(end, does)| {
                    Words::flow([("at", Words::text(whole(end)))].into_iter().chain(doings(does)))
                });
                Words::flow([("ends", Words::Flow(ends.collect()))])
            }
        };
        joined.map(one_link).collect()
    }

    /// An interface as one of this domain calls it.
    fn end(&self, from: DomainId, end: &End) -> Words {
        match end.domain == from {
            true => Words::text(&end.interface),
            false => Words::text(format!("{}/{}", self.word(end.domain), end.interface)),
        }
    }

    /// A domain as the file calls it.
    fn word(&self, id: DomainId) -> String {
        let named = self.network.domains.get(&id).filter(|domain| domain.name != DomainName::of_number(id));
        named.map_or_else(|| id.to_string(), |domain| domain.name.to_string())
    }
}

/// How names are looked up, where something is said of it.
fn dns(dns: &Dns) -> Option<Words> {
    let resolver = match dns {
        Dns::Unsaid => return None,
        Dns::Host => return Some(Words::text("host")),
        Dns::Own(resolver) => resolver,
    };
    let mut words = Vec::new();
    if !resolver.servers.is_empty() {
        words.push(("servers", Words::list(&resolver.servers)));
    }
    if !resolver.search.is_empty() {
        words.push(("search", Words::list(&resolver.search)));
    }
    if !resolver.hosts.is_empty() {
        let hosts = resolver.hosts.iter().map(|(name, address)| (name, Words::text(address)));
        words.push(("hosts", Words::flow(hosts)));
    }
    Some(Words::flow(words))
}

/// The addresses of a loopback that is not as every domain is born with it.
fn loopback(id: DomainId, lo: Option<&Interface>) -> Option<Words> {
    let addresses_of = |lo: &Interface| addresses(&lo.addresses);
    match lo {
        Some(lo) if id.is_default() || lo.addresses != loopback_addresses() => Some(addresses_of(lo)),
        Some(_) | None => None,
    }
}

fn addresses(addresses: &BTreeSet<Address>) -> Words {
    Words::list(addresses)
}

/// What becomes of packets that leave by one end of a link.
fn doings(impairment: Impairment) -> impl Iterator<Item = (&'static str, Words)> {
    impairment.words().into_iter().map(|(key, value)| (key, Words::text(value)))
}

fn ports(bridge: &InterfaceName, domain: &Domain) -> Words {
    let inside = domain.interfaces.iter().filter(|(_, port)| port.controller.as_ref() == Some(bridge));
    let names: Vec<_> = inside.map(|(name, _)| name).collect();
    Words::flow([("ports", Words::list(&names))])
}

fn routes(routes: &BTreeSet<Route>) -> Words {
    Words::Lines(routes.iter().map(route).collect())
}

fn route(route: &Route) -> Words {
    let mut words = vec![("to", destination(route))];
    match &route.target {
        Target::Unicast { via, dev, src, onlink } => {
            words.extend(via.map(|via| ("via", Words::text(via))));
            words.push(("dev", Words::text(dev)));
            words.extend(src.map(|src| ("src", Words::text(src))));
            if *onlink {
                words.push(("onlink", Words::text(true)));
            }
        }
        Target::Multipath { hops, src } => {
            words.extend(src.map(|src| ("src", Words::text(src))));
            words.push(("nexthops", Words::Flow(hops.iter().map(hop).collect())));
        }
        Target::Blackhole => words.push(("type", Words::text("blackhole"))),
        Target::Unreachable => words.push(("type", Words::text("unreachable"))),
        Target::Prohibit => words.push(("type", Words::text("prohibit"))),
    }
    if route.metric != Route::default_metric(route.to) {
        words.push(("metric", Words::text(route.metric)));
    }
    Words::flow(words)
}

/// `default` is of the gateway's family, of IPv4 where there is none.
fn destination(route: &Route) -> Words {
    let via = match &route.target {
        Target::Unicast { via, .. } => *via,
        Target::Multipath { hops, .. } => hops.iter().find_map(|hop| hop.via),
        Target::Blackhole | Target::Unreachable | Target::Prohibit => None,
    };
    let family = via.is_some_and(|via| via.is_ipv6());
    match route.to.is_default() && route.to.is_ipv6() == family {
        true => Words::text("default"),
        false => Words::text(route.to),
    }
}

fn hop(hop: &Hop) -> Words {
    let mut words: Vec<_> = hop.via.iter().map(|via| ("via", Words::text(via))).collect();
    words.push(("dev", Words::text(&hop.dev)));
    if hop.weight != 1 {
        words.push(("weight", Words::text(hop.weight)));
    }
    Words::flow(words)
}

/// Nothing for what a file cannot ask for.
fn rule(rule: &Rule) -> Option<Words> {
    let rtable = match rule.action {
        Action::Lookup(rtable) => rtable,
        Action::GoTo(_) | Action::Continue => return None,
    };
    let selector = &rule.selector;
    let prefix = |key: &'static str, prefix: &Option<Prefix>| prefix.map(|prefix| (key, Words::text(prefix)));
    let mut words: Vec<(&str, Words)> = Vec::new();
    words.extend(prefix("from", &selector.from));
    words.extend(prefix("to", &selector.to));
    words.extend(selector.iif.iter().map(|iif| ("iif", Words::text(iif))));
    words.extend(selector.uid.map(|uids| ("uid", uid(uids))));
    words.extend(selector.fwmark.map(|fwmark| ("fwmark", Words::text(fwmark))));
    words.push(("rtable", Words::text(rtable)));
    words.push(("priority", Words::text(rule.priority)));
    Some(Words::flow(words))
}

fn uid((first, last): (u32, u32)) -> Words {
    match first == last {
        true => Words::text(first),
        false => Words::text(format!("{first}-{last}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::spec::{Lowered, Source, read};

    fn lowered(text: &str) -> Lowered {
        let source = Source::new(Path::new("written.yaml"), text.to_owned());
        read(&source).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn again(text: &str) -> (Network, Network, String) {
        let first = lowered(text);
        let written = write(&first.network, &first.secrets);
        (nameless(first.network), nameless(lowered(&written).network), written)
    }

    /// Peers have the words that their file has for them, which is not always the shortest.
    fn nameless(mut network: Network) -> Network {
        let interfaces = network.domains.values_mut().flat_map(|domain| domain.interfaces.values_mut());
        for interface in interfaces {
            let Kind::WireGuard(tunnel) = &mut interface.kind else { continue };
            tunnel.peers.values_mut().for_each(|peer| peer.name = None);
        }
        network
    }

    #[test]
    fn every_example_says_the_same_when_it_is_written_anew() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let examples = fs::read_dir(root.join("examples")).unwrap().map(|entry| entry.unwrap().path());
        let files = examples.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
        for file in files.chain([root.join("domains.yaml")]) {
            let (first, second, written) = again(&fs::read_to_string(&file).unwrap());
            assert_eq!(first, second, "{}:\n{written}", file.display());
        }
    }

    #[test]
    fn a_file_is_written_as_a_person_would() {
        let (first, second, written) = again(
            "name: n\n\
             domains: {\n\
               0: {lo: {addresses: [10.255.0.1/32]}, interfaces: {eth7: {}}},\n\
               blue: {rdomain: 1, lo: {addresses: []}, isolation: netns,\n\
                 interfaces: {a: {addresses: ['fd00::1/64'], dad: true, mtu: 1400}, b: {up: false}, d: {dummy: {}}, p: {physical: eth1}, q: {physical: {}}},\n\
                 routes: [{to: default, dev: a}, {to: '::/0', via: 'fd00::2'}, {to: 10.0.0.0/8, type: prohibit}],\n\
                 rtables: {10: {routes: [{to: 10.1.0.0/16, dev: a, metric: 7, onlink: true}]}},\n\
                 rules: [{from: 10.1.0.0/16, fwmark: 0x1/0xff, uid: 5, rtable: 10}],\n\
                 sysctls: {net.ipv4.ip_forward: 1, net.ipv4.tcp_rmem: 1 2 3},\n\
                 dns: {servers: [10.1.0.53, 'fd00::53'], search: [b.example], hosts: {db: 10.1.0.5}}},\n\
               2: {interfaces: {wg0: {wireguard: {underlay: blue, listen_port: 7, peers: {\n\
                 it: {public_key: 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=', endpoint: '[fd00::9]:5',\n\
                   allowed_ips: ['fd00::/64', 10.9.0.0/16], persistent_keepalive: 25}}}}}}}\n\
             links: [{ends: [{at: blue/a, delay: 20ms}, {at: 2/a, loss: 1%}]}, {ends: [blue/b, 0/b]}]\n",
        );
        assert_eq!(first, second, "{written}");
        insta::assert_snapshot!(written, @r#"
        name: "n"
        domains:
          0:
            lo: {addresses: [10.255.0.1/32]}
            interfaces:
              eth7: {}
          blue:
            rdomain: 1
            isolation: netns
            lo: {addresses: []}
            interfaces:
              a:
                addresses: ["fd00::1/64"]
                dad: true
                mtu: 1400
              b:
                up: false
              d:
                dummy: {}
              p:
                physical: eth1
              q:
                physical: {}
            routes:
              - {to: default, dev: a}
              - {to: 10.0.0.0/8, type: prohibit}
              - {to: default, via: "fd00::2", dev: a}
            rtables:
              10:
                routes:
                  - {to: 10.1.0.0/16, dev: a, onlink: true, metric: 7}
            rules:
              - {from: 10.1.0.0/16, uid: 5, fwmark: 0x1/0xff, rtable: 10, priority: 100}
            sysctls:
              net.ipv4.ip_forward: 1
              net.ipv4.tcp_rmem: "1 2 3"
            dns: {servers: [10.1.0.53, "fd00::53"], search: [b.example], hosts: {db: 10.1.0.5}}
          2:
            interfaces:
              wg0:
                wireguard:
                  underlay: blue
                  listen_port: 7
                  peers:
                    it: {public_key: xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=, endpoint: "[fd00::9]:5", allowed_ips: [10.9.0.0/16, "fd00::/64"], persistent_keepalive: 25}
        links:
          - {ends: [0/b, blue/b]}
          - {ends: [{at: blue/a, delay: 20ms}, {at: 2/a, loss: 1%}]}
        "#);
    }
}
