//! Everything of one network that an operator sees, over all of its domains, straight from the kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::namespaces::{Namespaces, Place};
use super::netlink::{Netlink, NetlinkError, Protocol};
use super::sockets::TunnelSockets;
use super::view::{self, Arrival, Scope, Which};
use crate::backend::BackendError;
use crate::model::{DomainId, End, InterfaceName, Network};
use crate::state::{Directories, Ledger};
use crate::status::{
    Family, InterfaceView, LinkFacts, LinkKind, RdomainView, RouteGet, RouteTable, RuleTable, SocketTable,
    StatusView, TunnelView,
};

/// A network as it is at this moment.
#[derive(Debug)]
pub struct Survey {
    namespaces: Namespaces,
    sockets: TunnelSockets,
}

impl Survey {
    /// Of the network with these directories; the caller must be in its default domain.
    pub fn of(directories: &Directories) -> Result<Self, BackendError> {
        let namespaces = Namespaces::of(&Ledger::of(directories))?;
        Ok(Self { namespaces, sockets: TunnelSockets::of(directories) })
    }

    /// Of these of its domains, which its ledger has; the default domain is always among them.
    pub fn of_some(
        directories: &Directories,
        ledger: &Ledger,
        domains: &BTreeSet<DomainId>,
    ) -> Result<Self, BackendError> {
        let namespaces = Namespaces::of_some(ledger, domains)?;
        Ok(Self { namespaces, sockets: TunnelSockets::of(directories) })
    }

    /// Its domains.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Its domains, kept.
    pub fn into_namespaces(self) -> Namespaces {
        self.namespaces
    }

    /// Where the UAPI sockets of its userspace tunnels are.
    pub fn sockets(&self) -> &TunnelSockets {
        &self.sockets
    }

    /// Every interface of every domain, those of others in the default domain as well.
    pub fn interfaces(&self) -> Result<Vec<InterfaceView>, BackendError> {
        let mut views = Vec::new();
        for (id, place) in self.namespaces.iter() {
            let tunnel = |link: &LinkFacts| self.tunnel(id, place, link);
            let found = route_socket(place).and_then(|mut route| {
                view::interfaces(id, &place.name, &self.scope(id, place), &mut route, tunnel)
            });
            views.extend(found.map_err(|error| trouble("interfaces", id, error))?);
        }
        Ok(views)
    }

    /// The routes of one of a domain's rtables.
    pub fn route_table(&self, domain: DomainId, which: Which) -> Result<RouteTable, BackendError> {
        let place = self.place(domain)?;
        let scope = self.scope(domain, place);
        let table =
            route_socket(place).and_then(|mut route| view::route_table(domain, &scope, which, &mut route));
        table.map_err(|error| trouble("routes", domain, error))
    }

    /// The route that a packet of a program in one of this domain's rtables would take.
    pub fn route_get(
        &self,
        domain: DomainId,
        which: Which,
        to: IpAddr,
    ) -> Result<Option<RouteGet>, BackendError> {
        let place = self.place(domain)?;
        let scope = self.scope(domain, place);
        let found =
            route_socket(place).and_then(|mut route| view::route_get(domain, &scope, which, &mut route, to));
        found.map_err(|error| trouble("routes", domain, error))
    }

    /// The route that a packet would take which came into a domain from another host.
    pub fn route_of(
        &self,
        domain: DomainId,
        arrival: &Arrival,
        to: IpAddr,
    ) -> Result<Option<RouteGet>, BackendError> {
        let place = self.place(domain)?;
        let scope = self.scope(domain, place);
        let found =
            route_socket(place).and_then(|mut route| view::route_of(domain, &scope, arrival, &mut route, to));
        found.map_err(|error| trouble("routes", domain, error))
    }

    /// The rules of a family that packets of a domain meet, but for those of the kernel itself.
    pub fn rules(&self, domain: DomainId, family: Family) -> Result<RuleTable, BackendError> {
        let place = self.place(domain)?;
        let rules = route_socket(place).and_then(|mut route| view::rules(domain, family, &mut route));
        rules.map_err(|error| trouble("rules", domain, error))
    }

    /// The sockets of a domain that wait for somebody.
    pub fn socket_table(&self, domain: DomainId) -> Result<SocketTable, BackendError> {
        let place = self.place(domain)?;
        let table = route_socket(place).and_then(|mut route| {
            let mut diag = Netlink::of(&place.namespace, Protocol::SockDiag)?;
            view::socket_table(domain, &self.scope(domain, place), &mut diag, &mut route)
        });
        table.map_err(|error| trouble("sockets", domain, error))
    }

