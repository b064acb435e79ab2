//! From a step to command lines.
//!
//! A renderer follows the kernel from an observed network on, step by step, for a command may depend on what is
//! there: the first IPv4 address of an interface is set and further ones are added, the second end of a link goes
//! with the first.

mod peer;
mod route;

use std::collections::BTreeSet;

use super::bound::own_loopback;
use super::command::{Command, Word};
use crate::backend::recorded::Recorded;
use crate::backend::{Backend, BackendError, Nature};
use crate::convert::openbsd::mark::Mark;
use crate::model::{
    Address, Domain, DomainId, End, Interface, InterfaceName, Kind, Network, Route, RtableId, WireGuard,
};
use crate::plan::Step;

pub(super) use route::STATIC_PRIORITY;
pub(super) use route::limit as route_limit;

/// Turns steps into command lines, in the order in which they are taken.
pub struct Renderer {
    mark: Mark,
    kernel: Recorded,
    /// The interfaces that were made since: they were never up before they got an address.
    fresh: BTreeSet<End>,
    /// The routes that went with an address and come back with another.
    waiting: Vec<Waiting>,
}

/// A route of an rtable of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Waiting {
    domain: DomainId,
    rtable: RtableId,
    route: Route,
}

impl Renderer {
    /// A renderer that begins with what was observed.
    pub fn new(observed: Network) -> Self {
        let mark = Mark::of(&observed.name);
        Self { mark, kernel: Recorded::holding(observed), fresh: BTreeSet::new(), waiting: Vec::new() }
    }

    /// The commands that take this step; none if the kernel has done it by itself.
    pub fn commands(&mut self, step: &Step) -> Result<Vec<Command>, BackendError> {
        let commands = self.render(step)?;
        if let Step::RequireInterface { at } = step {
            self.suppose(at);
        }
        // What it refuses the tools refuse as well, in their own words.
        let _ = self.kernel.apply(step);
        Ok(commands)
    }

    /// What ifconfig(8) is asked to show is there in what comes after.
    fn suppose(&mut self, at: &End) {
        if self.interface(at).is_none() {
            let mut supposed = self.kernel.network().clone();
            let inside = supposed.domains.entry(at.domain).or_insert_with(|| Domain::bare(at.domain));
            inside.interfaces.insert(at.interface.clone(), Interface::new(Kind::Existing));
            self.kernel = Recorded::holding(supposed);
        }
    }

    fn render(&mut self, step: &Step) -> Result<Vec<Command>, BackendError> {
        Ok(match step {
            Step::CreateDomain { domain, name, .. } => {
                self.fresh.insert(End { domain: *domain, interface: InterfaceName::loopback() });
                let create = Command::ifconfig(format!("lo{domain}")).with("create");
                vec![create.with("description").with(self.mark.of_domain(name)).with("rdomain").with(domain)]
            }
            Step::DeleteDomain { domain, .. } => self.delete_domain(*domain),
            // What must be there is asked for: ifconfig(8) says so if it is not.
            Step::RequireInterface { at } => vec![Command::ifconfig(at.interface.as_str())],
            Step::CreateInterface { at, kind } => self.create(at, kind)?,
            Step::DeleteInterface { at } => {
                let mut going = Vec::new();
                self.add_what_goes_with(at, &mut going);
                going.iter().map(destroy).collect()
            }
            Step::SetMtu { at, mtu } => vec![Command::ifconfig(device(at)).with("mtu").with(mtu)],
            Step::SetUp { at, up } => self.set_up(at, *up),
            Step::AddAddress { at, address } => self.add_address(at, *address)?,
            Step::RemoveAddress { at, address } => self.remove_address(at, *address)?,
            Step::SetTunnel { at, tunnel } => vec![settings(Command::ifconfig(device(at)), tunnel)],
            Step::SetPeer { at, key, peer, new_session } => {
                let before = self.interface(at).and_then(Interface::wireguard);
                let underlay = before.map_or(DomainId::DEFAULT, |tunnel| tunnel.underlay);
                let seen = before.and_then(|tunnel| tunnel.peers.get(key)).cloned();
                let asleep = !self.fresh.contains(at) && self.interface(at).is_some_and(|held| !held.up);
                let change =
                    peer::Change { at, underlay, key, peer, before: seen, new_session: *new_session };
                change.commands(asleep)
            }
            Step::RemovePeer { at, key } => {
                vec![Command::ifconfig(device(at)).with("-wgpeer").with_key(Word::PublicKey(key.clone()))]
            }
            Step::AddRoute { domain, rtable, route } => self.add_route(*domain, *rtable, route)?,
            Step::RemoveRoute { domain, rtable, route } => self.remove_route(*domain, *rtable, route)?,
            Step::SetImpairment { .. } | Step::LendInterface { .. } | Step::ReturnInterface { .. } => {
                return Err(unsupported(step));
            }
            Step::SetController { .. } | Step::AddRule { .. } | Step::RemoveRule { .. } => {
                return Err(unsupported(step));
            }
            Step::SetSysctl { .. } | Step::ResetSysctl { .. } => return Err(unsupported(step)),
        })
    }

