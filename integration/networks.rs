//! Networks that nobody thought of, for laws that hold for every one of them.
//!
//! A network is grown from a list of facts; a fact that does not fit what is there already is passed over. So lists
//! shrink well, and every network that comes out is one that a file could describe.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnetwork::IpNetwork;
use proptest::prelude::*;
use rdomain::model::{
    Action, Address, Domain, DomainId, DomainName, End, Endpoint, Engine, Fingerprint, Hop, Impairment,
    Interface, InterfaceName, Isolation, Key, Kind, Network, NetworkName, Peer, Prefix, Preshared, PublicKey,
    Route, RtableId, Rule, Selector, SysctlName, Target, Vxlan, WireGuard,
};

#[derive(Clone, Debug)]
enum Fact {
    Domain { id: u32, named: bool, isolation: Isolation },
    Link { number: u8, ends: (u32, u32) },
    Bridge { domain: u32 },
    Port { of: usize },
    Tunnel { domain: u32, number: u8, underlay: u32, port: u16, key: u8, engine: bool },
    Peer { of: usize, key: u8, allowed: u8, preshared: Option<u8>, endpoint: Option<u16> },
    Address { of: usize, subnet: u8, host: u8, length: u8 },
    Address6 { of: usize, subnet: u8, detection: bool },
    Borrowed { host: u8 },
    Down { of: usize },
    Mtu { of: usize, mtu: u32 },
    Impaired { of: usize, delay_us: u32 },
    Blackhole { domain: u32, subnet: u8, metric: u32 },
    Via { of: usize, subnet: u8, metric: u32, from: bool },
    Behind { of: usize, metric: u32 },
    Dummy { domain: u32, number: u8 },
    Physical { domain: u32, renamed: bool },
    Vlan { of: usize, domain: u32, id: u16 },
    Macvlan { of: usize, domain: u32 },
    Vxlan { domain: u32, underlay: u32, id: u32 },
    Aside { of: usize, subnet: u8 },
    Rule { domain: u32, priority: u32, from: bool },
    Multipath { of: [usize; 2], subnet: u8 },
    Sysctl { domain: u32, which: u8, value: u8 },
    InterfaceSysctl { of: usize },
}

fn fact() -> impl Strategy<Value = Fact> {
    let domain = || 0..4u32;
    prop_oneof![
        3 => (1..4u32, any::<bool>(), isolation())
            .prop_map(|(id, named, isolation)| Fact::Domain { id, named, isolation }),
        2 => (domain(), 0..2u8).prop_map(|(domain, number)| Fact::Dummy { domain, number }),
        2 => (domain(), any::<bool>()).prop_map(|(domain, renamed)| Fact::Physical { domain, renamed }),
        2 => (any::<usize>(), domain(), 1..3u16).prop_map(|(of, domain, id)| Fact::Vlan { of, domain, id }),
        1 => (any::<usize>(), domain()).prop_map(|(of, domain)| Fact::Macvlan { of, domain }),
        1 => (domain(), domain(), 1..3u32).prop_map(|(domain, underlay, id)| Fact::Vxlan { domain, underlay, id }),
        2 => (any::<usize>(), 0..3u8).prop_map(|(of, subnet)| Fact::Aside { of, subnet }),
        2 => (domain(), 100..103u32, any::<bool>()).prop_map(|(domain, priority, from)| Fact::Rule { domain, priority, from }),
        2 => (any::<[usize; 2]>(), 0..2u8).prop_map(|(of, subnet)| Fact::Multipath { of, subnet }),
        3 => (0..4u8, (domain(), domain())).prop_map(|(number, ends)| Fact::Link { number, ends }),
        1 => domain().prop_map(|domain| Fact::Bridge { domain }),
        2 => any::<usize>().prop_map(|of| Fact::Port { of }),
        2 => (domain(), 0..3u8, domain(), 1..4u16, 0..4u8, any::<bool>()).prop_map(
            |(domain, number, underlay, port, key, engine)| Fact::Tunnel { domain, number, underlay, port, key, engine }
        ),
        2 => (any::<usize>(), 4..8u8, 0..4u8, any::<Option<bool>>(), any::<Option<bool>>()).prop_map(
            |(of, key, allowed, preshared, endpoint)| Fact::Peer {
                of,
                key,
                allowed,
                preshared: preshared.map(u8::from),
                endpoint: endpoint.map(u16::from),
            }
        ),
        4 => (any::<usize>(), 0..3u8, 1..4u8, 24..26u8)
            .prop_map(|(of, subnet, host, length)| Fact::Address { of, subnet, host, length }),
        1 => (any::<usize>(), 0..3u8, any::<bool>())
            .prop_map(|(of, subnet, detection)| Fact::Address6 { of, subnet, detection }),
        1 => (1..3u8).prop_map(|host| Fact::Borrowed { host }),
        1 => any::<usize>().prop_map(|of| Fact::Down { of }),
        1 => (any::<usize>(), 1..3u32).prop_map(|(of, delay_us)| Fact::Impaired { of, delay_us }),
        1 => (any::<usize>(), 1280..1283u32).prop_map(|(of, mtu)| Fact::Mtu { of, mtu }),
        1 => (domain(), 0..3u8, 0..2u32).prop_map(|(domain, subnet, metric)| Fact::Blackhole { domain, subnet, metric }),
        3 => (any::<usize>(), 0..3u8, 0..2u32, any::<bool>())
            .prop_map(|(of, subnet, metric, from)| Fact::Via { of, subnet, metric, from }),
        2 => (any::<usize>(), 0..2u32).prop_map(|(of, metric)| Fact::Behind { of, metric }),
        1 => (domain(), 0..2u8, 0..2u8).prop_map(|(domain, which, value)| Fact::Sysctl { domain, which, value }),
        1 => any::<usize>().prop_map(|of| Fact::InterfaceSysctl { of }),
    ]
}

