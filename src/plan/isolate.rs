//! What an isolation is made of, spelled out as plain objects, so that plan, observation, repair and rollback need to
//! know nothing of it.
//!
//! A VRF device has a table; what belongs to it is looked up there. In a namespace of its own (`netns+vrf`) a rule
//! sends sockets that are bound to nothing there too, listeners that are bound to nothing hear what comes in by it, and
//! may be bound to its addresses (Documentation/networking/vrf.rst, ip-sysctl.rst). Without a namespace (`vrf`) the device holds the loopback
//! addresses. In both, a route of the highest metric ends the search in the table: without it the search goes on in
//! the namespace's main table.
//!
//! A further rtable of a domain is chosen by the mark of its number, which sockets of its programs are born with. Its
//! rules come before the kernel's for VRF devices, so that a socket that is bound to one is looked up there too. They
//! are about what leaves the machine's own sockets (`iif lo`): a mark stays on a packet that a link carries to another
//! domain of the same namespace.
//!
//! A VRF's table also has the domain's own addresses, which in a plain namespace are in a table that is asked before
//! everything. So where a domain with a VRF has rules or further rtables, its own addresses are asked for first. And
//! where several domains share a namespace, what belongs to a VRF passes over that table, which is the default domain's.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use crate::model::{
    Action, Address, Capabilities, Domain, DomainId, Fwmark, Interface, InterfaceName, Isolation, Kind,
    Network, Prefix, Route, Rule, Selector, SysctlName, Target,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// The metric that vrf.rst gives to the route that ends the search.
const LAST_METRIC: u32 = 4_278_198_272;

/// Behind the kernel's own rule for VRF devices (1000), before those of main and default (32766, 32767).
const UNBOUND_PRIORITY: u32 = 2000;

/// Before the kernel's own rule for VRF devices.
const FURTHER_PRIORITY: u32 = 500;

/// Before all rules of a file, the first of which is 10.
const OWN_PRIORITY: u32 = 2;

/// Where what belongs to a VRF goes on, behind the kernel's rule for local addresses (0).
const GUESTS_PRIORITY: u32 = 1;

/// Where a file leaves the choice: a namespace, with a VRF in it where the kernel has VRF.
pub(super) fn choose(id: DomainId, isolation: Isolation, capabilities: &Capabilities) -> Isolation {
    match isolation {
        _ if id.is_default() => Isolation::Netns,
        Isolation::Auto if capabilities.vrf => Isolation::NetnsVrf,
        Isolation::Auto => Isolation::Netns,
        Isolation::Netns | Isolation::NetnsVrf | Isolation::Vrf => isolation,
    }
}

/// Adds to a domain what its isolation and its further rtables are made of, and takes from it what every domain has of
/// IPv6 where this one will have none. What its file asks for besides stays, so that somebody can say that it is missing.
pub(super) fn spell_out(id: DomainId, domain: &mut Domain, capabilities: &Capabilities) {
    let families = families(id, domain, capabilities);
    if !families.contains(&V6) {
        let own = domain.interfaces.get_mut(&InterfaceName::loopback());
        own.into_iter().for_each(|lo| lo.addresses.retain(|own| own.network.ip() != Ipv6Addr::LOCALHOST));
    }
    for (priority, (&rtable, routes)) in (FURTHER_PRIORITY..).zip(&mut domain.rtables) {
        let fwmark = Some(Fwmark { value: rtable.number(), mask: u32::MAX });
        let iif = Some(InterfaceName::loopback());
        let selector = Selector { fwmark, iif, ..Selector::default() };
        domain.rules.insert(Rule { priority, selector, action: Action::Lookup(rtable) });
        routes.extend(last_routes(families));
    }
    if domain.isolation.has_vrf() {
        enslave(id, domain, families);
    }
}

/// The families of addresses that a domain will have, by its file's sysctls, else by what the system has.
fn families(id: DomainId, domain: &Domain, capabilities: &Capabilities) -> &'static [IpAddr] {
    let system = if domain.is_at_home(id) { capabilities.ipv6_at_home } else { capabilities.ipv6 };
    let switched = domain.switches_ipv6(&InterfaceName::loopback());
    if switched.unwrap_or(system) { &[V4, V6] } else { &[V4] }
}

