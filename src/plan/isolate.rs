//! What an isolation is made of, spelled out as plain objects, so that plan, observation, repair and rollback need to
//! know nothing of it.
//!
//! A VRF device has a table; what belongs to it is looked up there. In a namespace of its own (`netns+vrf`) a rule
//! sends sockets that are bound to nothing there too, and listeners that are bound to nothing hear what comes in by
//! it (Documentation/networking/vrf.rst, ip-sysctl.rst). Without a namespace (`vrf`) the device holds the loopback
//! addresses. In both, a route of the highest metric ends the search in the table: without it the search goes on in
//! the namespace's main table.
//!
//! A further rtable of a domain is chosen by the mark of its number, which sockets of its programs are born with. Its
//! rules come before all others but `local`'s, so that a socket that is bound to a VRF device is looked up there too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{
    Capabilities, Domain, DomainId, Fwmark, Interface, InterfaceName, Isolation, Kind, Prefix, Route, Rule,
    Selector, SysctlName, Target,
};

/// The metric that vrf.rst gives to the route that ends the search.
const LAST_METRIC: u32 = 4_278_198_272;

/// Behind the kernel's own rule for VRF devices (1000), before those of main and default (32766, 32767).
const UNBOUND_PRIORITY: u32 = 2000;

/// Before the kernel's own rule for VRF devices.
const FURTHER_PRIORITY: u32 = 500;

/// Where a file leaves the choice: a namespace, with a VRF in it where the kernel has VRF.
pub(super) fn choose(id: DomainId, isolation: Isolation, capabilities: &Capabilities) -> Isolation {
    match isolation {
        _ if id.is_default() => Isolation::Netns,
        Isolation::Auto if capabilities.vrf => Isolation::NetnsVrf,
        Isolation::Auto => Isolation::Netns,
        Isolation::Netns | Isolation::NetnsVrf | Isolation::Vrf => isolation,
    }
}

/// Adds to a domain what its isolation and its further rtables are made of.
pub(super) fn spell_out(id: DomainId, domain: &mut Domain) {
    if domain.isolation.has_vrf() {
        enslave(id, domain);
    }
    for (priority, (&rtable, routes)) in (FURTHER_PRIORITY..).zip(&mut domain.rtables) {
        let fwmark = Some(Fwmark { value: rtable.number(), mask: u32::MAX });
        domain.rules.insert(Rule { priority, selector: Selector { fwmark, ..Selector::default() }, rtable });
        routes.extend(last_routes());
    }
}

fn enslave(id: DomainId, domain: &mut Domain) {
    let device = InterfaceName::of_vrf(id);
    let mut vrf = Interface::new(Kind::Vrf { rtable: id.into() });
    if domain.isolation == Isolation::NetnsVrf {
        hear_and_ask_unbound(id, domain);
    } else if let Some(lo) = domain.interfaces.remove(&InterfaceName::loopback()) {
        vrf.addresses = lo.addresses;
    }
    for interface in domain.interfaces.values_mut() {
        if interface.kind != Kind::Loopback && interface.controller.is_none() {
            interface.controller = Some(device.clone());
        }
    }
    domain.interfaces.insert(device, vrf);
    domain.routes.extend(last_routes());
}

fn hear_and_ask_unbound(id: DomainId, domain: &mut Domain) {
    let rule = Rule { priority: UNBOUND_PRIORITY, selector: Selector::default(), rtable: id.into() };
    domain.rules.insert(rule);
    for protocol in ["tcp", "udp"] {
        let name = SysctlName::new(format!("net.ipv4.{protocol}_l3mdev_accept"));
        if let Ok(name) = name {
            domain.sysctls.entry(name).or_insert_with(|| "1".to_owned());
        }
    }
}

fn last_routes() -> impl Iterator<Item = Route> {
    let everything = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    everything.into_iter().map(|address| Route {
        to: Prefix::everything_like(address),
        metric: LAST_METRIC,
        target: Target::Unreachable,
    })
}
