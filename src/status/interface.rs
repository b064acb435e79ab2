//! `ifconfig`: interfaces and tunnels, as ifconfig(8) prints them.
//!
//! What is a mapping, not a fact of Linux: a tunnel has wg(4)'s flags (`BROADCAST` and not `POINTOPOINT`); Ethernet
//! has `SIMPLEX`; `priority 0` and `llprio 3` are OpenBSD's defaults, for Linux has no such numbers; the group is the
//! name that OpenBSD's driver of the kind has; an interface with `BROADCAST` has the last address of its network
//! as broadcast address where none was set, for the kernel routes it as one all the same; `media` is
//! `autoselect` for all Ethernet.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::facts::{AddressFacts, Counters, LinkFacts, LinkKind};
use super::route::RouteTable;
use super::text;
use super::tunnel::TunnelView;
use crate::model::{DomainId, DomainName, Host, Key, Kind, Network};

/// An interface of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceView {
    /// The number of its domain.
    pub domain: u32,
    /// The name of its domain.
    pub domain_name: String,
    /// Its name.
    pub name: String,
    /// What it is: `loopback`, `veth`, `bridge`, `wireguard`, `ethernet`, ..
    pub kind: String,
    /// OpenBSD's flags.
    pub flags: BTreeSet<InterfaceFlag>,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// Its index in its namespace.
    pub index: u32,
    /// Its Ethernet address.
    pub lladdr: Option<String>,
    /// Its alias.
    pub description: Option<String>,
    /// The other end of its link, `DOMAIN/IF`.
    pub patch: Option<String>,
    /// The tunnel that it is.
    pub tunnel: Option<TunnelView>,
    /// OpenBSD's groups.
    pub groups: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<AddressView>,
    /// What it carried.
    pub counters: Counters,
}

/// A flag of an interface; in the order of OpenBSD's bits (`IFF_*`, net/if.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceFlag {
    /// Administratively up.
    Up,
    /// Has broadcast.
    Broadcast,
    /// Debugging is on.
    Debug,
    /// A loopback.
    Loopback,
    /// Two ends and no more.
    #[serde(rename = "pointopoint")]
    PointToPoint,
    /// Can carry packets.
    Running,
    /// Asks for no link addresses.
    NoArp,
    /// Takes every packet.
    Promisc,
    /// Takes every multicast packet.
    Allmulti,
    /// Does not hear itself.
    Simplex,
    /// Has multicast.
    Multicast,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressView {
    /// The address and the length of its network.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub address: IpNetwork,
    /// The other end of a point-to-point link.
    pub destination: Option<IpAddr>,
    /// The broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// `tentative`, `duplicated`, `deprecated`, `autoconf`, `temporary`.
    pub states: Vec<String>,
}

/// Nothing is called so.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}: no such interface")]
pub struct NoSuchInterface(pub String);

impl InterfaceFlag {
    const ALL: [InterfaceFlag; 11] = [
        InterfaceFlag::Up,
        InterfaceFlag::Broadcast,
        InterfaceFlag::Debug,
        InterfaceFlag::Loopback,
        InterfaceFlag::PointToPoint,
        InterfaceFlag::Running,
        InterfaceFlag::NoArp,
        InterfaceFlag::Promisc,
        InterfaceFlag::Allmulti,
        InterfaceFlag::Simplex,
        InterfaceFlag::Multicast,
    ];

    /// OpenBSD's word and bit for it, and Linux's bit (linux/if.h), if Linux has one.
    fn row(self) -> (&'static str, u32, u32) {
        match self {
            InterfaceFlag::Up => ("UP", 0x1, 0x1),
            InterfaceFlag::Broadcast => ("BROADCAST", 0x2, 0x2),
            InterfaceFlag::Debug => ("DEBUG", 0x4, 0x4),
            InterfaceFlag::Loopback => ("LOOPBACK", 0x8, 0x8),
            InterfaceFlag::PointToPoint => ("POINTOPOINT", 0x10, 0x10),
            InterfaceFlag::Running => ("RUNNING", 0x40, 0x40),
            InterfaceFlag::NoArp => ("NOARP", 0x80, 0x80),
            InterfaceFlag::Promisc => ("PROMISC", 0x100, 0x100),
            InterfaceFlag::Allmulti => ("ALLMULTI", 0x200, 0x200),
            InterfaceFlag::Simplex => ("SIMPLEX", 0x800, 0),
            InterfaceFlag::Multicast => ("MULTICAST", 0x8000, 0x1000),
        }
    }

    /// Those that have these words.
    pub fn of_words(words: &[String]) -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|flag| words.iter().any(|word| word == flag.word())).collect()
    }

    /// OpenBSD's word for it.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// OpenBSD's bit for it.
    pub fn bit(self) -> u32 {
        self.row().1
    }
}