fn isolation() -> impl Strategy<Value = Isolation> {
    prop_oneof![Just(Isolation::Netns), Just(Isolation::NetnsVrf), Just(Isolation::Vrf)]
}

/// A network as a file could describe it, before it is bound.
pub(crate) fn grown() -> impl Strategy<Value = Network> {
    prop::collection::vec(fact(), 0..30).prop_map(|facts| facts.into_iter().fold(bare(), grow))
}

/// The network with nothing in it.
pub(crate) fn bare() -> Network {
    Network::empty(NetworkName::new("laws").unwrap())
}

fn grow(mut network: Network, fact: Fact) -> Network {
    let _ = try_grow(&mut network, fact);
    network
}

/// `None` where the fact does not fit.
fn try_grow(network: &mut Network, fact: Fact) -> Option<()> {
    match fact {
        Fact::Domain { id, named, isolation } => {
            let id = domain_id(id);
            let mut born = Domain { isolation, ..Domain::bare(id) };
            if named {
                born.name = DomainName::new(format!("name{id}")).unwrap();
            }
            if isolation.has_namespace() {
                born.interfaces.insert(InterfaceName::loopback(), Interface::new(Kind::Loopback));
            }
            network.domains.entry(id).or_insert(born);
        }
        Fact::Link { number, ends: (one, two) } => {
            let one = End { domain: domain_id(one), interface: interface_name(&format!("v{number}a")) };
            let two = End { domain: domain_id(two), interface: interface_name(&format!("v{number}b")) };
            let taken = network.interfaces().any(|(at, _)| at.interface == one.interface);
            (!taken).then_some(())?;
            network.domains.get(&one.domain)?;
            network.domains.get(&two.domain)?;
            put(network, &one, Kind::Veth { peer: two.clone() })?;
            put(network, &two, Kind::Veth { peer: one.clone() })?;
        }
        Fact::Bridge { domain } => {
            put(network, &End { domain: domain_id(domain), interface: interface_name("br0") }, Kind::Bridge)?;
        }
        Fact::Port { of } => {
            let (at, kind) = nth(network, of)?;
            let bridge = End { domain: at.domain, interface: interface_name("br0") };
            network.interface(&bridge)?;
            (matches!(kind, Kind::Veth { .. })).then_some(())?;
            held(network, &at).controller = Some(bridge.interface);
        }
        Fact::Tunnel { domain, number, underlay, port, key, engine } => {
            let underlay = domain_id(underlay);
            network.domains.get(&underlay)?;
            let at = End { domain: domain_id(domain), interface: interface_name(&format!("wg{number}")) };
            let tunnel = WireGuard {
                engine: if engine { Engine::Kernel } else { Engine::Userspace },
                underlay,
                listen_port: Some(port),
                key: Key::Public(PublicKey([key; 32])),
                peers: Default::default(),
            };
            put(network, &at, Kind::WireGuard(tunnel))?;
        }
        Fact::Peer { of, key, allowed, preshared, endpoint } => {
            let (at, _) = nth(network, of)?;
            let Kind::WireGuard(tunnel) = &mut held(network, &at).kind else { return None };
            let prefix = Prefix::containing(subnet(allowed, 0, 24));
            let claimed = tunnel.peers.values().any(|peer| peer.allowed_ips.contains(&prefix));
            let peer = Peer {
                name: Some(format!("peer{key}")),
                endpoint: endpoint
                    .map(|port| Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 1000 + port)))),
                allowed_ips: if claimed { BTreeSet::new() } else { BTreeSet::from([prefix]) },
                preshared_key: preshared.map(|secret| Preshared::Known(Fingerprint([secret; 8]))),
                persistent_keepalive_secs: 0,
            };
            tunnel.peers.entry(Key::Public(PublicKey([key; 32]))).or_insert(peer);
        }
        Fact::Address { of, subnet: number, host, length } => {
            let (at, _) = nth(network, of)?;
            held(network, &at).addresses.insert(Address::new(subnet(number, host, length)));
        }
        Fact::Address6 { of, subnet, detection } => {
            let (at, _) = nth(network, of)?;
            let network6 = format!("fd00:{subnet}::1/64").parse().unwrap();
            held(network, &at)
                .addresses
                .insert(Address { network: network6, duplicate_detection: detection });
        }
        Fact::Borrowed { host } => {
            (!lends(network)).then_some(())?;
            let mut borrowed = Interface::new(Kind::Existing);
            borrowed.addresses.insert(Address::new(subnet(9, host, 24)));
            let outside = network.domains.get_mut(&DomainId::DEFAULT)?;
            outside.interfaces.entry(interface_name("eth0")).or_insert(borrowed);
        }
        Fact::Down { of } => {
            let (at, kind) = nth(network, of)?;
            held(network, &at).up = kind == Kind::Existing;
        }
        Fact::Impaired { of, delay_us } => {
            let (at, kind) = nth(network, of)?;
            matches!(kind, Kind::Veth { .. }).then_some(())?;
            held(network, &at).impairment = Impairment { delay_us, ..Impairment::default() };
        }
        Fact::Mtu { of, mtu } => {
            let (at, kind) = nth(network, of)?;
            held(network, &at).mtu = kind.default_mtu().map(|_| mtu);
        }
        Fact::Blackhole { domain, subnet: number, metric } => {
            let to = Prefix::containing(subnet(20 + number, 0, 24));
            add_route(network, domain_id(domain), Route { to, metric, target: Target::Blackhole })?;
        }
        Fact::Via { of, subnet: number, metric, from } => {
            let (at, _) = nth(network, of)?;
            let own = network.interface(&at)?.addresses.iter().find(|own| own.network.is_ipv4())?.network;
            let target = Target::Unicast {
                via: Some(own.network()),
                dev: at.interface.clone(),
                src: from.then_some(own.ip()),
                onlink: false,
            };
            add_route(
                network,
                at.domain,
                Route { to: Prefix::containing(subnet(20 + number, 0, 24)), metric, target },
            )?;
        }
        Fact::Behind { of, metric } => {
            let (at, _) = nth(network, of)?;
            let gateway = subnet(41, 1, 32);
            let target = |via| Target::Unicast { via, dev: at.interface.clone(), src: None, onlink: false };
            let straight = Route { to: Prefix::containing(gateway), metric, target: target(None) };
            let behind = Prefix::containing(subnet(40, 0, 24));
            add_route(network, at.domain, straight)?;
            add_route(network, at.domain, Route { to: behind, metric, target: target(Some(gateway.ip())) })?;
        }
        Fact::Dummy { domain, number } => {
            let interface = interface_name(&format!("dummy{number}"));
            put(network, &End { domain: domain_id(domain), interface }, Kind::Dummy)?;
        }
        Fact::Physical { domain, renamed } => {
            let home = interface_name("eth0");
            let at_home = network.domains.get(&DomainId::DEFAULT)?.interfaces.contains_key(&home);
            (domain != 0 && !at_home && !lends(network)).then_some(())?;
            let interface = if renamed { interface_name("lan0") } else { home.clone() };
            put(network, &End { domain: domain_id(domain), interface }, Kind::Physical { home })?;
        }
        Fact::Vlan { of, domain, id } => {
            let (parent, kind) = nth(network, of)?;
            matches!(kind, Kind::Dummy | Kind::Veth { .. } | Kind::Vlan { .. } | Kind::Physical { .. })
                .then_some(())?;
            let interface = interface_name(&format!("vlan{id}"));
            put(network, &End { domain: domain_id(domain), interface }, Kind::Vlan { parent, id })?;
        }
        Fact::Macvlan { of, domain } => {
            let (parent, kind) = nth(network, of)?;
            matches!(kind, Kind::Dummy | Kind::Veth { .. } | Kind::Existing).then_some(())?;
            put(
                network,
                &End { domain: domain_id(domain), interface: interface_name("mac0") },
                Kind::Macvlan { parent },
            )?;
        }
        Fact::Vxlan { domain, underlay, id } => {
            let underlay = domain_id(underlay);
            network.domains.get(&underlay)?;
            let at = End { domain: domain_id(domain), interface: interface_name("vx0") };
            put(network, &at, Kind::Vxlan(Vxlan { id, underlay, local: None, remote: None, port: 4789 }))?;
        }
        Fact::Aside { of, subnet: number } => {
            let (at, _) = nth(network, of)?;
            let target = Target::Unicast { via: None, dev: at.interface.clone(), src: None, onlink: false };
            let to = Prefix::containing(subnet(30 + number, 0, 24));
            let table = network.domains.get_mut(&at.domain)?.table_mut(at.domain, RtableId::new(10).unwrap());
            let free = table.iter().all(|route| route.to != to);
            free.then(|| table.insert(Route { to, metric: 0, target }))?;
        }
        Fact::Rule { domain, priority, from } => {
            let from = from.then(|| Prefix::containing(subnet(1, 0, 24)));
            let selector = Selector { from, ..Selector::default() };
            let rules = &mut network.domains.get_mut(&domain_id(domain))?.rules;
            let free = rules.iter().all(|rule| rule.priority != priority);
            let action = Action::Lookup(RtableId::new(10).unwrap());
            free.then(|| rules.insert(Rule { priority, selector, action }))?;
        }
        Fact::Multipath { of: [one, two], subnet: number } => {
            let ((one, _), (two, _)) = (nth(network, one)?, nth(network, two)?);
            (one.domain == two.domain && one != two).then_some(())?;
            let hop = |at: &End| Hop { via: None, dev: at.interface.clone(), weight: 1 };
            let target = Target::Multipath { hops: vec![hop(&one), hop(&two)], src: None };
            let to = Prefix::containing(subnet(50 + number, 0, 24));
            add_route(network, one.domain, Route { to, metric: 0, target })?;
        }
        Fact::Sysctl { domain, which, value } => {
            let name = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"][usize::from(which)];
            let inside = network.domains.get_mut(&domain_id(domain))?;
            inside.sysctls.insert(SysctlName::new(name).unwrap(), value.to_string());
        }
        Fact::InterfaceSysctl { of } => {
            let (at, _) = nth(network, of)?;
            let name = SysctlName::new(format!("net.ipv4.conf.{}.rp_filter", at.interface)).unwrap();
            network.domains.get_mut(&at.domain)?.sysctls.insert(name, "1".into());
        }
    }
    Some(())
}