    /// The local addresses of a domain's connected sockets, one a socket.
    pub fn connected(&self, domain: DomainId) -> Result<Vec<IpAddr>, BackendError> {
        let place = self.place(domain)?;
        let connected = route_socket(place).and_then(|mut route| {
            let mut diag = Netlink::of(&place.namespace, Protocol::SockDiag)?;
            view::connected(&self.scope(domain, place), &mut diag, &mut route)
        });
        connected.map_err(|error| trouble("sockets", domain, error))
    }

    /// The domains with their interfaces and rtables.
    pub fn rdomains(&self) -> Result<Vec<RdomainView>, BackendError> {
        let each = self.namespaces.iter().map(|(id, place)| {
            let scope = self.scope(id, place);
            let view =
                route_socket(place).and_then(|mut route| view::rdomain(id, &place.name, &scope, &mut route));
            let view = view.map_err(|error| trouble("rtables", id, error))?;
            Ok(view.with_rtables(self.noted_tables(id, place)))
        });
        each.collect()
    }

    /// The network at a glance. `desired`, where it is known, gives peers their names.
    pub fn status(
        &self,
        observed: &Network,
        desired: Option<&Network>,
        reason: String,
    ) -> Result<StatusView, BackendError> {
        let mut interfaces = self.interfaces()?;
        for view in &mut interfaces {
            desired.iter().for_each(|desired| view.annotate(desired));
        }
        let domains = self.namespaces.iter().map(|(id, _)| self.socket_table(id));
        let sockets = domains.collect::<Result<Vec<_>, _>>()?;
        Ok(StatusView::new(observed, &interfaces, &sockets, reason))
    }

    /// What of its namespace is a domain's.
    fn scope(&self, domain: DomainId, place: &Place) -> Scope {
        let guests = self.namespaces.iter().filter(|(_, guest)| !guest.record.isolation.has_namespace());
        let guests: Vec<_> = guests.map(|(id, guest)| (id, self.noted_tables(id, guest))).collect();
        Scope::of(domain, place.record.isolation, &guests)
    }

    /// The tables that a domain which shares its namespace is known to have, its own among them.
    fn noted_tables(&self, domain: DomainId, place: &Place) -> BTreeSet<u32> {
        let noted = place.record.routes.iter().filter_map(|note| note.split(' ').next()?.parse().ok());
        let own = (!place.record.isolation.has_namespace()).then(|| domain.number());
        noted.filter(|_| own.is_some()).chain(own).collect()
    }

    /// The indices of a domain's VRF device and of its interfaces, where the domain has no namespace of its own.
    pub fn vrf_device(&self, domain: DomainId) -> Result<Option<(u32, Vec<u32>)>, BackendError> {
        let place = self.place(domain)?;
        if place.record.isolation.has_namespace() {
            return Ok(None);
        }
        let name = InterfaceName::of_vrf(domain);
        let links = route_socket(place).and_then(|mut route| view::links(&mut route));
        let links = links.map_err(|error| trouble("interfaces", domain, error))?;
        let device = links.iter().find(|link| link.name == name.as_str());
        let absent = || BackendError::new(format!("domain {domain} has lost its VRF device {name}"));
        let device = device.ok_or_else(absent)?.index;
        let of_it = links.iter().filter(|link| link.master == Some(device)).map(|link| link.index);
        Ok(Some((device, of_it.collect())))
    }

    /// The domain of this number.
    pub fn place(&self, domain: DomainId) -> Result<&Place, BackendError> {
        let missing = || BackendError::new(format!("routing table {domain}: No such file or directory"));
        self.namespaces.domain(domain).ok_or_else(missing)
    }

    /// The state of a link, if it is one of our tunnels or a kernel's.
    fn tunnel(&self, domain: DomainId, place: &Place, link: &LinkFacts) -> Option<TunnelView> {
        let interface = InterfaceName::new(link.name.as_str()).ok()?;
        let record = place.record.tunnels.get(interface.as_str());
        let view = match &link.kind {
            LinkKind::Virtual(word) if word == "wireguard" => {
                let mut generic = Netlink::of(&place.namespace, Protocol::Generic).ok()?;
                view::tunnel_of_driver(&mut generic, &interface).ok()
            }
            _ => record.and_then(|_| self.engine(&End { domain, interface })),
        };
        let underlay = record.map_or(0, |record| record.underlay);
        view.map(|view| TunnelView { underlay, ..view })
    }

    fn engine(&self, at: &End) -> Option<TunnelView> {
        view::tunnel_of_stream(self.sockets.connect(at).ok()?).ok()
    }
}

fn route_socket(place: &Place) -> Result<Netlink, NetlinkError> {
    Netlink::of(&place.namespace, Protocol::Route)
}

fn trouble(what: &str, domain: DomainId, error: NetlinkError) -> BackendError {
    BackendError::new(format!("cannot read the {what} of domain {domain}")).caused_by(error)
}
