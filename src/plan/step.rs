//! One change to a kernel, and the one way that it is printed.

use std::fmt;

use crate::model::{
    Address, DomainId, DomainName, End, Engine, Impairment, InterfaceName, Isolation, Key, Kind, Object,
    Peer, Route, RtableId, Rule, SysctlName, Vxlan, WireGuard,
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
        /// What it is made of; a VRF device is made by a step of its own.
        isolation: Isolation,
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
        /// What; of the peers of a tunnel their number counts alone.
        kind: Kind,
    },
    /// Removes an interface of ours; the other end of a link goes with it.
    DeleteInterface {
        /// Where.
        at: End,
    },
    /// Lends an interface of the default domain to another one, where it is down and bare; what it was is kept.
    LendInterface {
        /// Where it shall be.
        at: End,
        /// What it is called at home.
        home: InterfaceName,
    },
    /// Gives a lent interface back to the default domain, with the name, addresses, routes and state that it had there.
    ReturnInterface {
        /// Where it is.
        at: End,
        /// What it is called at home.
        home: InterfaceName,
    },
    /// Sets the largest packet.
    SetMtu {
        /// Where.
        at: End,
        /// Bytes.
        mtu: u32,
    },
    /// Makes an interface a port of a bridge, or a member of a VRF device, of its domain, or of none.
    SetController {
        /// The port or member.
        at: End,
        /// The bridge or VRF device.
        controller: Option<InterfaceName>,
    },
    /// Makes an end of a link do this to the packets that leave by it, instead of what it does.
    SetImpairment {
        /// The end.
        at: End,
        /// What it shall do.
        impairment: Impairment,
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
        /// The new port and key; engine and underlay are as they were, of peers the number counts.
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
        /// Which one.
        rtable: RtableId,
        /// The route.
        route: Route,
    },
    /// Removes a route.
    RemoveRoute {
        /// From whose rtable.
        domain: DomainId,
        /// Which one.
        rtable: RtableId,
        /// The route.
        route: Route,
    },
    /// Adds a policy rule.
    AddRule {
        /// Where.
        domain: DomainId,
        /// The rule.
        rule: Rule,
    },
    /// Removes a policy rule.
    RemoveRule {
        /// Where.
        domain: DomainId,
        /// The rule.
        rule: Rule,
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
    /// Whether it takes away what a file does not have, or not so.
    pub fn removes(&self) -> bool {
        match self {
            Step::DeleteDomain { .. }
            | Step::DeleteInterface { .. }
            | Step::ReturnInterface { .. }
            | Step::RemoveAddress { .. }
            | Step::RemovePeer { .. }
            | Step::RemoveRoute { .. }
            | Step::RemoveRule { .. }
            | Step::ResetSysctl { .. } => true,
            Step::CreateDomain { .. }
            | Step::RequireInterface { .. }
            | Step::CreateInterface { .. }
            | Step::LendInterface { .. }
            | Step::SetImpairment { .. }
            | Step::SetMtu { .. }
            | Step::SetController { .. }
            | Step::SetUp { .. }
            | Step::AddAddress { .. }
            | Step::SetTunnel { .. }
            | Step::SetPeer { .. }
            | Step::AddRoute { .. }
            | Step::AddRule { .. }
            | Step::SetSysctl { .. } => false,
        }
    }

    /// What it changes: where the file speaks of this, an error in taking the step belongs.
    pub fn object(&self) -> Object {
        match self {
            Step::CreateDomain { domain, .. } | Step::DeleteDomain { domain, .. } => Object::Domain(*domain),
            Step::RequireInterface { at }
            | Step::CreateInterface { at, .. }
            | Step::DeleteInterface { at }
            | Step::LendInterface { at, .. }
            | Step::ReturnInterface { at, .. }
            | Step::SetMtu { at, .. }
            | Step::SetController { at, .. }
            | Step::SetImpairment { at, .. }
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
            Step::AddRoute { domain, rtable, route } | Step::RemoveRoute { domain, rtable, route } => {
                Object::Route(*domain, *rtable, route.to, route.metric)
            }
            Step::AddRule { domain, rule } | Step::RemoveRule { domain, rule } => {
                Object::Rule(*domain, rule.priority)
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
            Step::CreateDomain { domain, name, isolation } => match isolation {
                Isolation::Netns | Isolation::NetnsVrf => {
                    write!(f, "create domain {domain} (namespace {name})")
                }
                Isolation::Vrf => write!(f, "create domain {domain} ({name}, no namespace)"),
                Isolation::Auto => write!(f, "create domain {domain} ({name})"),
            },
            Step::DeleteDomain { domain, name } => write!(f, "delete domain {domain} ({name})"),
            Step::RequireInterface { at } => write!(f, "require interface {at}"),
            Step::CreateInterface { at, kind } => write_create(f, at, kind),
            Step::DeleteInterface { at } => write!(f, "delete interface {at}"),
            Step::LendInterface { at, home } => {
                write!(f, "lend {} to domain {}", HomeOf(home), at.domain)?;
                if at.interface == *home { Ok(()) } else { write!(f, " as {}", at.interface) }
            }
            Step::ReturnInterface { at, home } => write!(f, "return {at} as {}", HomeOf(home)),
            Step::SetMtu { at, mtu } => write!(f, "set mtu of {at} to {mtu}"),
            Step::SetController { at, controller: Some(controller) } => write!(f, "add {at} to {controller}"),
            Step::SetController { at, controller: None } => {
                write!(f, "remove {at} from what it is a port of")
            }
            Step::SetImpairment { at, impairment } => write!(f, "impair {at} by {impairment}"),
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
            Step::AddRoute { domain, rtable, route } => {
                write!(f, "add route {route} to {}", Table(*domain, *rtable))
            }
            Step::RemoveRoute { domain, rtable, route } => {
                write!(f, "remove route {route} from {}", Table(*domain, *rtable))
            }
            Step::AddRule { domain, rule } => write!(f, "add rule {rule} to domain {domain}"),
            Step::RemoveRule { domain, rule } => write!(f, "remove rule {rule} from domain {domain}"),
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
        Kind::Bridge | Kind::Loopback | Kind::Existing | Kind::Dummy | Kind::Physical { .. } => {
            write!(f, "create {} {at}", kind.word())
        }
        Kind::Vrf { rtable } => write!(f, "create vrf {at} of rtable {rtable}"),
        Kind::Vlan { parent, id } => write!(f, "create vlan {at} on {parent}, id {id}"),
        Kind::Macvlan { parent } => write!(f, "create macvlan {at} on {parent}"),
        Kind::Vxlan(vxlan) => {
            let Vxlan { id, underlay, local, remote, port } = vxlan;
            write!(f, "create vxlan {at}, id {id}, sockets in domain {underlay}, port {port}")?;
            local.iter().try_for_each(|local| write!(f, ", from {local}"))?;
            remote.iter().try_for_each(|remote| write!(f, ", to {remote}"))
        }
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

/// An interface of the default domain.
struct HomeOf<'a>(&'a InterfaceName);

impl fmt::Display for HomeOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", DomainId::DEFAULT, self.0)
    }
}

/// An rtable of a domain.
struct Table(DomainId, RtableId);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(domain, rtable) = self;
        match *rtable == RtableId::from(*domain) {
            true => write!(f, "domain {domain}"),
            false => write!(f, "rtable {rtable} of domain {domain}"),
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
