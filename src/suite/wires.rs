//! Where frames and tunnelled packets of an interface come out, by what the file says of links: pure.
//!
//! A frame carries the tags of the VLANs that it goes through, so that it reaches only those of its own number. A
//! macvlan interface does not reach the one that it stands on, nor that one it (linux/if_link.h, mode bridge).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::ground::Ground;
use crate::model::{DomainId, End, Interface, Key, Kind, Network, Prefix, Vxlan, WireGuard};
use crate::status::{InterfaceFlag, InterfaceView, RouteGet};

/// The most places that a frame is followed to.
const PLACES: usize = 4096;

/// The links and tunnels of a network, but for those that are down.
pub(super) struct Wires<'n> {
    network: &'n Network,
    down: BTreeSet<End>,
}

/// What joins two domains with no other between them: an interface of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joint {
    pub(super) near: End,
    pub(super) far: End,
    pub(super) by: By,
}

/// What a joint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Frames pass.
    Frames,
    /// They are peers.
    Tunnel,
}

/// A frame that leaves by an interface or comes in by it, with its tags; the outermost is the last.
type Frame = (End, Vec<u16>, Direction);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Out,
    In,
}

impl<'n> Wires<'n> {
    /// All of them.
    pub(super) fn of(network: &'n Network) -> Self {
        Self { network, down: BTreeSet::new() }
    }

    /// Those whose interfaces are there and up.
    pub(super) fn up(network: &'n Network, seen: &[InterfaceView]) -> Self {
        let is_up = |at: &End| {
            seen.iter().any(|view| {
                (view.domain, view.name.as_str()) == (at.domain.number(), at.interface.as_str())
                    && view.flags.contains(&InterfaceFlag::Up)
            })
        };
        let down = network.interfaces().map(|(at, _)| at).filter(|at| !is_up(at)).collect();
        Self { network, down }
    }

    /// The interfaces that frames of this one reach without a router.
    pub(super) fn segment(&self, at: &End) -> BTreeSet<End> {
        let mut seen = BTreeSet::new();
        let mut left: Vec<Frame> = vec![(at.clone(), Vec::new(), Direction::Out)];
        while let Some(frame) = left.pop().filter(|_| seen.len() < PLACES) {
            if self.down.contains(&frame.0) || seen.contains(&frame) {
                continue;
            }
            left.extend(match frame.2 {
                Direction::Out => self.beyond(&frame.0, &frame.1),
                Direction::In => self.within(&frame.0, &frame.1),
            });
            seen.insert(frame);
        }
        let arrives = |(end, tags, direction): Frame| {
            (direction == Direction::In && tags.is_empty() && end != *at).then_some(end)
        };
        seen.into_iter().filter_map(arrives).collect()
    }

    /// Where a frame goes that leaves by this interface.
    fn beyond(&self, at: &End, tags: &[u16]) -> Vec<Frame> {
        let Some(interface) = self.network.interface(at) else { return Vec::new() };
        let to = |direction| move |end: End| (end, tags.to_vec(), direction);
        let to_in = to(Direction::In);
        match &interface.kind {
            Kind::Veth { peer } => vec![to_in(peer.clone())],
            Kind::Vlan { parent, id } => vec![(parent.clone(), [tags, &[*id]].concat(), Direction::Out)],
            Kind::Macvlan { parent } => {
                let beside =
                    self.of_kind(|kind| matches!(kind, Kind::Macvlan { parent: its } if its == parent));
                beside.map(to_in).chain([to(Direction::Out)(parent.clone())]).collect()
            }
            Kind::Vxlan(vxlan) => self.far_vxlans(vxlan).map(to_in).collect(),
            Kind::Bridge => self.ports(at).map(to(Direction::Out)).collect(),
            Kind::Loopback | Kind::WireGuard(_) | Kind::Vrf { .. } | Kind::Dummy => Vec::new(),
            Kind::Physical { .. } | Kind::Existing => Vec::new(),
        }
    }

