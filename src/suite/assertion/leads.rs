//! Whether the domains' tables lead from one to another: the proof that stands beside the packets of `apart`.
//!
//! Domains that no chain of links and tunnels joins need no look at tables. Of others the tables are asked hop by hop,
//! each as for the packet that came in there: with its rules, and whether that domain forwards at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Ground;
use crate::backend::linux::view::{Arrival, Which};
use crate::model::{DomainId, End, InterfaceName};
use crate::status::{InterfaceView, RouteGet};
use crate::suite::wires::{Joint, Wires};

/// The most domains that a packet is followed through.
const HOPS: usize = 64;

/// What joins the domains of a network at this moment.
pub(super) struct Leads<'g> {
    ground: &'g Ground,
    interfaces: Vec<InterfaceView>,
    wires: Wires<'g>,
    joints: BTreeMap<(DomainId, DomainId), Joint>,
}

impl<'g> Leads<'g> {
    pub(super) fn of(ground: &'g Ground) -> Result<Self, String> {
        let interfaces = ground.survey.interfaces().map_err(|error| error.to_string())?;
        let wires = Wires::up(&ground.network, &interfaces);
        let joints = wires.joints();
        Ok(Self { ground, interfaces, wires, joints })
    }

    /// The addresses of a domain by which others could know it; what only its own programs know is not among them.
    pub(super) fn addresses(&self, domain: DomainId) -> Vec<IpAddr> {
        let views = self.interfaces.iter().filter(|view| view.domain == domain.number());
        let addresses = views.flat_map(|view| view.addresses.iter().map(|own| own.address.ip()));
        addresses.filter(|address| !address.is_loopback() && !is_link_local(*address)).collect()
    }

    /// The indices of a domain's interfaces.
    pub(super) fn links(&self, domain: DomainId) -> Vec<u32> {
        let views = self.interfaces.iter().filter(|view| view.domain == domain.number());
        views.map(|view| view.index).collect()
    }

    /// How one domain leads to another, if it does.
    pub(super) fn leak(&self, from: DomainId, to: DomainId) -> Option<String> {
        let pair = || format!("{} leads to {}", self.ground.word(from), self.ground.word(to));
        if let Some(joint) = self.joints.get(&(from, to)) {
            return Some(format!("{}: {}", pair(), joint.text(self.ground)));
        }
        if !self.reaches(from, to) {
            return None;
        }
        let way = |address| Some((address, self.way(from, to, address)?));
        let (address, passed) = self.addresses(to).into_iter().find_map(way)?;
        let passed: Vec<_> = passed.iter().map(|end| self.ground.end_word(end)).collect();
        Some(format!("{}: a packet to {address} goes by {}", pair(), passed.join(", ")))
    }

    /// Whether links and tunnels lead there, through whatever other domains.
    fn reaches(&self, from: DomainId, to: DomainId) -> bool {
        let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
        while let Some(domain) = left.pop() {
            let near = (domain, DomainId::DEFAULT)..;
            let next = self.joints.range(near).map(|(pair, _)| *pair).take_while(|pair| pair.0 == domain);
            left.extend(next.map(|pair| pair.1).filter(|next| !reached.contains(next)));
            reached.insert(domain);
        }
        reached.contains(&to)
    }

    /// The interfaces that a packet passes on its way to an address, if it comes out in that domain.
    fn way(&self, from: DomainId, to: DomainId, address: IpAddr) -> Option<Vec<End>> {
        let survey = &self.ground.survey;
        let mut found = survey.route_get(from, Which::Own, address).ok()??;
        let source = found.if_address?;
        let (mut domain, mut passed) = (from, Vec::new());
        while passed.len() < HOPS && found.leads_somewhere() && !found.is_local() {
            let (out, far) = self.hop(domain, &found)?;
            domain = far.domain;
            let arrival = Arrival { by: far.interface.clone(), from: source };
            found = survey.route_of(domain, &arrival, address).ok()??;
            if !found.is_local() && !self.ground.forwards(&far, address) {
                return None;
            }
            passed.extend([out, far]);
        }
        (domain == to && found.is_local()).then_some(passed)
    }

    fn hop(&self, domain: DomainId, found: &RouteGet) -> Option<(End, End)> {
        let out = End { domain, interface: InterfaceName::new(found.route.dev.as_str()).ok()? };
        let far = self.wires.far_end(&out, found)?;
        Some((out, far))
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
