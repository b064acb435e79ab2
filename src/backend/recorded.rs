//! A kernel in memory: what each step means, written down apart from the plan that orders them.
//!
//! It refuses what Linux refuses (no such device, file exists, gateway unreachable, network is down), and removes by
//! itself what Linux removes by itself (the other end of a link, routes of an interface that goes). Objects of
//! others can be put into it; a step that touches one is an error. It keeps every step that it took, and can be
//! told to fail at one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Backend, BackendError};
use crate::model::{
    Domain, DomainId, End, Interface, InterfaceName, Key, Kind, Network, Peer, Prefix, Route, SysctlName,
    Target,
};
use crate::plan::Step;

/// The kernel in memory.
#[derive(Clone, Debug)]
pub struct Recorded {
    network: Network,
    taken: Vec<Step>,
    fails_at: Option<usize>,
}

impl Recorded {
    /// A kernel that holds this network. Interfaces of [`Kind::Existing`] in it are somebody else's.
    pub fn holding(network: Network) -> Self {
        Self { network, taken: Vec::new(), fails_at: None }
    }

    /// The same kernel, refusing the step that comes after this many, once.
    pub fn failing_at(self, step: usize) -> Self {
        Self { fails_at: Some(step), ..self }
    }

    /// What it holds.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The steps that it took.
    pub fn taken(&self) -> &[Step] {
        &self.taken
    }
}

impl Backend for Recorded {
    fn observe(&mut self) -> Result<Network, BackendError> {
        Ok(self.network.clone())
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        if self.fails_at == Some(self.taken.len()) {
            self.fails_at = None;
            return Err(BackendError::new(format!("told to fail at: {step}")));
        }
        take(&mut self.network, step).map_err(|why| BackendError::new(format!("{step}: {why}")))?;
        self.taken.push(step.clone());
        Ok(())
    }
}

/// Why a step is refused, in the kernel's words.
type Refusal = &'static str;

const EXISTS: Refusal = "file exists";
const NO_DEVICE: Refusal = "no such device";
const NOT_FOUND: Refusal = "no such file or directory";
const FOREIGN: Refusal = "not ours";

fn take(network: &mut Network, step: &Step) -> Result<(), Refusal> {
    match step {
        Step::CreateDomain { domain, name } => {
            let mut born = Domain { name: name.clone(), ..Domain::bare(*domain) };
            let lo = Interface { up: false, mtu: Some(65536), ..Interface::new(Kind::Loopback) };
            born.interfaces.insert(InterfaceName::loopback(), lo);
            let taken = network.domains.values().any(|other| other.name == born.name);
            if taken || network.domains.contains_key(domain) {
                return Err(EXISTS);
            }
            network.domains.insert(*domain, born);
            Ok(())
        }
        Step::DeleteDomain { domain, .. } => delete_domain(network, *domain),
        Step::RequireInterface { at } => network.interface(at).map(|_| ()).ok_or(NO_DEVICE),
        Step::CreateInterface { at, kind } => create_interface(network, at, kind),
        Step::DeleteInterface { at } => delete_interface(network, at),
        Step::SetMtu { at, mtu } => {
            own_interface(network, at)?.mtu = Some(*mtu);
            Ok(())
        }
        Step::SetBridge { at, bridge } => set_bridge(network, at, bridge.as_ref()),
        Step::SetUp { at, up } => set_up(network, at, *up),
        Step::AddAddress { at, address } => added(interface(network, at)?.addresses.insert(*address)),
        Step::RemoveAddress { at, address } => {
            let gone = interface(network, at)?.addresses.remove(address);
            forget_source(domain(network, at.domain)?, &at.interface, address.network.ip());
            removed(gone)
        }
        Step::SetTunnel { at, tunnel } => {
            let Kind::WireGuard(seen) = &mut own_interface(network, at)?.kind else { return Err(NO_DEVICE) };
            seen.listen_port = tunnel.listen_port;
            seen.key = tunnel.key.clone();
            Ok(())
        }
        Step::SetPeer { at, key, peer, .. } => set_peer(network, at, key, peer),
        Step::RemovePeer { at, key } => {
            let Kind::WireGuard(seen) = &mut own_interface(network, at)?.kind else { return Err(NO_DEVICE) };
            removed(seen.peers.remove(key).is_some())
        }
        Step::AddRoute { domain, route } => add_route(network, *domain, route),
        Step::RemoveRoute { domain: id, route } => removed(domain(network, *id)?.routes.remove(route)),
        Step::SetSysctl { domain: id, name, value } => {
            known_sysctl(network, *id, name)?;
            domain(network, *id)?.sysctls.insert(name.clone(), value.clone());
            Ok(())
        }
        Step::ResetSysctl { domain: id, name } => {
            removed(domain(network, *id)?.sysctls.remove(name).is_some())
        }
    }
}

fn delete_domain(network: &mut Network, id: DomainId) -> Result<(), Refusal> {
    let inside: Vec<End> = network.interfaces().map(|(at, _)| at).filter(|at| at.domain == id).collect();
    for at in inside {
        forget_interface(network, &at);
    }
    removed(!id.is_default() && network.domains.remove(&id).is_some())
}

fn create_interface(network: &mut Network, at: &End, kind: &Kind) -> Result<(), Refusal> {
    let mut kind = kind.clone();
    let other = match &mut kind {
        Kind::Veth { peer } => Some(peer.clone()),
        Kind::WireGuard(tunnel) => {
            tunnel.peers.clear();
            domain(network, tunnel.underlay)?;
            None
        }
        Kind::Bridge => None,
        Kind::Loopback | Kind::Existing => return Err("not supported"),
    };
    let places = [Some((at, kind)), other.as_ref().map(|other| (other, Kind::Veth { peer: at.clone() }))];
    for (at, _) in places.iter().flatten() {
        added(!domain(network, at.domain)?.interfaces.contains_key(&at.interface))?;
    }
    for (at, kind) in places.into_iter().flatten() {
        let born = Interface { mtu: kind.default_mtu(), up: false, ..Interface::new(kind) };
        domain(network, at.domain)?.interfaces.insert(at.interface.clone(), born);
    }
    Ok(())
}

