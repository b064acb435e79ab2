//! What would make a network that came up without an error carry nothing: switches of the kernel, and firewalls,
//! that are not the network's own. Each is named, and told before somebody has to look for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::firewall::ClosedChain;
use crate::model::{Domain, DomainId, End, InterfaceName, Kind, Network, SysctlName, Target};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// Its name: `no-ipv6`, `no-forwarding`, `strict-rp-filter`, `closed-firewall`.
    pub name: &'static str,
    /// What is in the way of what.
    pub message: String,
    /// The one command, or the line of the file, that helps.
    pub remedy: String,
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]; help: {}", self.message, self.name, self.remedy)
    }
}

/// What has to be asked of a system to know them.
pub trait Surroundings {
    /// What a sysctl of a domain is, by its path below /proc/sys; `None` if that is unknown.
    fn sysctl(&self, domain: DomainId, path: &str) -> Option<String>;

    /// The firewall chains of a domain that drop what they do not know.
    fn closed_chains(&self, domain: DomainId) -> Vec<ClosedChain>;
}

/// Those of this network, in these surroundings.
pub fn hazards(network: &Network, around: &impl Surroundings) -> Vec<Hazard> {
    let domains = || network.domains.iter().map(|(&id, domain)| (id, domain));
    let mut found: Vec<Hazard> = domains().filter_map(|(id, domain)| no_ipv6(id, domain, around)).collect();
    found.extend(routers(network).into_iter().filter_map(|router| no_forwarding(router, network, around)));
    found.extend(domains().filter_map(|(id, domain)| strict_reverse_path(id, domain, around)));
    found.extend(closed_firewalls(network, around));
    found
}

fn no_ipv6(id: DomainId, domain: &Domain, around: &impl Surroundings) -> Option<Hazard> {
    let mut of_ipv6 = domain.interfaces.iter().filter(|(_, interface)| {
        interface.kind != Kind::Loopback
            && interface.addresses.iter().any(|address| address.network.is_ipv6())
    });
    let off = |name: &str| is(id, domain, around, &format!("net/ipv6/conf/{name}/disable_ipv6"), "1");
    let (interface, switch) = of_ipv6.find_map(|(name, _)| {
        let switch = ["all", name.as_str()].into_iter().find(|switch| off(switch))?;
        Some((name, switch.to_owned()))
    })?;
    Some(Hazard {
        name: "no-ipv6",
        message: format!(
            "{id}/{interface} has an IPv6 address, but net.ipv6.conf.{switch}.disable_ipv6 is 1 there"
        ),
        remedy: in_domain(id, domain, &format!("net.ipv6.conf.{switch}.disable_ipv6"), "0"),
    })
}

/// A domain that others use as a gateway, and whether for IPv6.
type Router = (DomainId, bool);

fn routers(network: &Network) -> BTreeSet<Router> {
    let routes = network.domains.iter().flat_map(|(&id, domain)| {
        domain.tables(id).flat_map(move |(_, routes)| routes.iter().map(move |route| (id, route)))
    });
    let ways = routes.flat_map(|(id, route)| gateways(&route.target).into_iter().map(move |way| (id, way)));
    let holders = holders(network);
    ways.filter_map(|(id, (via, dev))| Some((router(network, &holders, id, via, dev)?, via.is_ipv6())))
        .collect()
}

/// The domains that have an address, for each that one has.
type Holders = BTreeMap<IpAddr, BTreeSet<DomainId>>;

fn holders(network: &Network) -> Holders {
    let mut holders = Holders::new();
    for (at, interface) in network.interfaces() {
        for address in &interface.addresses {
            holders.entry(address.network.ip()).or_default().insert(at.domain);
        }
    }
    holders
}

fn gateways(target: &Target) -> Vec<(IpAddr, &InterfaceName)> {
    match target {
        Target::Unicast { via, dev, .. } => via.iter().map(|via| (*via, dev)).collect(),
        Target::Multipath { hops, .. } => hops.iter().filter_map(|hop| Some((hop.via?, &hop.dev))).collect(),
        Target::Blackhole | Target::Unreachable | Target::Prohibit => Vec::new(),
    }
}

