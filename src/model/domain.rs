//! Networks and domains.

use std::collections::{BTreeMap, BTreeSet};

use super::allow::Allow;
use super::dns::Dns;
use super::impairment::Impairment;
use super::interface::{Interface, Kind};
use super::isolation::Isolation;
use super::name::{DomainId, DomainName, End, InterfaceName, NetworkName, RtableId, SysctlName};
use super::route::Route;
use super::rule::Rule;
use super::wireguard::WireGuard;

/// Everything that one file describes, or that one kernel holds of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: NetworkName,
    /// Its domains. The default domain is always among them.
    pub domains: BTreeMap<DomainId, Domain>,
}

impl Network {
    /// The network of this name with nothing in it but a bare default domain.
    pub fn empty(name: NetworkName) -> Self {
        Self { name, domains: BTreeMap::from([(DomainId::DEFAULT, Domain::bare(DomainId::DEFAULT))]) }
    }

    /// Every interface with its place.
    pub fn interfaces(&self) -> impl Iterator<Item = (End, &Interface)> {
        self.domains.iter().flat_map(|(&domain, inside)| {
            let at = move |interface: &InterfaceName| End { domain, interface: interface.clone() };
            inside.interfaces.iter().map(move |(name, interface)| (at(name), interface))
        })
    }

    /// Every tunnel with its place.
    pub fn tunnels(&self) -> impl Iterator<Item = (End, &WireGuard)> {
        self.interfaces().filter_map(|(end, interface)| Some((end, interface.wireguard()?)))
    }

    /// The interface at this place.
    pub fn interface(&self, at: &End) -> Option<&Interface> {
        self.domains.get(&at.domain)?.interfaces.get(&at.interface)
    }

    /// The interface itself, and the other end of its link if it is one.
    pub fn ends(&self, at: &End) -> Vec<End> {
        let other = match self.interface(at).map(|interface| &interface.kind) {
            Some(Kind::Veth { peer }) => Some(peer.clone()),
            Some(_) | None => None,
        };
        [Some(at.clone()), other].into_iter().flatten().collect()
    }

    /// Has an end of a link do this to packets.
    pub fn impair(&mut self, at: &End, impairment: Impairment) {
        let inside = self.domains.get_mut(&at.domain);
        let interface = inside.and_then(|domain| domain.interfaces.get_mut(&at.interface));
        interface.into_iter().for_each(|interface| interface.impairment = impairment);
    }

    /// These domains with what their interfaces are joined to or stand on in others, and nothing else; the domains of
    /// their tunnels' sockets are bare.
    pub fn around(&self, domains: &BTreeSet<DomainId>) -> Network {
        let mut around = Network::empty(self.name.clone());
        domains.iter().for_each(|domain| self.add_around(&mut around, *domain));
        let whole = domains.iter().filter_map(|id| Some((*id, self.domains.get(id)?.clone())));
        around.domains.extend(whole);
        around
    }

    /// Two networks that differ in these domains alone, each `around` them. What they are joined to is the same in both,
    /// so that no difference is where only one of the two is joined to something.
    pub fn both_around(networks: [&Network; 2], domains: &BTreeSet<DomainId>) -> [Network; 2] {
        let mut both = networks.map(|network| network.around(domains));
        for (this, that) in [(0, 1), (1, 0)] {
            let outside = both[this].domains.iter().filter(|(id, _)| !domains.contains(id));
            for (id, domain) in outside.map(|(id, domain)| (*id, domain.clone())).collect::<Vec<_>>() {
                let same = both[that].domains.entry(id).or_insert_with(|| domain.clone());
                same.interfaces.extend(domain.interfaces);
            }
        }
        both
    }

    fn add_around(&self, around: &mut Network, domain: DomainId) {
        let Some(inside) = self.domains.get(&domain) else { return };
        for (name, interface) in &inside.interfaces {
            let at = End { domain, interface: name.clone() };
            let mut beneath = interface.kind.parent().cloned();
            let peer = if let Kind::Veth { peer } = &interface.kind { Some(peer) } else { None };
            let sockets = match &interface.kind {
                Kind::WireGuard(tunnel) => Some(tunnel.underlay),
                Kind::Vxlan(vxlan) => Some(vxlan.underlay),
                Kind::Veth { .. } | Kind::Bridge | Kind::Loopback | Kind::Existing | Kind::Vrf { .. } => None,
                Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } | Kind::Physical { .. } => None,
            };
            sockets.iter().for_each(|id| around.add_bare(self, *id));
            peer.iter().for_each(|peer| around.add_interface(self, peer));
            while let Some(parent) = beneath.filter(|parent| *parent != at) {
                around.add_interface(self, &parent);
                beneath = self.interface(&parent).and_then(|parent| parent.kind.parent()).cloned();
            }
        }
    }

    fn add_bare(&mut self, whole: &Network, id: DomainId) {
        let Some(domain) = whole.domains.get(&id) else { return };
        let (name, isolation) = (domain.name.clone(), domain.isolation);
        self.domains.entry(id).or_insert_with(|| Domain { name, isolation, ..Domain::bare(id) });
    }

    fn add_interface(&mut self, whole: &Network, at: &End) {
        self.add_bare(whole, at.domain);
        let (Some(domain), Some(interface)) = (self.domains.get_mut(&at.domain), whole.interface(at)) else {
            return;
        };
        domain.interfaces.insert(at.interface.clone(), interface.clone());
        // Of an interface without it a plan would take it away.
        if let Some(controller) = interface.controller.clone() {
            self.add_interface(whole, &End { domain: at.domain, interface: controller });
        }
    }

    /// The domain that a word means: its number or its name.
    pub fn domain_called(&self, word: &str) -> Option<DomainId> {
        let number = word.parse().ok().filter(|id| self.domains.contains_key(id));
        number.or_else(|| {
            self.domains.iter().find(|(_, domain)| domain.name.as_str() == word).map(|(&id, _)| id)
        })
    }
}