fn delete_interface(network: &mut Network, at: &End) -> Result<(), Refusal> {
    if own_interface(network, at)?.kind == Kind::Loopback {
        return Err("not supported");
    }
    forget_interface(network, at);
    Ok(())
}

/// Removes an interface and what the kernel removes with it.
fn forget_interface(network: &mut Network, at: &End) {
    let Some(inside) = network.domains.get_mut(&at.domain) else { return };
    let Some(gone) = inside.interfaces.remove(&at.interface) else { return };
    forget_routes(inside, &at.interface);
    inside.sysctls.retain(|name, _| name.interface().as_ref() != Some(&at.interface));
    for port in inside.interfaces.values_mut().filter(|port| port.bridge.as_ref() == Some(&at.interface)) {
        port.bridge = None;
    }
    if let Kind::Veth { peer } = gone.kind {
        forget_interface(network, &peer);
    }
}

fn set_bridge(network: &mut Network, at: &End, bridge: Option<&InterfaceName>) -> Result<(), Refusal> {
    if let Some(bridge) = bridge {
        let switch = End { domain: at.domain, interface: bridge.clone() };
        if interface(network, &switch)?.kind != Kind::Bridge {
            return Err("operation not supported");
        }
    }
    own_interface(network, at)?.bridge = bridge.cloned();
    Ok(())
}

fn set_up(network: &mut Network, at: &End, up: bool) -> Result<(), Refusal> {
    let seen = own_interface(network, at)?;
    seen.up = up;
    if !up {
        seen.addresses.retain(|address| address.network.is_ipv4());
        forget_routes(domain(network, at.domain)?, &at.interface);
    }
    Ok(())
}

fn set_peer(network: &mut Network, at: &End, key: &Key, peer: &Peer) -> Result<(), Refusal> {
    let Kind::WireGuard(seen) = &mut own_interface(network, at)?.kind else { return Err(NO_DEVICE) };
    let before = seen.peers.get(key).and_then(|before| before.endpoint.clone());
    for other in seen.peers.values_mut() {
        other.allowed_ips.retain(|prefix| !peer.allowed_ips.contains(prefix));
    }
    let endpoint = peer.endpoint.clone().or(before);
    seen.peers.insert(key.clone(), Peer { name: None, endpoint, ..peer.clone() });
    Ok(())
}

fn add_route(network: &mut Network, id: DomainId, route: &Route) -> Result<(), Refusal> {
    let inside = domain(network, id)?;
    if let Target::Unicast { via, dev, src, onlink } = &route.target {
        let by = inside.interfaces.get(dev).ok_or(NO_DEVICE)?;
        if !by.up {
            return Err("network is down");
        }
        let by_route = |to: IpAddr| inside.routes.iter().any(|other| other.leads_straight_to(to, dev));
        let by_address =
            |to: IpAddr| by.addresses.iter().any(|own| Prefix::containing(own.network).contains(to));
        let on_link = |to: IpAddr| by_address(to) || by_route(to);
        let foreign = by.kind == Kind::Existing;
        if via.is_some_and(|via| !foreign && !onlink && !on_link(via)) {
            return Err("nexthop has invalid gateway");
        }
        let own = |src: IpAddr| {
            inside.interfaces.values().any(|any| any.addresses.iter().any(|own| own.network.ip() == src))
        };
        if src.is_some_and(|src| !own(src)) {
            return Err("invalid prefsrc address");
        }
    }
    let same: BTreeSet<_> = inside.routes.iter().map(|route| (route.to, route.metric)).collect();
    added(!same.contains(&(route.to, route.metric)))?;
    inside.routes.insert(route.clone());
    Ok(())
}

fn known_sysctl(network: &Network, id: DomainId, name: &SysctlName) -> Result<(), Refusal> {
    let Some(interface) = name.interface() else { return Ok(()) };
    network.interface(&End { domain: id, interface }).map(|_| ()).ok_or(NOT_FOUND)
}

fn forget_routes(inside: &mut Domain, interface: &InterfaceName) {
    inside.routes.retain(|route| !matches!(&route.target, Target::Unicast { dev, .. } if dev == interface));
}

fn forget_source(inside: &mut Domain, interface: &InterfaceName, address: IpAddr) {
    inside.routes.retain(|route| {
        !matches!(&route.target, Target::Unicast { dev, src, .. } if dev == interface && *src == Some(address))
    });
}

fn domain(network: &mut Network, id: DomainId) -> Result<&mut Domain, Refusal> {
    network.domains.get_mut(&id).ok_or(NOT_FOUND)
}

fn interface<'n>(network: &'n mut Network, at: &End) -> Result<&'n mut Interface, Refusal> {
    domain(network, at.domain)?.interfaces.get_mut(&at.interface).ok_or(NO_DEVICE)
}

fn own_interface<'n>(network: &'n mut Network, at: &End) -> Result<&'n mut Interface, Refusal> {
    let found = interface(network, at)?;
    if found.kind == Kind::Existing { Err(FOREIGN) } else { Ok(found) }
}

fn added(new: bool) -> Result<(), Refusal> {
    if new { Ok(()) } else { Err(EXISTS) }
}

fn removed(old: bool) -> Result<(), Refusal> {
    if old { Ok(()) } else { Err(NOT_FOUND) }
}