    /// Where a frame goes that came in by this interface: to what stands on it, and to its bridge.
    fn within(&self, at: &End, tags: &[u16]) -> Vec<Frame> {
        let on_it = self.network.interfaces().filter_map(|(end, interface)| match &interface.kind {
            Kind::Vlan { parent, id } if parent == at => {
                let (last, inner) = tags.split_last()?;
                (last == id).then(|| (end, inner.to_vec(), Direction::In))
            }
            Kind::Macvlan { parent } if parent == at => Some((end, tags.to_vec(), Direction::In)),
            _ => None,
        });
        let bridge = self.bridge(at);
        let others = bridge.iter().flat_map(|bridge| self.ports(bridge)).filter(|port| port != at);
        let others = others.map(|port| (port, tags.to_vec(), Direction::Out));
        let bridge = bridge.clone().map(|bridge| (bridge, tags.to_vec(), Direction::In));
        on_it.chain(others).chain(bridge).collect()
    }

    fn of_kind(&self, is_it: impl Fn(&Kind) -> bool) -> impl Iterator<Item = End> {
        self.network.interfaces().filter(move |(_, interface)| is_it(&interface.kind)).map(|(end, _)| end)
    }

    /// The bridge that an interface is a port of.
    fn bridge(&self, at: &End) -> Option<End> {
        let interface = self.network.interface(at)?.controller.clone()?;
        let bridge = End { domain: at.domain, interface };
        self.network.interface(&bridge).is_some_and(|it| it.kind == Kind::Bridge).then_some(bridge)
    }

    fn ports(&self, bridge: &End) -> impl Iterator<Item = End> {
        let is_port = |interface: &Interface| interface.controller.as_ref() == Some(&bridge.interface);
        let inside = self.network.domains.get(&bridge.domain).into_iter();
        let ports = inside.flat_map(|domain| &domain.interfaces).filter(move |(_, it)| is_port(it));
        ports.map(|(name, _)| End { domain: bridge.domain, interface: name.clone() })
    }

    /// The other ends of the same number that this one sends to, or that send to this one.
    fn far_vxlans(&self, near: &Vxlan) -> impl Iterator<Item = End> {
        let sends = |from: &Vxlan, to: &Vxlan| {
            from.remote.is_some_and(|remote| to.local == Some(remote) || self.has(to.underlay, remote))
        };
        self.of_kind(move |kind| {
            let Kind::Vxlan(far) = kind else { return false };
            far != near
                && (far.id, far.port) == (near.id, near.port)
                && (sends(near, far) || sends(far, near))
        })
    }

    fn has(&self, domain: DomainId, address: IpAddr) -> bool {
        let interfaces = self.network.domains.get(&domain).into_iter().flat_map(|it| it.interfaces.values());
        interfaces.flat_map(|it| &it.addresses).any(|own| own.network.ip() == address)
    }

    /// The peer that a tunnel sends packets for this address to, and where that is if the file says so.
    pub(super) fn beyond_tunnel(&self, at: &End, to: IpAddr) -> Option<(&'n Key, Option<End>)> {
        let length_for = |prefixes: &BTreeSet<Prefix>| {
            prefixes.iter().filter(|prefix| prefix.contains(to)).map(|prefix| prefix.length()).max()
        };
        let peers = self.network.interface(at)?.wireguard()?.peers.iter();
        let (key, _) = peers
            .filter_map(|(key, peer)| Some((key, length_for(&peer.allowed_ips)?)))
            .max_by_key(|(_, length)| *length)?;
        Some((key, self.network.tunnels().find(|(_, tunnel)| tunnel.key == *key).map(|(end, _)| end)))
    }

    /// The interface that a packet comes in by which leaves by this one, on this route.
    pub(super) fn far_end(&self, at: &End, found: &RouteGet) -> Option<End> {
        if self.network.interface(at)?.wireguard().is_some() {
            let far = self.beyond_tunnel(at, found.route_to)?.1;
            return far.filter(|far| !self.down.contains(at) && !self.down.contains(far));
        }
        let gateway = found.route.via.unwrap_or(found.route_to);
        let has_it = |end: &End| {
            let interface = self.network.interface(end);
            interface.is_some_and(|it| it.addresses.iter().any(|own| own.network.ip() == gateway))
        };
        self.segment(at).into_iter().find(has_it)
    }