    fn create(&mut self, at: &End, kind: &Kind) -> Result<Vec<Command>, BackendError> {
        let other = match kind {
            Kind::Veth { peer } => Some(peer.clone()),
            Kind::WireGuard(_) | Kind::Dummy | Kind::Vlan { .. } => None,
            Kind::Loopback | Kind::Bridge | Kind::Vrf { .. } | Kind::Existing => {
                return Err(unsupported(&Step::CreateInterface { at: at.clone(), kind: kind.clone() }));
            }
            Kind::Macvlan { .. } | Kind::Vxlan(_) | Kind::Physical { .. } => {
                return Err(unsupported(&Step::CreateInterface { at: at.clone(), kind: kind.clone() }));
            }
        };
        let ends = [Some(at.clone()), other.clone()];
        self.fresh.extend(ends.iter().flatten().cloned());
        let made = ends.iter().flatten().map(|end| {
            let create = Command::ifconfig(device(end)).with("create");
            let marked = create.with("description").with(self.mark.text());
            let set = match kind.clone() {
                Kind::WireGuard(tunnel) => settings(marked, &tunnel),
                Kind::Vlan { parent, id } => {
                    marked.with("parent").with(device(&parent)).with("vnetid").with(id)
                }
                _ => marked,
            };
            if end.domain.is_default() { set } else { set.with("rdomain").with(end.domain) }
        });
        let mut commands: Vec<Command> = made.collect();
        commands.extend(other.map(|other| Command::ifconfig(device(at)).with("patch").with(device(&other))));
        Ok(commands)
    }

    /// Everything of ours in it and, at last, its loopback, and with that the domain. Others' interfaces stand in
    /// the way, and are not touched.
    fn delete_domain(&self, domain: DomainId) -> Vec<Command> {
        let lo = End { domain, interface: InterfaceName::loopback() };
        let inside = self.kernel.network().interfaces().filter(|(at, _)| at.domain == domain && *at != lo);
        let mut going = Vec::new();
        inside.for_each(|(at, _)| self.add_what_goes_with(&at, &mut going));
        let lo = self.interface(&lo).is_some().then_some(lo);
        going.iter().chain(&lo).map(destroy).collect()
    }

    /// An interface after what stands on it, with its other end; here those would stay.
    fn add_what_goes_with(&self, at: &End, going: &mut Vec<End>) {
        if going.contains(at) {
            return;
        }
        let on_it = self.kernel.network().interfaces().filter(|(_, other)| other.kind.parent() == Some(at));
        on_it.for_each(|(child, _)| self.add_what_goes_with(&child, going));
        going.push(at.clone());
        if let Some(other) = self.other_end(at) {
            self.add_what_goes_with(&other, going);
        }
    }

    fn set_up(&self, at: &End, up: bool) -> Vec<Command> {
        let held = self.interface(at);
        let bare = held.is_none_or(|held| held.addresses.is_empty());
        let raised = held.is_some_and(|held| held.addresses.iter().any(|own| own.network.is_ipv4()));
        let by_itself = self.fresh.contains(at) && raised;
        if up && (by_itself || (is_loopback(at) && bare)) {
            return Vec::new();
        }
        vec![Command::ifconfig(device(at)).with(if up { "up" } else { "down" })]
    }

    /// Sets the first address of an interface of ours and adds further ones, for else they would take its place. A new
    /// loopback has ::1 by itself.
    fn add_address(&mut self, at: &End, address: Address) -> Result<Vec<Command>, BackendError> {
        let held = self.interface(at);
        let is_v4 = address.network.is_ipv4();
        if is_loopback(at) && address == own_loopback() && self.fresh.contains(at) {
            let there = held.is_some_and(|held| !held.addresses.is_empty());
            return Ok(if there { Vec::new() } else { vec![Command::ifconfig(device(at)).with("up")] });
        }
        let first = held.is_some_and(|held| {
            held.kind != Kind::Existing && held.addresses.iter().all(|own| own.network.is_ipv4() != is_v4)
        });
        let command = Command::ifconfig(device(at)).with(family(is_v4)).with(address.network);
        let mut commands = vec![if first { command } else { command.with("alias") }];
        let (back, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| {
            let by_it = route::depends_on(&waiting.route, &at.interface, address);
            waiting.domain == at.domain && by_it && self.stands(waiting, at, address)
        });
        self.waiting = waiting;
        for Waiting { domain, rtable, route } in back {
            commands.extend(self.add_route_from(domain, rtable, &route, Some(address))?);
        }
        Ok(commands)
    }

