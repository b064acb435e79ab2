//! What a file asks for and OpenBSD has not got, each with what to write instead.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::render::route_limit;
use crate::convert::openbsd::mark::{DESCRIPTION_MAX, LABEL_MAX, Mark};
use crate::model::{
    Dns, DomainId, End, Engine, Interface, InterfaceName, Isolation, Kind, Network, Object, Route, RtableId,
    Target,
};

/// One thing that OpenBSD cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What of the file it is about.
    pub object: Object,
    /// What is not possible.
    pub message: String,
    /// What to write or do instead.
    pub help: String,
    /// Whether the file can be used without it, by doing what `help` says.
    pub optional: bool,
}

impl Limit {
    fn new(object: Object, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { object, message: message.into(), help: help.into(), optional: false }
    }
}

/// The largest number of a routing domain and of an rtable (sys/socket.h, `RT_TABLEID_MAX`).
const RTABLE_MAX: u32 = 255;

/// Everything of a network, as the file has it, that OpenBSD cannot do.
pub fn limits(network: &Network) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mark = Mark::of(&network.name);
    if mark.text().len() > LABEL_MAX {
        let help = format!("write `name:` with at most {} characters", LABEL_MAX - "rdom:".len());
        let message = format!("the label of a route has no room for the network's name, {}", network.name);
        limits.push(Limit::new(Object::Domain(DomainId::DEFAULT), message, help));
    }
    for (&id, inside) in &network.domains {
        let object = Object::Domain(id);
        if id.number() > RTABLE_MAX {
            limits.push(Limit::new(object.clone(), format!("rdomain {id}: too large"), "number it 1 to 255"));
        }
        if mark.of_domain(&inside.name).len() > DESCRIPTION_MAX {
            limits.push(Limit::new(object.clone(), "the name has no room in a description", "shorten it"));
        }
        limits.extend(isolation(id, inside.isolation));
        limits.extend(inside.rules.iter().map(|rule| {
            let help = "pf.conf(5) has `pass in .. rtable N`";
            Limit::new(Object::Rule(id, rule.priority), "there are no policy rules", help)
        }));
        limits.extend(inside.sysctls.iter().map(|(name, value)| {
            let mut limit = Limit::new(
                Object::Sysctl(id, name.clone()),
                "sysctls are the whole machine's",
                "leave it out",
            );
            if let Some(own) = same_sysctl(name.as_str()) {
                limit.help = format!("set it for the machine: sysctl {own}={value}");
                limit.optional = true;
            }
            limit
        }));
        if inside.dns != Dns::Unsaid {
            let mut limit = Limit::new(
                object.clone(),
                "resolv.conf(5) and hosts(5) are the whole machine's",
                "leave `dns` out",
            );
            limit.optional = true;
            limits.push(limit);
        }
        for (rtable, routes) in inside.tables(id) {
            limits.extend(of_rtable(id, rtable, routes.first()));
            for route in routes {
                let object = Object::Route(id, rtable, route.to, route.metric);
                let lacks = |(what, help): (&str, &str)| {
                    Limit::new(object.clone(), format!("not possible: {what}"), help)
                };
                limits.extend(route_limit(route).map(lacks).or_else(|| shared(&object, route)));
                limits.extend(
                    unreached(network, id, route).map(|(what, help)| Limit::new(object.clone(), what, help)),
                );
            }
        }
    }
    limits.extend(network.interfaces().flat_map(|(at, interface)| of_interface(&at, interface)));
    limits.extend(network.interfaces().filter_map(|(at, interface)| of_parent(network, at, interface)));
    limits.extend(shared_names(network));
    limits
}

fn isolation(id: DomainId, isolation: Isolation) -> Option<Limit> {
    let message = match isolation {
        Isolation::Auto | Isolation::Netns => return None,
        Isolation::NetnsVrf | Isolation::Vrf => {
            format!("there is no isolation {isolation}: a domain is an rdomain")
        }
    };
    Some(Limit::new(Object::Domain(id), message, "leave `isolation` out, or write `auto`"))
}

