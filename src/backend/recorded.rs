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
    Domain, DomainId, End, Interface, InterfaceName, Key, Kind, Network, Peer, Prefix, Route, RtableId,
    SysctlName, Target,
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
        Step::CreateDomain { domain, name, isolation } => {
            let mut born = Domain { name: name.clone(), isolation: *isolation, ..Domain::bare(*domain) };
            let lo = Interface { up: false, mtu: Some(65536), ..Interface::new(Kind::Loopback) };
            if isolation.has_namespace() {
                born.interfaces.insert(InterfaceName::loopback(), lo);
            }
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
        Step::LendInterface { at, home } => lend(network, at, home),
        Step::ReturnInterface { at, home } => give_back(network, at, home),
        Step::SetMtu { at, mtu } => {
            own_interface(network, at)?.mtu = Some(*mtu);
            Ok(())
        }
        Step::SetImpairment { at, impairment } => {
            own_interface(network, at)?.impairment = *impairment;
            Ok(())
        }
        Step::SetController { at, controller } => set_controller(network, at, controller.as_ref()),
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
        Step::AddRoute { domain, rtable, route } => add_route(network, *domain, *rtable, route),
        Step::RemoveRoute { domain: id, rtable, route } => {
            let inside = domain(network, *id)?;
            let gone = inside.table_mut(*id, *rtable).remove(route);
            inside.rtables.retain(|_, routes| !routes.is_empty());
            removed(gone)
        }
        Step::AddRule { domain: id, rule } => added(domain(network, *id)?.rules.insert(rule.clone())),
        Step::RemoveRule { domain: id, rule } => removed(domain(network, *id)?.rules.remove(rule)),
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
    if domain(network, id)?.interfaces.values().any(|held| matches!(held.kind, Kind::Physical { .. })) {
        return Err("a lent interface would be lost");
    }
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
        Kind::Vxlan(vxlan) => domain(network, vxlan.underlay).map(|_| None)?,
        Kind::Vlan { parent, .. } | Kind::Macvlan { parent } => interface(network, parent).map(|_| None)?,
        Kind::Bridge | Kind::Dummy | Kind::Vrf { .. } => None,
        Kind::Loopback | Kind::Existing | Kind::Physical { .. } => return Err("not supported"),
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

fn lend(network: &mut Network, at: &End, home: &InterfaceName) -> Result<(), Refusal> {
    let from = End { domain: DomainId::DEFAULT, interface: home.clone() };
    let held = interface(network, &from)?;
    if held.kind != Kind::Existing || !held.addresses.is_empty() {
        return Err("in use at home");
    }
    added(!domain(network, at.domain)?.interfaces.contains_key(&at.interface))?;
    forget_interface(network, &from);
    let lent = Interface { up: false, ..Interface::new(Kind::Physical { home: home.clone() }) };
    domain(network, at.domain)?.interfaces.insert(at.interface.clone(), lent);
    Ok(())
}

fn give_back(network: &mut Network, at: &End, home: &InterfaceName) -> Result<(), Refusal> {
    let lent = Kind::Physical { home: home.clone() };
    if interface(network, at)?.kind != lent {
        return Err(FOREIGN);
    }
    let there = End { domain: DomainId::DEFAULT, interface: home.clone() };
    added(*at == there || network.interface(&there).is_none())?;
    forget_interface(network, at);
    domain(network, there.domain)?.interfaces.insert(there.interface, Interface::new(Kind::Existing));
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
    for port in inside.interfaces.values_mut().filter(|port| port.controller.as_ref() == Some(&at.interface))
    {
        port.controller = None;
    }
    let on_it = network.interfaces().filter(|(_, other)| other.kind.parent() == Some(at)).map(|(at, _)| at);
    for child in on_it.collect::<Vec<_>>() {
        forget_interface(network, &child);
    }
    if let Kind::Veth { peer } = gone.kind {
        forget_interface(network, &peer);
    }
}

fn set_controller(
    network: &mut Network,
    at: &End,
    controller: Option<&InterfaceName>,
) -> Result<(), Refusal> {
    if let Some(controller) = controller {
        let place = End { domain: at.domain, interface: controller.clone() };
        if !matches!(interface(network, &place)?.kind, Kind::Bridge | Kind::Vrf { .. }) {
            return Err("operation not supported");
        }
    }
    own_interface(network, at)?.controller = controller.cloned();
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

fn add_route(network: &mut Network, id: DomainId, rtable: RtableId, route: &Route) -> Result<(), Refusal> {
    let inside = domain(network, id)?;
    match &route.target {
        Target::Unicast { via, dev, onlink, .. } => check_hop(inside, *via, dev, *onlink)?,
        Target::Multipath { hops, .. } => {
            hops.iter().try_for_each(|hop| check_hop(inside, hop.via, &hop.dev, false))?;
        }
        Target::Blackhole | Target::Unreachable | Target::Prohibit => {}
    }
    let own = |source: IpAddr| {
        inside.interfaces.values().any(|any| any.addresses.iter().any(|own| own.network.ip() == source))
    };
    if route.source().is_some_and(|source| !own(source)) {
        return Err("invalid prefsrc address");
    }
    let table = inside.table_mut(id, rtable);
    let same: BTreeSet<_> = table.iter().map(|route| (route.to, route.metric)).collect();
    added(!same.contains(&(route.to, route.metric)))?;
    table.insert(route.clone());
    Ok(())
}

fn check_hop(inside: &Domain, via: Option<IpAddr>, dev: &InterfaceName, onlink: bool) -> Result<(), Refusal> {
    let by = inside.interfaces.get(dev).ok_or(NO_DEVICE)?;
    if !by.up {
        return Err("network is down");
    }
    let all = || inside.routes.iter().chain(inside.rtables.values().flatten());
    let by_route = |to: IpAddr| all().any(|other| other.leads_straight_to(to, dev));
    let by_address = |to: IpAddr| by.addresses.iter().any(|own| Prefix::containing(own.network).contains(to));
    let reached = |via: IpAddr| onlink || by.kind == Kind::Existing || by_address(via) || by_route(via);
    if via.is_some_and(|via| !reached(via)) { Err("nexthop has invalid gateway") } else { Ok(()) }
}

fn known_sysctl(network: &Network, id: DomainId, name: &SysctlName) -> Result<(), Refusal> {
    let Some(interface) = name.interface() else { return Ok(()) };
    network.interface(&End { domain: id, interface }).map(|_| ()).ok_or(NOT_FOUND)
}

/// A multipath route keeps its other ways, and is what nobody asked for: a plan must have removed it before.
fn forget_routes(inside: &mut Domain, interface: &InterfaceName) {
    forget(inside, |route| route.devices().any(|dev| dev == interface));
}

fn forget_source(inside: &mut Domain, interface: &InterfaceName, address: IpAddr) {
    forget(inside, |route| route.devices().any(|dev| dev == interface) && route.source() == Some(address));
}

fn forget(inside: &mut Domain, gone: impl Fn(&Route) -> bool) {
    let gone = |route: &Route| matches!(route.target, Target::Unicast { .. }) && gone(route);
    inside.routes.retain(|route| !gone(route));
    inside.rtables.values_mut().for_each(|routes| routes.retain(|route| !gone(route)));
    inside.rtables.retain(|_, routes| !routes.is_empty());
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