    /// Routes that are reached by an address go with it here: they are taken away first, and put back as soon as
    /// another address leads there.
    fn remove_address(&mut self, at: &End, address: Address) -> Result<Vec<Command>, BackendError> {
        let mut commands = Vec::new();
        let mut back = Vec::new();
        for waiting in self.routes_by(at, address) {
            commands.extend(self.delete_route(waiting.domain, waiting.rtable, &waiting.route)?);
            match self.other_address(at, address, &waiting.route) {
                Some(other) => back.push((waiting, other)),
                None => self.waiting.push(waiting),
            }
        }
        let host = address.network.ip();
        commands.push(Command::ifconfig(device(at)).with(family(host.is_ipv4())).with(host).with("delete"));
        for (Waiting { domain, rtable, route }, other) in back {
            commands.extend(self.add_route_from(domain, rtable, &route, Some(other))?);
        }
        Ok(commands)
    }

    fn routes_by(&self, at: &End, address: Address) -> Vec<Waiting> {
        let Some(inside) = self.kernel.network().domains.get(&at.domain) else { return Vec::new() };
        let all = inside.tables(at.domain).flat_map(|(rtable, routes)| {
            routes.iter().map(move |route| Waiting { domain: at.domain, rtable, route: route.clone() })
        });
        let going = |found: &Waiting| route::depends_on(&found.route, &at.interface, address);
        all.filter(|found| going(found) && !self.waiting.contains(found)).collect()
    }

    fn other_address(&self, at: &End, address: Address, route: &Route) -> Option<Address> {
        let others = || self.interface(at).into_iter().flat_map(|held| &held.addresses);
        let leads = |way: &Route, own: Address| route::depends_on(way, &at.interface, own);
        let going = route::ways(route).into_iter().filter(|way| leads(way, address));
        let by_another =
            going.map(|way| others().find(|other| **other != address && leads(&way, **other)).copied());
        by_another.collect::<Option<Vec<_>>>()?.first().copied()
    }

    /// Whether some address leads to each of its ways once `at` has this one too.
    fn stands(&self, waiting: &Waiting, at: &End, address: Address) -> bool {
        route::ways(&waiting.route).iter().all(|way| {
            let Some(dev) = way.devices().next() else { return true };
            let held = self.interface(&End { domain: waiting.domain, interface: dev.clone() });
            let mut own = held.into_iter().flat_map(|held| &held.addresses);
            route::depends_on(way, &at.interface, address) || own.any(|own| route::depends_on(way, dev, *own))
        })
    }

    fn interface(&self, at: &End) -> Option<&Interface> {
        self.kernel.network().interface(at)
    }

    fn other_end(&self, at: &End) -> Option<End> {
        match &self.interface(at)?.kind {
            Kind::Veth { peer } => Some(peer.clone()),
            Kind::Loopback | Kind::Bridge | Kind::WireGuard(_) | Kind::Vrf { .. } | Kind::Dummy => None,
            Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) | Kind::Existing => None,
            Kind::Physical { .. } => None,
        }
    }
}

/// What an interface is called here: names are those of the file, but that each domain's loopback has its number.
fn device(at: &End) -> String {
    if is_loopback(at) { format!("lo{}", at.domain) } else { at.interface.to_string() }
}

fn is_loopback(at: &End) -> bool {
    at.interface == InterfaceName::loopback()
}

fn destroy(at: &End) -> Command {
    Command::ifconfig(device(at)).with("destroy")
}

fn family(is_v4: bool) -> &'static str {
    if is_v4 { "inet" } else { "inet6" }
}

/// Port, key and the rtable of the sockets; a port that is still open is the kernel's choice.
fn settings(command: Command, tunnel: &WireGuard) -> Command {
    let command = match tunnel.listen_port {
        Some(port) => command.with("wgport").with(port),
        None => command,
    };
    let command = command.with("wgkey").with_key(Word::PrivateKey(tunnel.key.clone()));
    if tunnel.underlay.is_default() { command } else { command.with("wgrtable").with(tunnel.underlay) }
}

fn unsupported(step: &Step) -> BackendError {
    let error = BackendError::new(format!("OpenBSD cannot {step}"));
    let error = error.help("`rdom check --backend openbsd` says what else of the file it cannot");
    BackendError { nature: Nature::Unsupported, ..error }
}
