//! From a file's network to one that a kernel can be compared with: keys, ports, engines and sizes filled in.

use super::isolate;
use crate::model::{
    Bindings, Capabilities, End, Endpoint, Engine, Interface, Isolation, Key, Kind, Network, Peer, Preshared,
    WireGuard,
};

/// The network with its open fields closed. What `bindings` does not know stays open.
pub fn bind(network: &Network, bindings: &Bindings, capabilities: &Capabilities) -> Network {
    let mut bound = network.clone();
    for (&domain, inside) in &mut bound.domains {
        inside.isolation = isolate::choose(domain, inside.isolation, capabilities);
        isolate::spell_out(domain, inside, capabilities);
        for (name, interface) in &mut inside.interfaces {
            let at = End { domain, interface: name.clone() };
            bind_interface(&at, interface, network, bindings, capabilities);
        }
    }
    isolate::separate_guests(&mut bound);
    bound
}

fn bind_interface(
    at: &End,
    interface: &mut Interface,
    network: &Network,
    bindings: &Bindings,
    capabilities: &Capabilities,
) {
    interface.mtu = interface.mtu.or(interface.kind.default_mtu());
    let Kind::WireGuard(tunnel) = &mut interface.kind else { return };
    let underlay = network.domains.get(&tunnel.underlay).map(|domain| domain.isolation);
    tunnel.engine = bind_engine(tunnel.engine, underlay, capabilities);
    tunnel.listen_port = port_of(at, tunnel, bindings);
    tunnel.key = bind_key(&tunnel.key, bindings);
    let peers = std::mem::take(&mut tunnel.peers);
    let bound = peers.into_iter().map(|(key, peer)| {
        let peer = bind_peer(peer, &key, network, bindings);
        (bind_key(&key, bindings), peer)
    });
    tunnel.peers = bound.collect();
}

/// The kernel's engine cannot bind its sockets to a VRF device, which is all that such an underlay is.
fn bind_engine(engine: Engine, underlay: Option<Isolation>, capabilities: &Capabilities) -> Engine {
    match engine {
        Engine::Auto if underlay == Some(Isolation::Vrf) => Engine::Userspace,
        Engine::Auto if capabilities.kernel_wireguard => Engine::Kernel,
        Engine::Auto => Engine::Userspace,
        Engine::Kernel | Engine::Userspace => engine,
    }
}

fn port_of(at: &End, tunnel: &WireGuard, bindings: &Bindings) -> Option<u16> {
    tunnel.listen_port.or_else(|| bindings.ports.get(at).copied())
}

fn bind_key(key: &Key, bindings: &Bindings) -> Key {
    match key {
        Key::Of(end) => {
            bindings.public_keys.get(end).map_or_else(|| key.clone(), |&public| Key::Public(public))
        }
        Key::Public(_) => key.clone(),
    }
}

fn bind_peer(peer: Peer, key: &Key, network: &Network, bindings: &Bindings) -> Peer {
    let endpoint = peer.endpoint.map(|endpoint| Endpoint {
        port: endpoint.port.or_else(|| port_behind(key, network, bindings)),
        ..endpoint
    });
    let preshared_key = peer.preshared_key.map(|preshared| {
        match &preshared {
            Preshared::Of(name) => bindings.fingerprints.get(name).map(|&known| Preshared::Known(known)),
            Preshared::Known(_) => None,
        }
        .unwrap_or(preshared)
    });
    Peer { endpoint, preshared_key, ..peer }
}

