//! IPv6 where it may be missing: in the whole kernel (`ipv6.disable=1`, or built without), or switched off in a
//! namespace (net.ipv6.conf.*.disable_ipv6, Documentation/networking/ip-sysctl.rst).
//!
//! An interface takes its switch from `default` when it is made; writing `all` writes every other one. What `default` is in
//! a new namespace is the boot parameter ipv6.disable_ipv6, whatever else of others it inherits (net/ipv6/addrconf.c,
//! `addrconf_init_net`).

use std::fs;
use std::net::IpAddr;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Unsupported;
use super::host::sysctl;
use crate::model::{
    Address, Domain, DomainId, Host, Interface, Kind, Network, Object, Peer, Route, Rule, Target,
};

/// Whether the kernel has it: sockets can be made.
pub(super) fn of_kernel() -> Result<(), Unsupported> {
    let made = socket(AddressFamily::Inet6, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    made.map(drop).map_err(|errno| Unsupported {
        missing: format!("this kernel has no IPv6 ({})", errno.desc()),
        remedy: "boot without ipv6.disable=1, or a kernel with CONFIG_IPV6".into(),
    })
}

/// Whether interfaces of new namespaces have it, if the kernel does; `None` where sysfs does not tell.
pub(super) fn by_boot_parameter() -> Option<Result<(), Unsupported>> {
    let value = fs::read_to_string("/sys/module/ipv6/parameters/disable_ipv6").ok()?;
    Some(if value.trim_end() == "0" { Ok(()) } else { Err(off_in_new("net.ipv6.conf.default.disable_ipv6")) })
}

/// Whether interfaces of the calling thread's namespace have it, which is as new ones are, if the kernel does.
pub(super) fn in_new_namespace() -> Result<(), Unsupported> {
    of_interface("default").map_err(|switch| off_in_new(&switch))
}

fn off_in_new(switch: &str) -> Unsupported {
    Unsupported {
        missing: format!("{switch} is 1 in every new namespace"),
        remedy: "in the file, in that domain: sysctls: {net.ipv6.conf.all.disable_ipv6: 0}".into(),
    }
}

/// Whether interfaces that are made in the calling thread's namespace have it, if the kernel does.
pub(super) fn in_default_domain() -> Result<(), Unsupported> {
    at_home("default")
}

/// Whether this interface of the calling thread's namespace has it, or will when it is made, if the kernel does.
pub(super) fn at_home(interface: &str) -> Result<(), Unsupported> {
    of_interface(interface).map_err(|switch| Unsupported {
        missing: format!("{switch} is 1 in the default domain"),
        remedy: format!("as root: sysctl -w {}=0", switch.replace("conf.default", "conf.all")),
    })
}

/// The switch that is off, by its name, if one is.
fn of_interface(interface: &str) -> Result<(), String> {
    let known = [interface, "default"].into_iter();
    let mut switches = known.filter_map(|name| {
        let value = sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"))?;
        Some((format!("net.ipv6.conf.{name}.disable_ipv6"), value))
    });
    match switches.next() {
        Some((switch, value)) if value != "0" => Err(switch),
        Some(_) | None => Ok(()),
    }
}

/// Of the program's own rules, which follow from addresses, all have lower priorities (`plan`).
const FIRST_RULE: u32 = 10;

/// The program's own sysctl of a domain with a VRF and an IPv6 address (`plan`).
const FOLLOWS_FROM_ADDRESSES: &str = "net/ipv6/ip_nonlocal_bind";

/// What of a bound network is IPv6's. Every domain's ::1 is not: who has no IPv6 goes without.
pub(super) fn objects(network: &Network) -> Vec<Object> {
    let mut objects: Vec<_> =
        network.domains.iter().flat_map(|(&id, domain)| of_domain(id, domain)).collect();
    for (at, interface) in network.interfaces() {
        let own = addresses(interface).map(|own| Object::Address(at.clone(), *own));
        objects.extend(own);
        let peers = interface.wireguard().into_iter().flat_map(|tunnel| tunnel.peers.values());
        let named = peers.filter(|peer| is_reached_by_ipv6(peer)).filter_map(|peer| peer.name.clone());
        objects.extend(named.map(|name| Object::Peer(at.clone(), name)));
        if let Kind::Vxlan(vxlan) = &interface.kind
            && [vxlan.local, vxlan.remote].into_iter().flatten().any(|end| end.is_ipv6())
        {
            objects.push(Object::Interface(at));
        }
    }
    objects
}

/// The addresses of an interface that need IPv6.
fn addresses(interface: &Interface) -> impl Iterator<Item = &Address> {
    interface.addresses.iter().filter(|own| own.network.is_ipv6() && !own.network.ip().is_loopback())
}

fn is_reached_by_ipv6(peer: &Peer) -> bool {
    let host = peer.endpoint.as_ref().map(|endpoint| &endpoint.host);
    matches!(host, Some(Host::Address(IpAddr::V6(_))))
}

fn of_domain(id: DomainId, domain: &Domain) -> Vec<Object> {
    let routes = domain.tables(id).flat_map(|(rtable, routes)| {
        let of_ipv6 = routes.iter().filter(|route| is_of_ipv6(route));
        of_ipv6.map(move |route| Object::Route(id, rtable, route.to, route.metric))
    });
    let rules = domain.rules.iter().filter(|rule| names_ipv6(rule));
    let rules = rules.map(|rule| Object::Rule(id, rule.priority));
    let sysctls = domain.sysctls.keys().filter(|name| {
        let path = name.path();
        path.starts_with("net/ipv6/") && path != FOLLOWS_FROM_ADDRESSES
    });
    routes.chain(rules).chain(sysctls.map(|name| Object::Sysctl(id, name.clone()))).collect()
}

fn is_of_ipv6(route: &Route) -> bool {
    let is_by_ipv6 = match &route.target {
        Target::Unicast { via, .. } => via.is_some_and(|via| via.is_ipv6()),
        Target::Multipath { hops, .. } => hops.iter().any(|hop| hop.via.is_some_and(|via| via.is_ipv6())),
        Target::Blackhole | Target::Unreachable | Target::Prohibit => false,
    };
    route.to.is_ipv6() || is_by_ipv6
}

fn names_ipv6(rule: &Rule) -> bool {
    let named = [rule.selector.from, rule.selector.to];
    rule.priority >= FIRST_RULE && named.into_iter().flatten().any(|prefix| prefix.is_ipv6())
}
