//! One change to a kernel, and the one way that it is printed.

use std::fmt;

use crate::model::{
    Address, DomainId, DomainName, End, Engine, InterfaceName, Key, Kind, Object, Peer, Route, SysctlName,
    WireGuard,
};

/// One change that a backend makes whole or not at all.
///
/// A step never carries a secret: private keys are named by public key, preshared ones by fingerprint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a domain: its namespace, marked as this network's, with `lo` down and bare.
    CreateDomain {
        /// Its number.
        domain: DomainId,
        /// Its name, which becomes its namespace's.
        name: DomainName,
    },
    /// Removes a domain and everything in it.
    DeleteDomain {
        /// Its number.
        domain: DomainId,
        /// Its name.
        name: DomainName,
    },
    /// Fails unless the interface is there: somebody else's, that the file relies on.
    RequireInterface {
        /// Where it must be.
        at: End,
    },
    /// Makes an interface, down and bare. A link is made once, both ends in their places, by either end.
    /// A tunnel has its engine, underlay, port and key afterwards, but no peers.
    CreateInterface {
        /// Where.
        at: End,
        /// What; the peers of a tunnel are not looked at.
        kind: Kind,
    },
    /// Removes an interface of ours; the other end of a link goes with it.
    DeleteInterface {
        /// Where.
        at: End,
    },
    /// Sets the largest packet.
    SetMtu {
        /// Where.
        at: End,
        /// Bytes.
        mtu: u32,
    },
    /// Makes an interface a port of a bridge of its domain, or of none.
    SetBridge {
        /// The port.
        at: End,
        /// The bridge.
        bridge: Option<InterfaceName>,
    },
    /// Sets an interface administratively up or down.
    SetUp {
        /// Where.
        at: End,
        /// Up, or down.
        up: bool,
    },
    /// Adds an address.
    AddAddress {
        /// Where.
        at: End,
        /// The address.
        address: Address,
    },
    /// Removes an address.
    RemoveAddress {
        /// Where.
        at: End,
        /// The address.
        address: Address,
    },
    /// Gives a tunnel another port or key pair; its peers stay.
    SetTunnel {
        /// Where.
        at: End,
        /// The new port and key; engine and underlay are as they were, peers are not looked at.
        tunnel: WireGuard,
    },
    /// Makes a peer of a tunnel what this says: adds it, or changes it and keeps its session.
    SetPeer {
        /// Where.
        at: End,
        /// Its key.
        key: Key,
        /// What it shall be.
        peer: Peer,
        /// Whether its session ends by this: another preshared key.
        new_session: bool,
    },
    /// Removes a peer of a tunnel.
    RemovePeer {
        /// Where.
        at: End,
        /// Its key.
        key: Key,
    },
    /// Adds a route.
    AddRoute {
        /// In whose rtable.
        domain: DomainId,
        /// The route.
        route: Route,
    },
    /// Removes a route.
    RemoveRoute {
        /// From whose rtable.
        domain: DomainId,
        /// The route.
        route: Route,
    },
    /// Sets a sysctl; what it was before is kept.
    SetSysctl {
        /// Where.
        domain: DomainId,
        /// Which.
        name: SysctlName,
        /// To what, as /proc/sys shows it.
        value: String,
    },
    /// Gives a sysctl back the value that it had before the first `SetSysctl`.
    ResetSysctl {
        /// Where.
        domain: DomainId,
        /// Which.
        name: SysctlName,
    },
}

impl Step {
    /// What it changes: where the file speaks of this, an error in taking the step belongs.
    pub fn object(&self) -> Object {
        match self {
            Step::CreateDomain { domain, .. } | Step::DeleteDomain { domain, .. } => Object::Domain(*domain),
            Step::RequireInterface { at }
            | Step::CreateInterface { at, .. }
            | Step::DeleteInterface { at }
            | Step::SetMtu { at, .. }
            | Step::SetBridge { at, .. }
            | Step::SetUp { at, .. }
            | Step::SetTunnel { at, .. }
            | Step::RemovePeer { at, .. } => Object::Interface(at.clone()),
            Step::AddAddress { at, address } | Step::RemoveAddress { at, address } => {
                Object::Address(at.clone(), *address)
            }
            Step::SetPeer { at, peer, .. } => match &peer.name {
                Some(name) => Object::Peer(at.clone(), name.clone()),
                None => Object::Interface(at.clone()),
            },
            Step::AddRoute { domain, route } | Step::RemoveRoute { domain, route } => {
                Object::Route(*domain, route.to, route.metric)
            }
            Step::SetSysctl { domain, name, .. } | Step::ResetSysctl { domain, name } => {
                Object::Sysctl(*domain, name.clone())
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::CreateDomain { domain, name } => write!(f, "create domain {domain} (namespace {name})"),
            Step::DeleteDomain { domain, name } => write!(f, "delete domain {domain} (namespace {name})"),
            Step::RequireInterface { at } => write!(f, "require interface {at}"),
            Step::CreateInterface { at, kind } => write_create(f, at, kind),
            Step::DeleteInterface { at } => write!(f, "delete interface {at}"),
            Step::SetMtu { at, mtu } => write!(f, "set mtu of {at} to {mtu}"),
            Step::SetBridge { at, bridge: Some(bridge) } => write!(f, "add {at} to bridge {bridge}"),
            Step::SetBridge { at, bridge: None } => write!(f, "remove {at} from its bridge"),
            Step::SetUp { at, up: true } => write!(f, "set {at} up"),
            Step::SetUp { at, up: false } => write!(f, "set {at} down"),
            Step::AddAddress { at, address } => write!(f, "add address {address} to {at}"),
            Step::RemoveAddress { at, address } => write!(f, "remove address {address} from {at}"),
            Step::SetTunnel { at, tunnel } => {
                write!(f, "set tunnel {at}: {}, key {}", Port(tunnel.listen_port), tunnel.key)
            }
            Step::SetPeer { at, key, peer, new_session } => {
                write!(f, "set peer ")?;
                peer.name.iter().try_for_each(|name| write!(f, "{name} "))?;
                write!(f, "{key} of {at}")?;
                f.write_str(if *new_session { " (its session starts anew)" } else { "" })
            }
            Step::RemovePeer { at, key } => write!(f, "remove peer {key} of {at}"),
            Step::AddRoute { domain, route } => write!(f, "add route {route} to domain {domain}"),
            Step::RemoveRoute { domain, route } => write!(f, "remove route {route} from domain {domain}"),
            Step::SetSysctl { domain, name, value } => {
                write!(f, "set sysctl {name} of domain {domain} to {value}")
            }
            Step::ResetSysctl { domain, name } => write!(f, "reset sysctl {name} of domain {domain}"),
        }
    }
}

fn write_create(f: &mut fmt::Formatter<'_>, at: &End, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::Veth { peer } => write!(f, "create link {at} to {peer}"),
        Kind::Bridge | Kind::Loopback | Kind::Existing => write!(f, "create {} {at}", kind.word()),
        Kind::WireGuard(tunnel) => {
            let engine = match tunnel.engine {
                Engine::Auto => "",
                Engine::Kernel => ", kernel engine",
                Engine::Userspace => ", userspace engine",
            };
            write!(f, "create wireguard {at}{engine}, sockets in domain {}, ", tunnel.underlay)?;
            write!(f, "{}, key {}", Port(tunnel.listen_port), tunnel.key)
        }
    }
}

/// A port that may still be open.
struct Port(Option<u16>);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => write!(f, "port {port}"),
            None => f.write_str("any port"),
        }
    }
}