fn of_rtable(id: DomainId, rtable: RtableId, first: Option<&Route>) -> Option<Limit> {
    let number = rtable.number();
    let of_route = |route: &Route| Object::Route(id, rtable, route.to, route.metric);
    let object = first.map_or(Object::Domain(id), of_route);
    match () {
        () if rtable == id.into() => None,
        () if !id.is_default() => {
            let message = format!("rtable {number} would be the default domain's: only that one has several");
            Some(Limit::new(object, message, "move it to domain 0, or make it a domain"))
        }
        () if number > RTABLE_MAX => {
            Some(Limit::new(object, format!("rtable {number}: too large"), "number it 1 to 255"))
        }
        () => None,
    }
}

/// A drop needs the loopback's address, a gateway an address of its interface that leads there.
fn unreached(network: &Network, id: DomainId, route: &Route) -> Option<(String, &'static str)> {
    let held = |name: &InterfaceName| network.interface(&End { domain: id, interface: name.clone() });
    match &route.target {
        Target::Blackhole | Target::Unreachable => {
            let lo = held(&InterfaceName::loopback())?;
            let has = lo.addresses.iter().any(|own| own.network.ip().is_loopback() && own.network.is_ipv4());
            let help = "keep `lo` its addresses";
            (!has && !id.is_default()).then(|| ("a route that drops needs 127.0.0.1 on lo".to_owned(), help))
        }
        Target::Unicast { via: None, dev, .. } => {
            let has = held(dev)?.addresses.iter().any(|own| own.network.is_ipv6() == route.to.is_ipv6());
            let help = "give it one of the route's family: OpenBSD names an interface by its address";
            (!has).then(|| (format!("{dev} has no address to name it by"), help))
        }
        Target::Unicast { via: Some(via), dev, .. } => astray(network, id, *via, dev),
        Target::Multipath { hops, .. } => {
            hops.iter().find_map(|hop| hop.via.and_then(|via| astray(network, id, via, &hop.dev)))
        }
        Target::Prohibit => None,
    }
}

/// The interface is chosen by the gateway.
fn astray(
    network: &Network,
    id: DomainId,
    via: IpAddr,
    dev: &InterfaceName,
) -> Option<(String, &'static str)> {
    let by = network.interface(&End { domain: id, interface: dev.clone() });
    let by = by.filter(|by| by.kind != Kind::Existing)?;
    let leads = |by: &Interface| by.addresses.iter().any(|own| own.network.contains(via));
    if !leads(by) {
        return Some((format!("no address of {dev} leads to {via}"), "give it one that does"));
    }
    let mut inside = network.domains.get(&id)?.interfaces.iter();
    let (other, _) = inside.find(|(name, other)| *name != dev && leads(other))?;
    let help = "OpenBSD chooses the interface by the gateway: give the two different subnets";
    Some((format!("{other} leads to {via} too, not only {dev}"), help))
}

/// Only the first of several ways is taken where the machine was not told otherwise.
fn shared(object: &Object, route: &Route) -> Option<Limit> {
    let Target::Multipath { .. } = &route.target else { return None };
    let sysctl = if route.to.is_ipv6() { "net.inet6.ip6.multipath" } else { "net.inet.ip.multipath" };
    let help = format!("set it for the machine: sysctl {sysctl}=1");
    let limit = Limit::new(object.clone(), "that flows are shared is the whole machine's", help);
    Some(Limit { optional: true, ..limit })
}

/// The machine's sysctl for a domain's, where there is one.
fn same_sysctl(name: &str) -> Option<&'static str> {
    match name {
        "net.ipv4.ip_forward" | "net.ipv4.conf.all.forwarding" => Some("net.inet.ip.forwarding"),
        "net.ipv6.conf.all.forwarding" => Some("net.inet6.ip6.forwarding"),
        _ => None,
    }
}

