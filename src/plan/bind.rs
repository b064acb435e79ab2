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
        isolate::spell_out(domain, inside);
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
    use crate::model::{DomainId, Fingerprint, Host, InterfaceName, NetworkName, PublicKey, SecretName};

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

        let bound = bind(&network, &bindings, &Capabilities { kernel_wireguard: false, vrf: false });

        let interface = bound.interface(&one).unwrap();
        let tunnel = interface.wireguard().unwrap();
        assert_eq!(interface.mtu, Some(1420));
        assert_eq!((tunnel.engine, tunnel.listen_port), (Engine::Userspace, Some(7111)));
        assert_eq!(tunnel.key, Key::Public(PublicKey([1; 32])));
        let peer = &tunnel.peers[&Key::Public(PublicKey([2; 32]))];
        assert_eq!(peer.endpoint.as_ref().and_then(|endpoint| endpoint.port), Some(7222));
        assert_eq!(peer.preshared_key, Some(Preshared::Known(Fingerprint([7; 8]))));
    }

    #[test]
    fn an_underlay_without_a_namespace_takes_our_engine() {
        let all = Capabilities { kernel_wireguard: true, vrf: true };
        for (underlay, engine) in [(Isolation::Vrf, Engine::Userspace), (Isolation::NetnsVrf, Engine::Kernel)]
        {
            assert_eq!(bind_engine(Engine::Auto, Some(underlay), &all), engine);
            assert_eq!(bind_engine(Engine::Kernel, Some(underlay), &all), Engine::Kernel, "as asked");
        }
    }
}
