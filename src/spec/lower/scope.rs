//! Everything that a word of the file can refer to.

use std::collections::BTreeMap;

use super::links::{self, Joined};
use super::names::Names;
use super::peers::Called;
use super::rtables::{self, Owners};
use crate::diagnostic::Place;
use crate::model::{DomainId, End, Engine, Isolation};
use crate::spec::report::{Placed, Report};
use crate::spec::words::{Domain, File, Interface, Kind, Peer, PeerWord, WireGuard};

/// The file, by what it names.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) names: Names,
    pub(super) domains: Vec<(DomainId, &'a Domain)>,
    by_number: BTreeMap<DomainId, &'a Domain>,
    pub(super) interfaces: BTreeMap<End, &'a Interface>,
    /// Where interfaces of a name are.
    by_name: BTreeMap<&'a str, Vec<End>>,
    /// The peers of each tunnel that are interfaces of the file, by what it calls them.
    peers: BTreeMap<End, BTreeMap<Called<'a>, &'a Peer>>,
    pub(super) links: BTreeMap<End, Joined>,
    /// Every interface that the file lists or joins, with the place where it lists or else joins it.
    pub(super) ends: BTreeMap<End, Place>,
    /// Whether all links could be read and looked up.
    pub(super) links_whole: bool,
    pub(super) engine: Engine,
    /// What keeps the domains apart that do not say it themselves.
    pub(super) isolation: Isolation,
    /// Whose each rtable is.
    pub(super) rtables: Owners,
}

impl<'a> Scope<'a> {
    /// What the file names; names that clash are reported.
    pub(super) fn of(file: &'a File, report: &mut Report) -> Self {
        let (names, domains) = Names::of(file, report);
        let errors = report.errors();
        let links = links::join(file, &names, report);
        let interfaces: BTreeMap<_, _> = domains
            .iter()
            .flat_map(|&(domain, words)| {
                let end =
                    move |interface: &Interface| End { domain, interface: interface.name.value.clone() };
                words.interfaces.iter().map(move |interface| (end(interface), interface))
            })
            .collect();
        let mut by_name: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (end, words) in &interfaces {
            by_name.entry(words.name.value.as_str()).or_default().push(end.clone());
        }
        let peers = interfaces.iter().filter_map(|(end, words)| {
            let in_file = tunnel(words)?.peers.iter().filter(|peer| matches!(peer.who, PeerWord::InFile));
            let called = in_file.filter_map(|peer| Some((Called::by(&peer.word.value, &names)?, peer)));
            Some((end.clone(), called.collect()))
        });
        let joined = links.iter().map(|(end, joined)| (end.clone(), joined.place));
        let listed =
            interfaces.iter().map(|(end, words): (&End, &&Interface)| (end.clone(), words.name.place));
        Self {
            ends: joined.chain(listed).collect(),
            by_name,
            peers: peers.collect(),
            interfaces,
            links_whole: file.links_whole && report.errors() == errors,
            engine: file.engine.unwrap_or(Engine::Auto),
            isolation: file.isolation.as_ref().map_or(Isolation::Auto, |isolation| isolation.value),
            rtables: rtables::owners(&names, &domains, report),
            names,
            by_number: domains.iter().copied().collect(),
            domains,
            links,
        }
    }

    /// Every tunnel with its place.
    pub(super) fn tunnels(&self) -> impl Iterator<Item = (&End, &'a WireGuard)> {
        self.interfaces.iter().filter_map(|(end, interface)| Some((end, tunnel(interface)?)))
    }

    /// The interfaces that a peer's word may mean.
    pub(super) fn called(&self, called: &Called<'_>) -> Vec<&End> {
        let of_name = self.by_name.get(called.interface).map(Vec::as_slice).unwrap_or_default();
        match called.domain {
            Some(domain) => {
                let found = of_name.binary_search_by_key(&domain, |end| end.domain);
                found.iter().map(|&at| &of_name[at]).collect()
            }
            None => of_name.iter().collect(),
        }
    }

    /// The words by which a tunnel has that interface as a peer.
    pub(super) fn peer(&self, tunnel: &End, of: &End) -> Option<&'a Peer> {
        let peers = self.peers.get(tunnel)?;
        let called =
            [Some(of.domain), None].map(|domain| Called { domain, interface: of.interface.as_str() });
        called.iter().find_map(|called| peers.get(called)).copied()
    }

    /// The domain's words, if the file has it.
    pub(super) fn domain(&self, id: DomainId) -> Option<&'a Domain> {
        self.by_number.get(&id).copied()
    }

    /// What keeps this domain apart, as the file has it.
    pub(super) fn isolation(&self, id: DomainId) -> Isolation {
        if id.is_default() {
            return Isolation::Netns;
        }
        let said = self.domain(id).and_then(|domain| domain.isolation.as_ref());
        said.map_or(self.isolation, |isolation| isolation.value)
    }

    /// Whether this domain's interfaces are in the namespace of the default domain.
    pub(super) fn is_in_default_namespace(&self, id: DomainId) -> bool {
        id.is_default() || self.isolation(id) == Isolation::Vrf
    }

    /// Whether everything that could be in this domain is known.
    pub(super) fn is_whole(&self, id: DomainId) -> bool {
        self.links_whole && self.domain(id).is_none_or(|domain| domain.whole)
    }

    /// Whether every interface of this domain is known by name.
    pub(super) fn is_named(&self, id: DomainId) -> bool {
        self.links_whole && self.domain(id).is_none_or(|domain| domain.all_named)
    }

    /// Whether every interface of the file is known by name.
    pub(super) fn all_named(&self) -> bool {
        self.names.is_whole() && self.domains.iter().all(|(_, domain)| domain.all_named)
    }

    /// The domain whose sockets carry a tunnel's packets, if there is such a domain.
    pub(super) fn underlay(&self, tunnel: &WireGuard) -> Option<DomainId> {
        self.underlay_called(tunnel.underlay.as_ref())
    }

    /// The domain that a value of `underlay` means: without one the default domain.
    pub(super) fn underlay_called(&self, word: Option<&Placed<String>>) -> Option<DomainId> {
        match word {
            Some(word) => self.names.known(&word.value),
            None => Some(DomainId::DEFAULT),
        }
    }
}

/// The tunnel that an interface is, if it is one.
pub(super) fn tunnel(interface: &Interface) -> Option<&WireGuard> {
    match &interface.kind.as_ref()?.value {
        Kind::WireGuard(tunnel) => Some(tunnel),
        Kind::Bridge { .. } | Kind::Dummy | Kind::Vlan { .. } | Kind::Macvlan { .. } => None,
        Kind::Vxlan(_) | Kind::Physical { .. } | Kind::Unknown => None,
    }
}