/// Lets the domains that are a VRF alone pass over the default domain's table of local addresses: one of them has the
/// rules, which carry its number for a mark that they do not ask for, to be told from those of another network.
pub(super) fn separate_guests(network: &mut Network) {
    let mut domains = network.domains.iter_mut();
    let Some((id, guest)) = domains.find(|(_, domain)| domain.isolation == Isolation::Vrf) else { return };
    let number = Some(Fwmark { value: id.number(), mask: 0 });
    let all = Selector { fwmark: number, ..Selector::default() };
    let of_vrfs = Selector { in_vrf: true, ..all.clone() };
    guest.rules.extend([
        Rule { priority: 0, selector: of_vrfs, action: Action::GoTo(GUESTS_PRIORITY) },
        Rule { priority: GUESTS_PRIORITY, selector: all, action: Action::Continue },
    ]);
}

fn enslave(id: DomainId, domain: &mut Domain, families: &[IpAddr]) {
    let device = InterfaceName::of_vrf(id);
    let mut vrf = Interface::new(Kind::Vrf { rtable: id.into() });
    if !domain.isolation.has_namespace()
        && let Some(lo) = domain.interfaces.remove(&InterfaceName::loopback())
    {
        vrf.addresses = lo.addresses;
    }
    for interface in domain.interfaces.values_mut() {
        if interface.kind != Kind::Loopback && interface.controller.is_none() {
            interface.controller = Some(device.clone());
        }
    }
    domain.interfaces.insert(device, vrf);
    if !domain.isolation.has_namespace() {
        forward_by_interface(domain);
    }
    domain.routes.extend(last_routes(families));
    domain.rules.extend(own_addresses_first(id, domain));
    if domain.isolation.has_namespace() {
        hear_and_ask_unbound(id, domain);
    }
}

/// What a namespace forwards it forwards by all of its interfaces; a domain that shares one says so of its own alone. To
/// the kernel a packet comes in by the VRF device (net/ipv4/ip_input.c, `l3mdev_ip_rcv`); the others show what holds.
fn forward_by_interface(domain: &mut Domain) {
    let asked: Vec<_> = domain.sysctls.extract_if(.., |name, _| name.is_forwarding()).collect();
    let Some((_, value)) = asked.into_iter().next_back() else { return };
    for name in domain.interfaces.keys().map(SysctlName::forwarding_of) {
        domain.sysctls.entry(name).or_insert_with(|| value.clone());
    }
}

/// Rules that look the domain's own addresses up in its own rtable, where the rules that there are would not. In a
/// namespace that is shared they are about the same packets as those.
fn own_addresses_first(id: DomainId, domain: &Domain) -> Vec<Rule> {
    let selectors: BTreeSet<Selector> = match domain.isolation.has_namespace() {
        true => domain.rules.iter().take(1).map(|_| Selector::default()).collect(),
        false => domain.rules.iter().map(|rule| rule.selector.clone()).collect(),
    };
    let interfaces = domain.interfaces.values().filter(|interface| interface.kind != Kind::Loopback);
    let own: BTreeSet<Prefix> =
        interfaces.flat_map(|found| &found.addresses).flat_map(|own| answered(*own)).collect();
    let narrowed = |selector: &Selector| {
        let fits = |own: &&Prefix| {
            selector.to.is_none_or(|to| to.contains(own.address()))
                && selector.from.is_none_or(|from| from.is_ipv6() == own.is_ipv6())
        };
        let rule = |own: &Prefix| Rule {
            priority: OWN_PRIORITY,
            selector: Selector { to: Some(*own), ..selector.clone() },
            action: Action::Lookup(id.into()),
        };
        own.iter().filter(fits).map(rule).collect::<Vec<_>>()
    };
    selectors.iter().flat_map(narrowed).collect()
}