/// An isolated L3 world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, which is its namespace's: the file's, else `rdomN`; `default` for domain 0.
    pub name: DomainName,
    /// What keeps it apart.
    pub isolation: Isolation,
    /// Its interfaces.
    pub interfaces: BTreeMap<InterfaceName, Interface>,
    /// The routes of its own rtable that somebody asked this program for.
    pub routes: BTreeSet<Route>,
    /// The same of its further rtables.
    pub rtables: BTreeMap<RtableId, BTreeSet<Route>>,
    /// The policy rules that somebody asked this program for.
    pub rules: BTreeSet<Rule>,
    /// The sysctls that somebody asked this program for, with their values; one space stands where
    /// /proc/sys shows a tab between numbers.
    pub sysctls: BTreeMap<SysctlName, String>,
    /// Who may enter it; a kernel knows of nobody.
    pub allow: Allow,
    /// How its programs look names up; a kernel does not know.
    pub dns: Dns,
}

impl Domain {
    /// A domain without a name of its own and with nothing in it.
    pub fn bare(id: DomainId) -> Self {
        Self {
            name: DomainName::of_number(id),
            isolation: Isolation::Netns,
            interfaces: BTreeMap::new(),
            rtables: BTreeMap::new(),
            rules: BTreeSet::new(),
            routes: BTreeSet::new(),
            sysctls: BTreeMap::new(),
            allow: Allow::default(),
            dns: Dns::default(),
        }
    }

    /// Its rtables with their routes, its own one first; `id` is the domain's number.
    pub fn tables(&self, id: DomainId) -> impl Iterator<Item = (RtableId, &BTreeSet<Route>)> {
        let others = self.rtables.iter().map(|(&rtable, routes)| (rtable, routes));
        std::iter::once((id.into(), &self.routes)).chain(others)
    }

    /// Whether it is in the default domain's namespace; `id` is the domain's number.
    pub fn is_at_home(&self, id: DomainId) -> bool {
        id.is_default() || !self.isolation.has_namespace()
    }

    /// Whether its sysctls switch IPv6 on or off for an interface: `all` switches every one.
    pub fn switches_ipv6(&self, interface: &InterfaceName) -> Option<bool> {
        let named = ["all", interface.as_str()].into_iter().find_map(|name| {
            let path = format!("net/ipv6/conf/{name}/disable_ipv6");
            self.sysctls.iter().find(|(name, _)| name.path() == path)
        });
        named.map(|(_, value)| value == "0")
    }

    /// The routes of one of its rtables, to be changed; the rtable is made if there is none.
    pub fn table_mut(&mut self, id: DomainId, rtable: RtableId) -> &mut BTreeSet<Route> {
        if rtable == id.into() { &mut self.routes } else { self.rtables.entry(rtable).or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Engine, Key};

    #[test]
    fn what_only_one_of_two_networks_is_joined_to_is_the_same_around_both() {
        let [one, two, three] = [1, 2, 3].map(|number| DomainId::new(number).unwrap());
        let at = |domain, name| End { domain, interface: InterfaceName::new(name).unwrap() };
        let mut old = Network::empty(NetworkName::new("n").unwrap());
        old.domains.extend([one, two, three].map(|id| (id, Domain::bare(id))));
        let far = Interface::new(Kind::Veth { peer: at(one, "far") });
        old.domains.get_mut(&three).unwrap().interfaces.insert(at(three, "near").interface, far);
        let mut new = old.clone();
        let inside = &mut new.domains.get_mut(&one).unwrap().interfaces;
        let (engine, key) = (Engine::Userspace, Key::Of(at(one, "wg0")));
        let tunnel = WireGuard { engine, underlay: two, listen_port: None, key, peers: BTreeMap::new() };
        inside.insert(at(one, "wg0").interface, Interface::new(Kind::WireGuard(tunnel)));
        inside.insert(at(one, "far").interface, Interface::new(Kind::Veth { peer: at(three, "near") }));

        let [mut before, mut after] = Network::both_around([&old, &new], &BTreeSet::from([one]));

        assert_eq!(before.domains.remove(&one), old.domains.remove(&one));
        assert_eq!(after.domains.remove(&one), new.domains.remove(&one));
        assert_eq!(before, after);
        assert_eq!(after.domains.keys().copied().collect::<Vec<_>>(), [DomainId::DEFAULT, two, three]);
        assert!(after.interface(&at(three, "near")).is_some());
    }
}
