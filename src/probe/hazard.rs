//! What would make a network that came up without an error carry nothing: switches of the kernel, and firewalls,
//! that are not the network's own. Each is named, and told before somebody has to look for it.

mod routers;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::firewall::{ClosedChain, Hook};
use crate::model::{Domain, DomainId, End, Kind, Network, SysctlName, Target, WireGuard};
use routers::{Router, routers};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// Its name: `no-forwarding`, `strict-rp-filter`, `closed-firewall`.
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
    let routers = || routers(network).into_iter();
    let mut found: Vec<Hazard> =
        routers().filter_map(|router| no_forwarding(router, network, around)).collect();
    found.extend(domains().filter_map(|(id, domain)| strict_reverse_path(id, domain, around)));
    found.extend(closed_to_tunnels(network, around));
    found.extend(routers().filter_map(|router| closed_to_others(router, network, around)));
    found
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

/// Of tunnels: their UDP has to come in to the underlay and to leave it.
fn closed_to_tunnels(network: &Network, around: &impl Surroundings) -> Vec<Hazard> {
    let underlays: BTreeSet<_> = network.tunnels().map(|(_, tunnel)| tunnel.underlay).collect();
    let mut found = Vec::new();
    for underlay in underlays {
        let chains = around.closed_chains(underlay);
        for (at, tunnel) in network.tunnels().filter(|(_, tunnel)| tunnel.underlay == underlay) {
            let Some(port) = tunnel.listen_port else { continue };
            found.extend(
                chains.iter().filter_map(|chain| closed_to_tunnel(chain, underlay, &at, tunnel, port)),
            );
        }
    }
    found
}

fn closed_to_tunnel(
    chain: &ClosedChain,
    underlay: DomainId,
    at: &End,
    tunnel: &WireGuard,
    port: u16,
) -> Option<Hazard> {
    let ends = || tunnel.peers.values().filter_map(|peer| peer.endpoint.as_ref()?.port);
    let (is_open, word) = match chain.hook {
        Hook::Input => (chain.mentions(port), "dport"),
        Hook::Output => (chain.mentions(port) || ends().any(|end| chain.mentions(end)), "sport"),
        Hook::Forward => return None,
    };
    (!is_open).then(|| Hazard {
        name: "closed-firewall",
        message: format!(
            "the firewall chain `{}` of domain {underlay} drops what no rule accepts, and none names UDP port {port} of \
             {at}",
            chain.name
        ),
        remedy: format!("nft add rule {} udp {word} {port} accept", chain.name),
    })
}

/// Of a domain that others use as a gateway: their packets have to go through.
fn closed_to_others((id, is_ipv6): Router, network: &Network, around: &impl Surroundings) -> Option<Hazard> {
    let inside = network.domains.get(&id)?;
    let apart = inside.interfaces.iter().filter(|(_, interface)| interface.kind != Kind::Loopback);
    let interfaces: Vec<_> = apart.map(|(name, _)| name).collect();
    let like: IpAddr = if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let is_closed = |chain: &ClosedChain| {
        let is_named = interfaces.iter().any(|name| chain.names(name));
        chain.hook == Hook::Forward && chain.sees_packets_like(like) && !is_named
    };
    let chain = around.closed_chains(id).into_iter().find(is_closed)?;
    let names: Vec<_> = interfaces.iter().map(|name| format!("\"{name}\"")).collect();
    Some(Hazard {
        name: "closed-firewall",
        message: format!(
            "domain {id} is a gateway of other domains, but its firewall chain `{}` drops what no rule accepts, and none \
             names an interface of the network",
            chain.name
        ),
        remedy: format!("nft add rule {} iifname '{{ {} }}' accept", chain.name, names.join(", ")),
    })
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Address, Interface, InterfaceName, NetworkName, Route};

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

    /// Domain 1 has a default route by an address of domain 2, which domain 3 has as well; domain 4 is behind domain 2.
    fn network() -> Network {
        let mut network = Network::empty(NetworkName::new("n").unwrap());
        add(&mut network, (1, "v"), (2, "v"), "10.0.0.1/24");
        add(&mut network, (2, "v"), (1, "v"), "10.0.0.2/24");
        add(&mut network, (3, "v"), (1, "v"), "10.0.0.2/24");
        add(&mut network, (2, "w"), (4, "w"), "10.1.0.1/24");
        add(&mut network, (4, "w"), (2, "w"), "10.1.0.2/24");
        lead(&mut network, "0.0.0.0/0");
        network
    }

    fn add(network: &mut Network, (number, interface): (u32, &str), peer: (u32, &str), address: &str) {
        let peer = End { domain: id(peer.0), interface: name(peer.1) };
        let mut end = Interface::new(Kind::Veth { peer });
        end.addresses.insert(Address::new(address.parse().unwrap()));
        let domain = network.domains.entry(id(number)).or_insert_with(|| Domain::bare(id(number)));
        domain.interfaces.insert(name(interface), end);
    }

    /// Gives domain 1 this route by domain 2, and no other.
    fn lead(network: &mut Network, to: &str) {
        let target =
            Target::Unicast { via: "10.0.0.2".parse().ok(), dev: name("v"), src: None, onlink: false };
        let route = Route { to: to.parse().unwrap(), metric: 0, target };
        network.domains.get_mut(&id(1)).unwrap().routes = [route].into();
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
    fn a_gateway_to_itself_or_back_need_not_forward() {
        let mut network = network();
        let closed = [((2, "net/ipv4/ip_forward"), "0")];
        for (to, expected) in [("10.1.0.0/24", 1), ("10.0.0.0/8", 1), ("10.1.0.1", 0), ("10.2.0.0/24", 0)] {
            lead(&mut network, to);
            assert_eq!(names(&network, &closed).len(), expected, "{to}");
        }
        lead(&mut network, "0.0.0.0/0");
        network.domains.get_mut(&id(2)).unwrap().interfaces.remove(&name("w"));
        assert_eq!(names(&network, &closed), [""; 0]);
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
}