impl InterfaceView {
    /// Puts what a kernel has for an interface into OpenBSD's words.
    pub fn new(domain: DomainId, name: &DomainName, link: &LinkFacts, tunnel: Option<TunnelView>) -> Self {
        let kind = if tunnel.is_some() { "wireguard" } else { link.kind.word() };
        let flags = flags(link, kind);
        let addresses = link.addresses.iter().map(|facts| AddressView::new(facts, &flags)).collect();
        Self {
            domain: domain.number(),
            domain_name: name.to_string(),
            name: link.name.clone(),
            kind: kind.to_owned(),
            flags,
            mtu: link.mtu,
            index: link.index,
            lladdr: link.lladdr.clone(),
            description: link.alias.clone(),
            patch: None,
            tunnel,
            groups: group(kind).map(str::to_owned).into_iter().collect(),
            addresses,
            counters: link.counters,
        }
    }

    /// Adds what no kernel knows but the network does: the other end of a link, the underlay of a tunnel, and the
    /// file's words for its peers.
    pub fn annotate(&mut self, network: &Network) {
        let at = network
            .interfaces()
            .find(|(end, _)| end.domain.number() == self.domain && end.interface.as_str() == self.name);
        match at.map(|(_, interface)| &interface.kind) {
            Some(Kind::Veth { peer }) => self.patch = Some(peer.to_string()),
            Some(Kind::WireGuard(wireguard)) => {
                let Some(tunnel) = &mut self.tunnel else { return };
                tunnel.underlay = wireguard.underlay.number();
                for peer in &mut tunnel.peers {
                    let known = wireguard.peers.get(&Key::Public(peer.public_key));
                    peer.name = known.and_then(|known| known.name.clone()).or_else(|| peer.name.take());
                    let endpoint = known.and_then(|known| known.endpoint.as_ref());
                    let named = endpoint.filter(|endpoint| matches!(endpoint.host, Host::Name(_)));
                    peer.endpoint_name = named.map(ToString::to_string);
                }
            }
            Some(Kind::Loopback | Kind::Bridge | Kind::Existing | Kind::Vrf { .. } | Kind::Dummy) | None => {}
            Some(Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) | Kind::Physical { .. }) => {}
        }
    }

    /// Adds the group `egress` to an interface of the default domain that a default route leaves by.
    pub fn annotate_egress(&mut self, table: &RouteTable) {
        let leaves = |dev: &str| {
            table.routes.iter().any(|row| row.to.is_default() && row.via.is_some() && row.dev == dev)
        };
        if self.domain == 0 && table.domain == 0 && leaves(&self.name) {
            self.groups.push("egress".to_owned());
        }
    }

    /// Whether it has Ethernet's media and carrier.
    pub(super) fn has_media(&self) -> bool {
        self.lladdr.is_some() && self.kind != "bridge"
    }

    fn is_called(&self, word: &str) -> bool {
        match word.split_once('/') {
            None => self.name == word,
            Some((domain, name)) => {
                self.name == name && (self.domain_name == domain || self.domain.to_string() == domain)
            }
        }
    }
}

/// The interfaces that a word means: a name in each domain that has it, or `DOMAIN/IF`.
pub fn select(views: Vec<InterfaceView>, word: &str) -> Result<Vec<InterfaceView>, NoSuchInterface> {
    let found: Vec<_> = views.into_iter().filter(|view| view.is_called(word)).collect();
    if found.is_empty() { Err(NoSuchInterface(word.to_owned())) } else { Ok(found) }
}

fn flags(link: &LinkFacts, kind: &str) -> BTreeSet<InterfaceFlag> {
    let has = |flag: &InterfaceFlag| link.flags & flag.row().2 != 0;
    let mut flags: BTreeSet<_> = InterfaceFlag::ALL.into_iter().filter(has).collect();
    if kind == "wireguard" {
        flags.remove(&InterfaceFlag::PointToPoint);
        flags.extend([InterfaceFlag::Broadcast, InterfaceFlag::NoArp, InterfaceFlag::Multicast]);
    }
    if link.lladdr.is_some() {
        flags.insert(InterfaceFlag::Simplex);
    }
    if !link.is_up() {
        flags.remove(&InterfaceFlag::Running);
    }
    flags
}

fn group(kind: &str) -> Option<&str> {
    match kind {
        "ethernet" | "other" => None,
        "loopback" => Some("lo"),
        "wireguard" => Some("wg"),
        "veth" => Some("pair"),
        word => Some(word),
    }
}

impl AddressView {
    fn new(facts: &AddressFacts, flags: &BTreeSet<InterfaceFlag>) -> Self {
        let broadcast = match facts.network {
            IpNetwork::V4(v4) if flags.contains(&InterfaceFlag::Broadcast) && v4.prefix() < 31 => {
                facts.broadcast.or(Some(v4.broadcast()))
            }
            IpNetwork::V4(_) => facts.broadcast,
            IpNetwork::V6(_) => None,
        }
        .filter(|_| facts.destination.is_none());
        let destination = facts.destination;
        Self { address: facts.network, destination, broadcast, states: states(facts) }
    }
}