fn of_interface(at: &End, interface: &Interface) -> Vec<Limit> {
    let object = || Object::Interface(at.clone());
    let mut limits = Vec::new();
    let driver = match &interface.kind {
        Kind::WireGuard(tunnel) => {
            if tunnel.engine == Engine::Userspace {
                limits.push(Limit::new(object(), "there is no userspace engine", "leave `engine` out"));
            }
            Some("wg")
        }
        Kind::Veth { .. } => Some("pair"),
        Kind::Dummy => Some("vether"),
        Kind::Loopback | Kind::Existing => None,
        Kind::Physical { home } => {
            let message = "an interface is not lent here: `ifconfig rdomain` removes its addresses, and nothing \
                           would put them back";
            let help = format!("write `rdomain {}` and its addresses into /etc/hostname.{home}", at.domain);
            limits.push(Limit::new(object(), message, help));
            None
        }
        Kind::Vlan { .. } => Some("vlan"),
        Kind::Bridge | Kind::Vrf { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => {
            let message = format!("{} interfaces are not supported yet", interface.kind.word());
            limits.push(Limit::new(object(), message, "tunnels, links, dummies and vlans are"));
            None
        }
    };
    if let Some(driver) = driver.filter(|driver| !is_unit_of(driver, at.interface.as_str())) {
        let message = format!("{} is no name of a {driver}(4) interface", at.interface);
        limits.push(Limit::new(object(), message, format!("call it {driver}0, {driver}1, ..")));
    }
    if !interface.impairment.is_none() {
        limits.push(Limit::new(
            object(),
            "links cannot be impaired",
            "leave out `delay`, `loss`, `rate` and the like",
        ));
    }
    if interface.controller.is_some() {
        limits.push(Limit::new(object(), "bridges are not supported yet", "join two domains by a link"));
    }
    if !interface.up && !interface.addresses.is_empty() {
        limits.push(Limit::new(
            object(),
            "an interface goes up with its address",
            "leave out `up` or `addresses`",
        ));
    }
    limits
}

/// A vlan(4) is on an Ethernet that is not a vlan(4) itself.
fn of_parent(network: &Network, at: End, interface: &Interface) -> Option<Limit> {
    let Kind::Vlan { parent, .. } = &interface.kind else { return None };
    let message = match network.interface(parent)?.kind {
        Kind::Veth { .. } | Kind::Dummy | Kind::Existing | Kind::Physical { .. } => return None,
        Kind::Vlan { .. } => "a vlan(4) on another one is not possible: that would be svlan(4)",
        Kind::Loopback | Kind::Bridge | Kind::WireGuard(_) => "a vlan(4) is on an Ethernet",
        Kind::Vrf { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => "a vlan(4) is on an Ethernet",
    };
    Some(Limit::new(Object::Interface(at), message, "put it on a network card, an end of a link or a dummy"))
}

/// `wg1` is a unit of `wg`; numbers have no leading zeros (net/if.c, `if_clone_lookup`).
fn is_unit_of(driver: &str, name: &str) -> bool {
    let unit = name.strip_prefix(driver).unwrap_or_default();
    let digits = !unit.is_empty() && unit.bytes().all(|byte| byte.is_ascii_digit());
    digits && (unit == "0" || !unit.starts_with('0'))
}

/// Names are the whole machine's. Others' interfaces and loopbacks have their own.
fn shared_names(network: &Network) -> Vec<Limit> {
    let mut first: BTreeMap<InterfaceName, End> = BTreeMap::new();
    let mut limits = Vec::new();
    for (at, _) in network.interfaces().filter(|(_, interface)| interface.kind != Kind::Loopback) {
        match first.get(&at.interface) {
            None => drop(first.insert(at.interface.clone(), at)),
            Some(other) => {
                let message = format!(
                    "{} is in domain {} already: names are the machine's",
                    at.interface, other.domain
                );
                limits.push(Limit::new(Object::Interface(at), message, "give it another number"));
            }
        }
    }
    limits
}