/// What the kernel answers because of an address: the address, the broadcast of its network, and all of a loopback's.
fn answered(address: Address) -> Vec<Prefix> {
    let network = address.network;
    match network {
        IpNetwork::V4(v4) if network.ip().is_loopback() => vec![Prefix::containing(v4.into())],
        IpNetwork::V4(v4) if v4.prefix() < 31 => {
            vec![Prefix::host(v4.ip().into()), Prefix::host(v4.broadcast().into())]
        }
        IpNetwork::V4(_) | IpNetwork::V6(_) => vec![Prefix::host(network.ip())],
    }
}

/// What a program needs that knows nothing of VRF: its sockets are bound to no device.
fn hear_and_ask_unbound(id: DomainId, domain: &mut Domain) {
    let action = Action::Lookup(id.into());
    domain.rules.insert(Rule { priority: UNBOUND_PRIORITY, selector: Selector::default(), action });
    let mut names = vec!["net.ipv4.tcp_l3mdev_accept", "net.ipv4.udp_l3mdev_accept"];
    // Or such a socket could not be bound to an address of the VRF either (`inet_addr_valid_or_nonlocal`,
    // `ipv6_can_nonlocal_bind`).
    names.push("net.ipv4.ip_nonlocal_bind");
    let mut apart = domain.interfaces.values().filter(|interface| interface.kind != Kind::Loopback);
    if apart.any(|interface| interface.addresses.iter().any(|address| address.network.is_ipv6())) {
        names.push("net.ipv6.ip_nonlocal_bind");
    }
    for name in names.into_iter().filter_map(|name| SysctlName::new(name.to_owned()).ok()) {
        domain.sysctls.entry(name).or_insert_with(|| "1".to_owned());
    }
}

/// Whether a route is the one that ends the search in a VRF's table or a further rtable.
pub fn is_last(route: &Route) -> bool {
    last_routes(&[V4, V6]).any(|last| last == *route)
}

/// Whether a rule of a domain with a VRF follows from that: it sends there what is bound to nothing, or to an own address.
pub fn is_of_vrf(id: DomainId, rule: &Rule) -> bool {
    let Selector { to, .. } = rule.selector;
    let told = match rule.priority {
        UNBOUND_PRIORITY => rule.selector == Selector::default(),
        OWN_PRIORITY => to.is_some() && rule.selector == Selector { to, ..Selector::default() },
        _ => false,
    };
    told && rule.action == Action::Lookup(id.into())
}

fn last_routes(families: &[IpAddr]) -> impl Iterator<Item = Route> {
    families.iter().map(|address| Route {
        to: Prefix::everything_like(*address),
        metric: LAST_METRIC,
        target: Target::Unreachable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sysctl(text: &str) -> SysctlName {
        SysctlName::new(text).unwrap()
    }

    #[test]
    fn a_domain_without_a_namespace_forwards_by_its_own_interfaces() {
        let id = DomainId::new(1).unwrap();
        let forwarding = |isolation| {
            let mut domain = Domain { isolation, ..Domain::bare(id) };
            for name in ["eth0", "eth1"].map(|name| InterfaceName::new(name).unwrap()) {
                domain.interfaces.insert(name, Interface::new(Kind::Dummy));
            }
            domain.sysctls.insert(sysctl("net.ipv4.ip_forward"), "1".to_owned());
            domain.sysctls.insert(sysctl("net.ipv4.conf.eth1.forwarding"), "0".to_owned());
            spell_out(id, &mut domain, &Capabilities::PLAIN);
            let all = domain.sysctls.into_iter().map(|(name, value)| format!("{name}={value}"));
            all.filter(|shown| shown.contains("forward")).collect::<Vec<_>>()
        };
        assert_eq!(
            forwarding(Isolation::NetnsVrf),
            ["net.ipv4.conf.eth1.forwarding=0", "net.ipv4.ip_forward=1"]
        );
        assert_eq!(
            forwarding(Isolation::Vrf),
            ["eth0.forwarding=1", "eth1.forwarding=0", "vrf1.forwarding=1"]
                .map(|end| format!("net.ipv4.conf.{end}"))
        );
    }
}