/// IPv6's `IFA_F_*` (linux/if_addr.h) in OpenBSD's words, in the order in which they are printed.
fn states(facts: &AddressFacts) -> Vec<String> {
    const TEMPORARY: u32 = 0x01;
    const DAD_FAILED: u32 = 0x08;
    const DEPRECATED: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;
    const PERMANENT: u32 = 0x80;
    if facts.network.is_ipv4() {
        return Vec::new();
    }
    let is = |bit| facts.flags & bit != 0;
    let words = [
        (is(TENTATIVE) && !is(DAD_FAILED), "tentative"),
        (is(DAD_FAILED), "duplicated"),
        (is(DEPRECATED), "deprecated"),
        (!is(PERMANENT), "autoconf"),
        (is(TEMPORARY), "temporary"),
    ];
    words.into_iter().filter(|(is, _)| *is).map(|(_, word)| word.to_owned()).collect()
}

impl LinkKind {
    /// The kind of a link: the driver's word, else what flags and hardware type say.
    pub fn of(driver: Option<String>, flags: u32, lladdr: Option<&String>) -> Self {
        match driver {
            Some(driver) => LinkKind::Virtual(driver),
            None if flags & super::facts::IFF_LOOPBACK != 0 => LinkKind::Loopback,
            None if lladdr.is_some() => LinkKind::Ethernet,
            None => LinkKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::RouteType;
    use super::super::samples::*;
    use super::super::tunnel::PeerView;
    use super::*;
    use crate::model::{
        Domain, End, Engine, Interface, InterfaceName, NetworkName, Peer, PublicKey, WireGuard,
    };

    fn view(number: u32, link: &LinkFacts, tunnel: Option<TunnelView>) -> InterfaceView {
        let id = domain(number);
        InterfaceView::new(id, &DomainName::of_number(id), link, tunnel)
    }

    fn at(number: u32, name: &str) -> End {
        End { domain: domain(number), interface: InterfaceName::new(name).unwrap() }
    }

    fn network_with(place: &End, kind: Kind) -> Network {
        let mut network = Network::empty(NetworkName::new("test").unwrap());
        let mut inside = Domain::bare(place.domain);
        inside.interfaces.insert(place.interface.clone(), Interface::new(kind));
        network.domains.insert(place.domain, inside);
        network
    }

    #[test]
    fn a_network_knows_the_other_end_of_a_link() {
        let network = network_with(&at(1, "eth0"), Kind::Veth { peer: at(2, "b0") });
        let mut here = view(1, &eth0(), None);
        here.annotate(&network);
        assert_eq!(here.patch.as_deref(), Some("2/b0"));
        assert!(here.to_string().contains("\tindex 2 priority 0 llprio 3\n\tpatch: b0\n\tmedia"), "{here}");
        let mut elsewhere = view(2, &eth0(), None);
        elsewhere.annotate(&network);
        assert_eq!(elsewhere.patch, None);
    }

    #[test]
    fn a_network_knows_the_names_of_peers_and_the_underlay() {
        let known = PublicKey([2; 32]);
        let peer = Peer {
            name: Some("wg2".into()),
            endpoint: None,
            allowed_ips: BTreeSet::new(),
            preshared_key: None,
            persistent_keepalive_secs: 0,
        };
        let wireguard = WireGuard {
            engine: Engine::Userspace,
            underlay: domain(3),
            listen_port: None,
            key: Key::Public(PublicKey([1; 32])),
            peers: [(Key::Public(known), peer)].into(),
        };
        let peers = vec![PeerView::new(known), PeerView::new(PublicKey([9; 32]))];
        let mut here = view(1, &wg1(), Some(TunnelView { peers, ..TunnelView::default() }));
        here.annotate(&network_with(&at(1, "wg1"), Kind::WireGuard(wireguard)));
        let tunnel = here.tunnel.unwrap();
        let names: Vec<_> = tunnel.peers.iter().map(|peer| peer.name.as_deref()).collect();
        assert_eq!((tunnel.underlay, names), (3, vec![Some("wg2"), None]));
    }

    #[test]
    fn egress_is_where_the_default_domains_default_route_leaves() {
        let default = [facts(RouteType::Unicast, "0.0.0.0/0", &["192.0.2.254"], 2)];
        let table = |number| RouteTable::new(domain(number), &default, &[], &[lo(), eth0()]);
        let groups = |number, link: &LinkFacts| {
            let mut seen = view(number, link, None);
            seen.annotate_egress(&table(number));
            seen.groups
        };
        assert_eq!(groups(0, &eth0()), ["egress"]);
        assert_eq!(groups(0, &lo()), ["lo"]);
        assert!(groups(1, &eth0()).is_empty(), "only the default domain has one");
    }
}