/// The domain that has this gateway: the one at the other end of the link, else the only one with the address.
fn router(
    network: &Network,
    holders: &Holders,
    id: DomainId,
    via: IpAddr,
    dev: &InterfaceName,
) -> Option<DomainId> {
    let holders: Vec<_> = holders.get(&via)?.iter().copied().filter(|other| *other != id).collect();
    let at = End { domain: id, interface: dev.clone() };
    let across = match network.interface(&at).map(|interface| &interface.kind) {
        Some(Kind::Veth { peer }) => Some(peer.domain),
        Some(_) | None => None,
    };
    across.filter(|across| holders.contains(across)).or(match holders.as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

fn no_forwarding((id, is_ipv6): Router, network: &Network, around: &impl Surroundings) -> Option<Hazard> {
    let domain = network.domains.get(&id)?;
    let name = if is_ipv6 { "net.ipv6.conf.all.forwarding" } else { "net.ipv4.ip_forward" };
    is(id, domain, around, &name.replace('.', "/"), "0").then(|| Hazard {
        name: "no-forwarding",
        message: format!("domain {id} is a gateway of other domains, but {name} is 0 there"),
        remedy: in_domain(id, domain, name, "1"),
    })
}

fn strict_reverse_path(id: DomainId, domain: &Domain, around: &impl Surroundings) -> Option<Hazard> {
    let several_ways = domain.tables(id).count() > 1
        || domain.routes.iter().any(|route| matches!(route.target, Target::Multipath { .. }));
    if !several_ways {
        return None;
    }
    let mut switches = ["all"].into_iter().chain(domain.interfaces.keys().map(|name| name.as_str()));
    let strict = |name: &&str| is(id, domain, around, &format!("net/ipv4/conf/{name}/rp_filter"), "1");
    let switch = switches.find(strict)?;
    let name = format!("net.ipv4.conf.{switch}.rp_filter");
    Some(Hazard {
        name: "strict-rp-filter",
        message: format!(
            "domain {id} has several ways out, but {name} is 1 there: what comes in by another way than the answer \
             takes is dropped"
        ),
        remedy: in_domain(id, domain, &name, "2"),
    })
}

fn closed_firewalls(network: &Network, around: &impl Surroundings) -> Vec<Hazard> {
    let underlays: BTreeSet<_> = network.tunnels().map(|(_, tunnel)| tunnel.underlay).collect();
    let mut found = Vec::new();
    for underlay in underlays {
        let chains = around.closed_chains(underlay);
        for (at, tunnel) in network.tunnels().filter(|(_, tunnel)| tunnel.underlay == underlay) {
            let Some(port) = tunnel.listen_port else { continue };
            found.extend(chains.iter().filter(|chain| !chain.mentions(port)).map(|chain| Hazard {
                name: "closed-firewall",
                message: format!(
                    "the firewall chain `{}` of domain {underlay} drops what no rule accepts, and none names UDP \
                     port {port} of {at}",
                    chain.name
                ),
                remedy: format!("nft add rule {} udp dport {port} accept", chain.name),
            }));
        }
    }
    found
}

/// Whether a sysctl is this: by the file, else by the system.
fn is(id: DomainId, domain: &Domain, around: &impl Surroundings, path: &str, value: &str) -> bool {
    let named = domain.sysctls.iter().find(|(name, _)| name.path() == path).map(|(_, value)| value.clone());
    named.or_else(|| around.sysctl(id, path)).as_deref() == Some(value)
}

/// The default domain is the host's own; what is in others is the file's.
fn in_domain(id: DomainId, domain: &Domain, name: &str, value: &str) -> String {
    let known = SysctlName::new(name).is_ok_and(|name| domain.sysctls.contains_key(&name));
    match (id.is_default(), known) {
        (true, false) => format!("as root: sysctl -w {name}={value}"),
        (_, _) => format!("in the file, in domain {id}: sysctls: {{{name}: {value}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, Interface, NetworkName, Route};

    /// Sysctls by domain and path, and no firewall.
    struct Paper(BTreeMap<(u32, &'static str), &'static str>);

    impl Surroundings for Paper {
        fn sysctl(&self, domain: DomainId, path: &str) -> Option<String> {
            let mut known = self.0.iter();
            known
                .find(|((id, name), _)| (*id, *name) == (domain.number(), path))
                .map(|(_, value)| value.to_string())
        }

        fn closed_chains(&self, _: DomainId) -> Vec<ClosedChain> {
            Vec::new()
        }
    }

    fn id(number: u32) -> DomainId {
        DomainId::new(number).unwrap()
    }

    fn name(text: &str) -> InterfaceName {
        InterfaceName::new(text).unwrap()
    }

    /// Domain 1 has a default route by an address of domain 2, which domain 3 has as well.
    fn network() -> Network {
        let mut network = Network::empty(NetworkName::new("n").unwrap());
        for (number, peer, address) in [(1, 2, "10.0.0.1/24"), (2, 1, "10.0.0.2/24"), (3, 1, "10.0.0.2/24")] {
            let peer = End { domain: id(peer), interface: name("v") };
            let mut interface = Interface::new(Kind::Veth { peer });
            interface.addresses.insert(Address::new(address.parse().unwrap()));
            let mut domain = Domain::bare(id(number));
            domain.interfaces.insert(name("v"), interface);
            network.domains.insert(id(number), domain);
        }
        let target =
            Target::Unicast { via: "10.0.0.2".parse().ok(), dev: name("v"), src: None, onlink: false };
        let route = Route { to: "0.0.0.0/0".parse().unwrap(), metric: 0, target };
        network.domains.get_mut(&id(1)).unwrap().routes.insert(route);
        network
    }

    fn names(network: &Network, sysctls: &[((u32, &'static str), &'static str)]) -> Vec<&'static str> {
        let around = Paper(sysctls.iter().copied().collect());
        hazards(network, &around).into_iter().map(|hazard| hazard.name).collect()
    }

    #[test]
    fn a_gateway_must_forward_and_the_file_decides_before_the_system() {
        let mut network = network();
        assert_eq!(names(&network, &[]), [""; 0]);
        assert_eq!(names(&network, &[((2, "net/ipv4/ip_forward"), "0")]), ["no-forwarding"]);
        assert_eq!(names(&network, &[((3, "net/ipv4/ip_forward"), "0")]), [""; 0]);
        let sysctls = &mut network.domains.get_mut(&id(2)).unwrap().sysctls;
        sysctls.insert(SysctlName::new("net.ipv4.ip_forward").unwrap(), "1".into());
        assert_eq!(names(&network, &[((2, "net/ipv4/ip_forward"), "0")]), [""; 0]);
    }

    #[test]
    fn a_strict_filter_is_in_the_way_of_several_tables_only() {
        let mut network = network();
        let strict = [((1, "net/ipv4/conf/v/rp_filter"), "1")];
        assert_eq!(names(&network, &strict), [""; 0]);
        let one = network.domains.get_mut(&id(1)).unwrap();
        one.rtables.insert("10".parse::<DomainId>().unwrap().into(), BTreeSet::new());
        assert_eq!(names(&network, &strict), ["strict-rp-filter"]);
    }

    #[test]
    fn an_ipv6_address_wants_ipv6() {
        let mut network = network();
        let off = [((1, "net/ipv6/conf/all/disable_ipv6"), "1")];
        assert_eq!(names(&network, &off), [""; 0]);
        let inside = &mut network.domains.get_mut(&id(1)).unwrap().interfaces;
        let address = Address::new("fd00::1/64".parse().unwrap());
        inside.get_mut(&name("v")).unwrap().addresses.insert(address);
        assert_eq!(names(&network, &off), ["no-ipv6"]);
    }
}