/// The port of the interface of this file that has this key.
fn port_behind(key: &Key, network: &Network, bindings: &Bindings) -> Option<u16> {
    let Key::Of(end) = key else { return None };
    port_of(end, network.interface(end)?.wireguard()?, bindings)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::model::{
        Address, Domain, DomainId, Fingerprint, Host, InterfaceName, NetworkName, PublicKey, SecretName,
        SysctlName,
    };

    fn end(domain: u32, interface: &str) -> End {
        End { domain: DomainId::new(domain).unwrap(), interface: InterfaceName::new(interface).unwrap() }
    }

    fn tunnel(at: &End, peers: BTreeMap<Key, Peer>) -> Kind {
        let key = Key::Of(at.clone());
        Kind::WireGuard(WireGuard {
            engine: Engine::Auto,
            underlay: DomainId::DEFAULT,
            listen_port: None,
            key,
            peers,
        })
    }

    #[test]
    fn closes_every_open_field() {
        let (one, two) = (end(0, "wg1"), end(0, "wg2"));
        let secret = SecretName::PresharedKey(one.clone(), "wg2".into());
        let peer = Peer {
            name: Some("wg2".into()),
            endpoint: Some(Endpoint { host: Host::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: None }),
            allowed_ips: BTreeSet::new(),
            preshared_key: Some(Preshared::Of(secret.clone())),
            persistent_keepalive_secs: 0,
        };
        let mut network = Network::empty(NetworkName::new("n").unwrap());
        let inside = &mut network.domains.get_mut(&DomainId::DEFAULT).unwrap().interfaces;
        let peers = BTreeMap::from([(Key::Of(two.clone()), peer)]);
        inside.insert(one.interface.clone(), Interface::new(tunnel(&one, peers)));
        inside.insert(two.interface.clone(), Interface::new(tunnel(&two, BTreeMap::new())));
        let bindings = Bindings {
            public_keys: BTreeMap::from([
                (one.clone(), PublicKey([1; 32])),
                (two.clone(), PublicKey([2; 32])),
            ]),
            fingerprints: BTreeMap::from([(secret, Fingerprint([7; 8]))]),
            ports: BTreeMap::from([(one.clone(), 7111), (two.clone(), 7222)]),
        };

        let bound = bind(&network, &bindings, &Capabilities::PLAIN);

        let interface = bound.interface(&one).unwrap();
        let tunnel = interface.wireguard().unwrap();
        assert_eq!(interface.mtu, Some(1420));
        assert_eq!((tunnel.engine, tunnel.listen_port), (Engine::Userspace, Some(7111)));
        assert_eq!(tunnel.key, Key::Public(PublicKey([1; 32])));
        let peer = &tunnel.peers[&Key::Public(PublicKey([2; 32]))];
        assert_eq!(peer.endpoint.as_ref().and_then(|endpoint| endpoint.port), Some(7222));
        assert_eq!(peer.preshared_key, Some(Preshared::Known(Fingerprint([7; 8]))));
    }

    /// What a domain has for IPv6 although its file says nothing of it.
    fn of_ipv6(domain: &Domain) -> Vec<String> {
        let addresses = domain.interfaces.values().flat_map(|interface| &interface.addresses);
        let addresses = addresses.filter(|own| own.network.is_ipv6()).map(ToString::to_string);
        let routes = domain.routes.iter().filter(|route| route.to.is_ipv6()).map(ToString::to_string);
        let rules = domain.rules.iter().map(ToString::to_string).filter(|rule| rule.contains("::"));
        addresses.chain(routes).chain(rules).collect()
    }

    #[test]
    fn who_has_no_ipv6_goes_without_what_every_domain_has_of_it() {
        let (domain, lo) = (DomainId::new(1).unwrap(), InterfaceName::loopback());
        let all = Capabilities { vrf: true, ..Capabilities::PLAIN };
        let none = Capabilities { ipv6: false, ipv6_at_home: false, ..all };
        let switch = SysctlName::new("net.ipv6.conf.all.disable_ipv6").unwrap();
        for isolation in [Isolation::Netns, Isolation::NetnsVrf, Isolation::Vrf] {
            let mut network = Network::empty(NetworkName::new("n").unwrap());
            let mut inside = Domain { isolation, ..Domain::bare(domain) };
            let mut interface = Interface::new(Kind::Loopback);
            interface.addresses = Address::of_loopback().into();
            inside.interfaces.insert(lo.clone(), interface);
            inside.rtables.insert("10".parse::<DomainId>().unwrap().into(), BTreeSet::new());
            network.domains.insert(domain, inside);
            let bound = |network: &Network, capabilities: &Capabilities| {
                of_ipv6(&bind(network, &Bindings::default(), capabilities).domains[&domain])
            };
            assert!(bound(&network, &all).contains(&"::1/128".to_owned()), "{isolation}");
            assert_eq!(bound(&network, &none), [""; 0], "{isolation}");
            let elsewhere = Capabilities { ipv6: false, ..all };
            assert_eq!(bound(&network, &elsewhere).is_empty(), isolation.has_namespace(), "{isolation}");
            let mut switched = |value: &str, capabilities: &Capabilities| {
                let sysctls = &mut network.domains.get_mut(&domain).unwrap().sysctls;
                sysctls.insert(switch.clone(), value.to_owned());
                bound(&network, capabilities).is_empty()
            };
            assert!(switched("1", &all) && !switched("0", &none), "{isolation}: by its own switch");
        }
    }

    #[test]
    fn what_a_file_asks_of_ipv6_stays_to_be_told_of() {
        let at = end(1, "d0");
        let mut network = Network::empty(NetworkName::new("n").unwrap());
        let mut interface = Interface::new(Kind::Dummy);
        interface.addresses.insert(Address::new("fd00::1/64".parse().unwrap()));
        let mut inside = Domain::bare(at.domain);
        inside.interfaces.insert(at.interface.clone(), interface);
        network.domains.insert(at.domain, inside);
        let none = Capabilities { ipv6: false, ipv6_at_home: false, ..Capabilities::PLAIN };
        let bound = bind(&network, &Bindings::default(), &none);
        assert_eq!(of_ipv6(&bound.domains[&at.domain]), ["fd00::1/64"]);
    }

    #[test]
    fn an_underlay_without_a_namespace_takes_our_engine() {
        let all = Capabilities { kernel_wireguard: true, vrf: true, ..Capabilities::PLAIN };
        for (underlay, engine) in [(Isolation::Vrf, Engine::Userspace), (Isolation::NetnsVrf, Engine::Kernel)]
        {
            assert_eq!(bind_engine(Engine::Auto, Some(underlay), &all), engine);
            assert_eq!(bind_engine(Engine::Kernel, Some(underlay), &all), Engine::Kernel, "as asked");
        }
    }
}
