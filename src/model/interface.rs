//! Interfaces and their addresses.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::impairment::Impairment;
use super::name::{DomainId, End, InterfaceName, RtableId};
use super::wireguard::WireGuard;
use ipnetwork::{IpNetwork, Ipv4Network};

/// An address of an interface: host address, length of the network on the link, and how it is brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The host's address and the length of its network.
    pub network: IpNetwork,
    /// Whether IPv6 looks for another owner first (RFC 4862, 5.4); `false` for every IPv4 address.
    pub duplicate_detection: bool,
}

impl Address {
    /// An address that is usable at once.
    pub fn new(network: IpNetwork) -> Self {
        Self { network, duplicate_detection: false }
    }
}

impl Address {
    /// What the loopback of a domain has unless a file says otherwise: 127.0.0.1/8 and ::1/128.
    pub fn of_loopback() -> [Self; 2] {
        let v4 = Ipv4Network::new_checked(Ipv4Addr::LOCALHOST, 8).expect("a length of IPv4's");
        [IpNetwork::from(v4), IpAddr::from(Ipv6Addr::LOCALHOST).into()].map(Self::new)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.network.fmt(f)
    }
}

/// What an interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The loopback, which every domain is born with.
    Loopback,
    /// One end of a link; the other end says the same of this one.
    Veth {
        /// The other end.
        peer: End,
    },
    /// A software switch; its ports name it.
    Bridge,
    /// A tunnel.
    WireGuard(WireGuard),
    /// A VRF device: interfaces that it controls look routes up in its table (linux/if_link.h, `IFLA_VRF_TABLE`).
    Vrf {
        /// The table.
        rtable: RtableId,
    },
    /// An interface that nothing is behind.
    Dummy,
    /// The frames of an interface that carry an 802.1Q tag.
    Vlan {
        /// The interface.
        parent: End,
        /// The tag, 1 to 4094.
        id: u16,
    },
    /// A further Ethernet address on an interface, in bridge mode.
    Macvlan {
        /// The interface.
        parent: End,
    },
    /// Ethernet in UDP (RFC 7348).
    Vxlan(Vxlan),
    /// Somebody else's: it must exist, and is neither made nor removed.
    Existing,
}

impl Kind {
    /// The word for it, as ip-link(8) has it.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Loopback => "loopback",
            Kind::Veth { .. } => "veth",
            Kind::Bridge => "bridge",
            Kind::WireGuard(_) => "wireguard",
            Kind::Vrf { .. } => "vrf",
            Kind::Dummy => "dummy",
            Kind::Vlan { .. } => "vlan",
            Kind::Macvlan { .. } => "macvlan",
            Kind::Vxlan(_) => "vxlan",
            Kind::Existing => "existing",
        }
    }

    /// Bytes of the largest packet where nobody says otherwise; a bridge takes the least of its ports'.
    pub fn default_mtu(&self) -> Option<u32> {
        match self {
            Kind::Loopback => Some(65536),
            Kind::Veth { .. } => Some(1500),
            Kind::WireGuard(_) => Some(1420),
            Kind::Dummy => Some(1500),
            Kind::Bridge | Kind::Existing | Kind::Vrf { .. } => None,
            Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => None,
        }
    }

    /// The interface that it stands on, and goes with.
    pub fn parent(&self) -> Option<&End> {
        match self {
            Kind::Vlan { parent, .. } | Kind::Macvlan { parent } => Some(parent),
            Kind::Loopback | Kind::Veth { .. } | Kind::Bridge | Kind::WireGuard(_) | Kind::Existing => None,
            Kind::Vrf { .. } | Kind::Dummy | Kind::Vxlan(_) => None,
        }
    }
}

/// An interface of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// What it is.
    pub kind: Kind,
    /// Its addresses. Those that nobody asked this program for are not among them.
    pub addresses: BTreeSet<Address>,
    /// Bytes of the largest packet; in a desired network `None` leaves what the kind has.
    pub mtu: Option<u32>,
    /// Whether it is administratively up.
    pub up: bool,
    /// The bridge that it is a port of, or the VRF device that it belongs to (`IFLA_MASTER`).
    pub controller: Option<InterfaceName>,
    /// What an end of a link does to the packets that leave by it.
    pub impairment: Impairment,
}

impl Interface {
    /// An interface of this kind, up, with nothing on it.
    pub fn new(kind: Kind) -> Self {
        let impairment = Impairment::default();
        Self { kind, addresses: BTreeSet::new(), mtu: None, up: true, controller: None, impairment }
    }

    /// The tunnel that it is, if it is one.
    pub fn wireguard(&self) -> Option<&WireGuard> {
        match &self.kind {
            Kind::WireGuard(wireguard) => Some(wireguard),
            Kind::Loopback | Kind::Veth { .. } | Kind::Bridge | Kind::Existing => None,
            Kind::Vrf { .. } | Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => {
                None
            }
        }
    }
}

/// What makes an interface a VXLAN interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network identifier, 24 bits.
    pub id: u32,
    /// The domain whose UDP sockets carry the frames.
    pub underlay: DomainId,
    /// The address that frames are sent from.
    pub local: Option<IpAddr>,
    /// The host that frames for unknown addresses are sent to.
    pub remote: Option<IpAddr>,
    /// The UDP port, 4789 unless the file says otherwise.
    pub port: u16,
}