    /// What joins each domain to its neighbours.
    pub(super) fn joints(&self) -> BTreeMap<(DomainId, DomainId), Joint> {
        let mut joints = BTreeMap::new();
        for (near, _) in self.network.interfaces() {
            let frames = self.segment(&near).into_iter().map(|far| (far, By::Frames));
            let tunnels = self.peers(&near).map(|far| (far, By::Tunnel));
            for (far, by) in frames.chain(tunnels).filter(|(far, _)| far.domain != near.domain) {
                let pair = (near.domain, far.domain);
                joints.entry(pair).or_insert(Joint { near: near.clone(), far, by });
            }
        }
        joints
    }

    /// The other ends of a tunnel: those whose peer it is, and that are its peers.
    fn peers(&self, at: &End) -> impl Iterator<Item = End> {
        let near =
            self.network.interface(at).and_then(|it| it.wireguard()).filter(|_| !self.down.contains(at));
        let knows = move |far: &WireGuard| {
            near.is_some_and(|near| near.peers.contains_key(&far.key) && far.peers.contains_key(&near.key))
        };
        let tunnels = self.network.tunnels().filter(move |(_, far)| knows(far)).map(|(far, _)| far);
        tunnels.filter(|far| !self.down.contains(far))
    }
}

impl Joint {
    /// The joint in words.
    pub(super) fn text(&self, ground: &Ground) -> String {
        let [near, far] = [&self.near, &self.far].map(|end| ground.end_word(end));
        match self.by {
            By::Frames => format!("frames pass between {near} and {far}"),
            By::Tunnel => format!("{near} and {far} are peers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InterfaceName;
    use crate::spec::{Source, read};

    fn network(links: &str) -> Network {
        let text = format!("domains:\n{links}");
        let source = Source::new(std::path::Path::new("wires.yaml"), text);
        read(&source).unwrap_or_else(|faults| panic!("{faults}")).network
    }

    fn joined(network: &Network) -> Vec<String> {
        let joints = Wires::of(network).joints().into_values();
        let words = joints.map(|Joint { near, far, by }| format!("{near} {far} {by:?}"));
        words.collect()
    }

    #[test]
    fn tags_keep_frames_apart_on_one_wire() {
        let network = network(
            "  1: {interfaces: {a.7: {vlan: {parent: 10/a, id: 7}}}}
  2: {interfaces: {b.7: {vlan: {parent: 20/b, id: 7}}}}
  3: {interfaces: {b.8: {vlan: {parent: 20/b, id: 8}}}}
  4: {interfaces: {m: {macvlan: {parent: 20/b}}, n: {macvlan: {parent: 20/b}}}}
  10: {interfaces: {br0: {bridge: {ports: [a]}}}}
  20: {}
links: [{ends: [10/a, 20/b]}]\n",
        );
        let expected = ["1/a.7 2/b.7 Frames", "2/b.7 1/a.7 Frames", "4/m 10/a Frames", "10/a 20/b Frames"];
        let joined = joined(&network);
        assert!(expected.iter().all(|pair| joined.contains(&(*pair).to_owned())), "{joined:?}");
        assert!(!joined.iter().any(|pair| pair.contains("3/b.8") || pair == "4/m 20/b Frames"), "{joined:?}");
        let port = End { domain: DomainId::new(10).unwrap(), interface: InterfaceName::new("a").unwrap() };
        let down = Wires { network: &network, down: [port].into() };
        assert!(down.joints().is_empty(), "{:?}", down.joints());
    }

    #[test]
    fn vxlans_of_one_number_meet_where_they_send_to() {
        let network = network(
            "  1: {interfaces: {v: {vxlan: {id: 1, underlay: 11, local: 10.0.0.1, remote: 10.0.0.2}}}}
  2: {interfaces: {v: {vxlan: {id: 1, underlay: 12, local: 10.0.0.2, remote: 10.0.0.1}}}}
  3: {interfaces: {v: {vxlan: {id: 1, underlay: 13, local: 10.0.0.3, remote: 10.0.0.9}}}}
  11: {interfaces: {a: {addresses: [10.0.0.1/24]}}}
  12: {interfaces: {a: {addresses: [10.0.0.2/24]}}}
  13: {interfaces: {a: {dummy: {}, addresses: [10.0.0.3/24]}}}
links: [{ends: [11/a, 12/a]}]\n",
        );
        let joined = joined(&network);
        assert!(joined.contains(&"1/v 2/v Frames".to_owned()), "{joined:?}");
        assert!(!joined.iter().any(|pair| pair.contains("3/v")), "{joined:?}");
    }
}
