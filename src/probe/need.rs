//! What a network needs of the system, who needs it, and what of it is not there.

use std::collections::BTreeMap;

use super::host::ipv6_of_kernel;
use super::trial::{in_new_namespace, kind_of_link, queueing_discipline, writable_sysctls};
use super::{Unsupported, kernel_wireguard, tun_device};
use crate::model::{Domain, DomainId, End, Engine, Impairment, Interface, Isolation, Kind, Network};

/// An ability that something needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// The item of the finding that is about it.
    pub item: &'static str,
    /// Who needs it: `domain 1`, `1/wg1`.
    pub who: String,
}

/// Everything that a bound network needs to be brought up, each need once for each who needs it.
pub fn needs(network: &Network) -> Vec<Need> {
    let mut needs: Vec<_> = network.domains.iter().flat_map(|(&id, domain)| of_domain(id, domain)).collect();
    needs.extend(network.interfaces().flat_map(|(at, interface)| of_interface(&at, interface)));
    needs.sort();
    needs.dedup();
    needs
}

/// The needs that this system does not meet, each tried once.
pub fn unmet(network: &Network) -> Vec<(Need, Unsupported)> {
    let mut tried = BTreeMap::new();
    let lack = |need: Need| {
        let result: &Result<(), Unsupported> = tried.entry(need.item).or_insert_with(|| attempt(need.item));
        result.clone().err().map(|lack| (need, lack))
    };
    needs(network).into_iter().filter_map(lack).collect()
}

/// Whether links can do this to packets here.
pub fn impairment(impairment: &Impairment) -> Result<(), Unsupported> {
    discipline(impairment).map_or(Ok(()), attempt)
}

fn attempt(item: &str) -> Result<(), Unsupported> {
    match item {
        "network namespaces" => in_new_namespace(|| ()),
        "net sysctls" => in_new_namespace(writable_sysctls)?,
        "ipv6" => ipv6_of_kernel(),
        "tun" => tun_device(),
        "wireguard" if kernel_wireguard() => Ok(()),
        discipline @ ("netem" | "tbf") => queueing_discipline(discipline),
        kind => kind_of_link(kind),
    }
}

fn of_domain(id: DomainId, domain: &Domain) -> Vec<Need> {
    let need = |item| Need { item, who: format!("domain {id}") };
    let mut needs = Vec::new();
    if !id.is_default() && domain.isolation.has_namespace() {
        needs.push(need("network namespaces"));
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
    let need = |item| Need { item, who: at.to_string() };
    let mut needs: Vec<_> = kind(&interface.kind).map(need).into_iter().collect();
    let is_ipv6 = interface.addresses.iter().any(|address| address.network.is_ipv6());
    needs.extend(discipline(&interface.impairment).map(need));
    if is_ipv6 && interface.kind != Kind::Loopback {
        needs.push(need("ipv6"));
    }
    needs
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
