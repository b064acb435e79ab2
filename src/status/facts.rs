//! What a kernel says of links, addresses, routes and neighbours, before any of it is put into OpenBSD's words.
//!
//! Numbers are those of linux/if.h, linux/if_addr.h and linux/rtnetlink.h.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Prefix;

/// Bits of [`LinkFacts::flags`] (linux/if.h); a view says the rest in OpenBSD's bits.
pub(super) const IFF_UP: u32 = 0x1;
pub(super) const IFF_LOOPBACK: u32 = 0x8;
pub(super) const IFF_RUNNING: u32 = 0x40;

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its index, unique in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// `IFF_*` bits.
    pub flags: u32,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// Its Ethernet address, `02:00:00:00:00:01`, if it has one.
    pub lladdr: Option<String>,
    /// Its alias (ip-link(8)).
    pub alias: Option<String>,
    /// The bridge or VRF device that it is a port of.
    pub master: Option<u32>,
    /// What it carried.
    pub counters: Counters,
    /// Its addresses, IPv4 first, each family in the kernel's order.
    pub addresses: Vec<AddressFacts>,
}

/// What an interface carried since it was made (`rtnl_link_stats64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets received and not taken, for want of room.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets not sent, for want of room.
    pub tx_dropped: u64,
}

impl LinkFacts {
    /// Whether it is administratively up.
    pub fn is_up(&self) -> bool {
        self.flags & IFF_UP != 0
    }

    /// Whether it can carry packets.
    pub fn is_running(&self) -> bool {
        self.flags & IFF_RUNNING != 0
    }

    /// Whether it is a loopback.
    pub fn is_loopback(&self) -> bool {
        self.flags & IFF_LOOPBACK != 0
    }

    /// The first of its addresses in this one's family.
    pub fn address_like(&self, other: Prefix) -> Option<IpAddr> {
        self.addresses.iter().map(|address| address.network.ip()).find(|ip| ip.is_ipv6() == other.is_ipv6())
    }
}

/// What an interface is, by the driver's word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// The loopback.
    Loopback,
    /// Made by a driver with a name of its own: `veth`, `bridge`, `wireguard`, `tun`, ..
    Virtual(String),
    /// Ethernet hardware, or what passes for it.
    Ethernet,
    /// Anything else.
    Other,
}

impl LinkKind {
    /// The word for it.
    pub fn word(&self) -> &str {
        match self {
            LinkKind::Loopback => "loopback",
            LinkKind::Virtual(word) => word,
            LinkKind::Ethernet => "ethernet",
            LinkKind::Other => "other",
        }
    }
}

/// An address of an interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressFacts {
    /// The address and the length of its network.
    pub network: IpNetwork,
    /// The other end of a point-to-point link.
    pub destination: Option<IpAddr>,
    /// The broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// `IFA_F_*` bits.
    pub flags: u32,
}

/// A route as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFacts {
    /// What becomes of a packet.
    pub route_type: RouteType,
    /// Where to.
    pub to: Prefix,
    /// The ways there: none for a route that drops, more than one for a multipath route.
    pub hops: Vec<NextHop>,
    /// The preferred source address.
    pub src: Option<IpAddr>,
    /// The lower wins.
    pub metric: u32,
    /// `RTPROT_*`: who made it.
    pub protocol: u8,
    /// Bytes of the largest packet that goes this way, if the route says so.
    pub mtu: Option<u32>,
    /// Whether path MTU discovery may not change that.
    pub mtu_locked: bool,
}

/// One way to a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway, if not straight onto the link.
    pub via: Option<IpAddr>,
    /// The index of the interface.
    pub index: u32,
}

/// What becomes of a packet that matches a route (`RTN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteType {
    /// It leaves by an interface.
    Unicast,
    /// It is for this host.
    Local,
    /// It is for everybody on the link.
    Broadcast,
    /// It is for a group.
    Multicast,
    /// It is for this host, as one of several.
    Anycast,
    /// It is dropped in silence.
    Blackhole,
    /// It is dropped; the sender hears "host unreachable".
    Unreachable,
    /// It is dropped; the sender hears "administratively prohibited".
    Prohibit,
    /// The search goes on in another table.
    Throw,
}

impl RouteType {
    /// The word for it, as ip-route(8) has it.
    pub fn word(self) -> &'static str {
        match self {
            RouteType::Unicast => "unicast",
            RouteType::Local => "local",
            RouteType::Broadcast => "broadcast",
            RouteType::Multicast => "multicast",
            RouteType::Anycast => "anycast",
            RouteType::Blackhole => "blackhole",
            RouteType::Unreachable => "unreachable",
            RouteType::Prohibit => "prohibit",
            RouteType::Throw => "throw",
        }
    }
}

/// A host on a link whose link address the kernel knows or asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourFacts {
    /// Its address.
    pub address: IpAddr,
    /// The index of the interface.
    pub index: u32,
    /// What the kernel knows of its link address.
    pub state: NeighbourState,
}

/// What a kernel knows of a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked for, no answer yet.
    Incomplete,
    /// The link address.
    Resolved(String),
}
