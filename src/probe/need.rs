//! What a network needs of the system, what of it needs that, and what is not there.

use std::collections::BTreeMap;

use super::trial::Ground;
use super::{Unsupported, ipv6, kernel_wireguard, tun_device};
use crate::model::{
    Domain, DomainId, End, Engine, Impairment, Interface, InterfaceName, Isolation, Kind, Network, Object,
};

const NAMESPACES: &str = "network namespaces";

/// An ability that something needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The item of the finding that is about it.
    pub item: Item,
    /// What needs it.
    pub object: Object,
}

/// What can be needed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The finding of this name is about it: `tun`, `vrf`, `net sysctls`, ...
    Named(&'static str),
    /// IPv6 of the kernel's.
    Ipv6,
    /// That it is not switched off in new namespaces.
    Ipv6OfNew,
    /// That it is not switched off for this interface in the default domain's namespace.
    Ipv6AtHome(InterfaceName),
}

/// Everything that a bound network needs to be brought up, each need once for each object that has it.
pub fn needs(network: &Network) -> Vec<Need> {
    let mut needs: Vec<_> = network.domains.iter().flat_map(|(&id, domain)| of_domain(id, domain)).collect();
    needs.extend(network.interfaces().flat_map(|(at, interface)| of_interface(&at, interface)));
    needs.extend(ipv6::objects(network).into_iter().flat_map(|object| of_ipv6(object, network)));
    needs.sort();
    needs.dedup();
    needs
}

/// The needs that this system does not meet, each ability tried once, on this ground.
pub fn unmet(network: &Network, ground: &Ground) -> Vec<(Need, Unsupported)> {
    unmet_of(needs(network), ground)
}

/// The same but for namespaces: for who makes one next, which tells as well.
pub fn unmet_but_namespaces(network: &Network, ground: &Ground) -> Vec<(Need, Unsupported)> {
    let needs = needs(network).into_iter();
    unmet_of(needs.filter(|need| need.item != Item::Named(NAMESPACES)).collect(), ground)
}

fn unmet_of(needs: Vec<Need>, ground: &Ground) -> Vec<(Need, Unsupported)> {
    let mut tried = BTreeMap::new();
    let lack = |need: Need| {
        let result: &Result<(), Unsupported> =
            tried.entry(need.item.clone()).or_insert_with(|| attempt(&need.item, ground));
        result.clone().err().map(|lack| (need, lack))
    };
    needs.into_iter().filter_map(lack).collect()
}

fn attempt(item: &Item, ground: &Ground) -> Result<(), Unsupported> {
    match item {
        Item::Named(name) => attempt_named(name, ground),
        Item::Ipv6 => ipv6::of_kernel(),
        Item::Ipv6OfNew => ground.ipv6(),
        Item::Ipv6AtHome(interface) => ipv6::at_home(interface.as_str()),
    }
}

fn attempt_named(name: &str, ground: &Ground) -> Result<(), Unsupported> {
    match name {
        NAMESPACES => ground.is_there(),
        "net sysctls" => ground.writable_sysctls(),
        "tun" => tun_device(),
        "wireguard" if kernel_wireguard() => Ok(()),
        discipline @ ("netem" | "tbf") => ground.queueing_discipline(discipline),
        kind => ground.kind_of_link(kind),
    }
}

fn of_domain(id: DomainId, domain: &Domain) -> Vec<Need> {
    let need = |name| Need { item: Item::Named(name), object: Object::Domain(id) };
    let mut needs = Vec::new();
    if !id.is_default() && domain.isolation.has_namespace() {
        needs.push(need(NAMESPACES));
    }
    match domain.isolation {
        Isolation::NetnsVrf | Isolation::Vrf => needs.push(need("vrf")),
        Isolation::Auto | Isolation::Netns => {}
    }
    if !domain.sysctls.is_empty() {
        needs.push(need("net sysctls"));
    }
    needs
}

fn of_interface(at: &End, interface: &Interface) -> Vec<Need> {
    let need = |name| Need { item: Item::Named(name), object: Object::Interface(at.clone()) };
    let mut needs: Vec<_> = kind(&interface.kind).map(need).into_iter().collect();
    needs.extend(discipline(&interface.impairment).map(need));
    needs
}

/// Addresses also need it to be switched on where they are, unless the file has a switch for them.
fn of_ipv6(object: Object, network: &Network) -> Vec<Need> {
    let mut needs = vec![Need { item: Item::Ipv6, object: object.clone() }];
    if let Object::Address(at, _) = &object
        && let Some(domain) = network.domains.get(&at.domain)
        && domain.switches_ipv6(&at.interface).is_none()
    {
        let item = match domain.is_at_home(at.domain) {
            true => Item::Ipv6AtHome(at.interface.clone()),
            false => Item::Ipv6OfNew,
        };
        needs.push(Need { item, object });
    }
    needs
}

/// Whether links can do this to packets here.
pub fn impairable(impairment: &Impairment) -> Result<(), Unsupported> {
    discipline(impairment).map_or(Ok(()), |discipline| Ground::default().queueing_discipline(discipline))
}

/// The queueing discipline that packets are impaired by.
fn discipline(impairment: &Impairment) -> Option<&'static str> {
    match (impairment.is_none(), impairment.is_emulated()) {
        (true, _) => None,
        (false, true) => Some("netem"),
        (false, false) => Some("tbf"),
    }
}

fn kind(kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::WireGuard(tunnel) => match tunnel.engine {
            Engine::Kernel => Some("wireguard"),
            Engine::Userspace => Some("tun"),
            Engine::Auto => None,
        },
        Kind::Veth { .. } | Kind::Bridge | Kind::Vrf { .. } | Kind::Dummy => Some(kind.word()),
        Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Vxlan(_) => Some(kind.word()),
        Kind::Loopback | Kind::Existing | Kind::Physical { .. } => None,
    }
}