fn add_route(network: &mut Network, domain: DomainId, route: Route) -> Option<()> {
    let inside = network.domains.get_mut(&domain)?;
    let taken = inside.routes.iter().any(|other| (other.to, other.metric) == (route.to, route.metric));
    (!taken).then(|| inside.routes.insert(route)).map(|_| ())
}

/// Whether somebody else's interface is lent to a domain.
pub(crate) fn lends(network: &Network) -> bool {
    network.interfaces().any(|(_, held)| matches!(held.kind, Kind::Physical { .. }))
}

fn put(network: &mut Network, at: &End, kind: Kind) -> Option<()> {
    let inside = network.domains.get_mut(&at.domain)?;
    let free = !inside.interfaces.contains_key(&at.interface);
    free.then(|| inside.interfaces.insert(at.interface.clone(), Interface::new(kind))).map(|_| ())
}

fn nth(network: &Network, number: usize) -> Option<(End, Kind)> {
    let all: Vec<_> = network.interfaces().collect();
    let (at, interface) = all.get(number.checked_rem(all.len())?)?;
    Some((at.clone(), interface.kind.clone()))
}

fn held<'n>(network: &'n mut Network, at: &End) -> &'n mut Interface {
    network.domains.get_mut(&at.domain).unwrap().interfaces.get_mut(&at.interface).unwrap()
}

fn subnet(number: u8, host: u8, length: u8) -> IpNetwork {
    format!("10.0.{number}.{host}/{length}").parse().unwrap()
}

fn domain_id(number: u32) -> DomainId {
    DomainId::new(number).unwrap()
}

fn interface_name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}
