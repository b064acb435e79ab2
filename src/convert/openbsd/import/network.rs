//! What a script leaves behind, as a network.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnetwork::IpNetwork;
use zeroize::Zeroizing;

use super::{Host, HostInterface, HostPeer, HostTunnel, KeySource};
use crate::convert::SecretFile;
use crate::convert::openbsd::mark::Mark;
use crate::convert::openbsd::route::{Dropped, Words};
use crate::convert::openbsd::table::together;
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Endpoint, Engine, Host as EndpointHost, Interface,
    InterfaceName, Isolation, Key, Kind, Network, NetworkName, Peer, Prefix, Preshared, Route, RtableId,
    SecretName, SysctlName, Target, WireGuard,
};

/// A network and what belongs to it.
#[derive(Debug)]
pub struct Settled {
    /// The network, not bound yet.
    pub network: Network,
    /// The secrets that the script held, each with the file that it belongs into.
    pub secrets: BTreeMap<SecretName, SecretFile>,
    /// The files of secrets that the script named.
    pub files: BTreeMap<SecretName, PathBuf>,
    /// Who should reach whom: from each end of a tunnel within the network the addresses of the other.
    pub reaches: BTreeSet<(DomainId, IpAddr)>,
    /// What is not in the network.
    pub lost: Vec<String>,
}

/// The priority of a route that names none (net/route.h, `RTP_STATIC`).
const STATIC_PRIORITY: u8 = 8;

impl Host {
    /// It as a network of this name.
    pub fn settle(&self, name: NetworkName) -> Settled {
        let mut settled = Settled {
            network: Network::empty(name),
            secrets: BTreeMap::new(),
            files: BTreeMap::new(),
            reaches: BTreeSet::new(),
            lost: Vec::new(),
        };
        for (name, held) in &self.interfaces {
            if let Some(at) = self.end(name) {
                self.add_domain(&mut settled, at.domain);
                self.add_interface(&mut settled, name, at, held);
            }
        }
        for (rtable, words) in &self.routes {
            if self.add_route(&mut settled, *rtable, words).is_none() {
                settled
                    .lost
                    .push(format!("no interface leads to the route to {} of rtable {rtable}", words.to));
            }
        }
        for inside in settled.network.domains.values_mut() {
            inside.routes = together(std::mem::take(&mut inside.routes));
            inside.rtables.values_mut().for_each(|routes| *routes = together(std::mem::take(routes)));
        }
        settled
    }

    /// Where an interface is; the loopback of a domain is its `lo`.
    fn end(&self, name: &str) -> Option<End> {
        let domain = DomainId::new(self.interfaces.get(name)?.rdomain.into()).ok()?;
        let own_lo = !domain.is_default() && name == format!("lo{domain}");
        let interface = if own_lo { InterfaceName::loopback() } else { InterfaceName::new(name).ok()? };
        Some(End { domain, interface })
    }

    /// What a vlan(4) is on; a card that nothing else is said of is in the default domain.
    fn parent(&self, name: &str) -> Option<End> {
        let card = || Some(End { domain: DomainId::DEFAULT, interface: InterfaceName::new(name).ok()? });
        self.end(name).or_else(card)
    }

    /// A loopback that nothing was said of is as the file's are.
    fn add_domain(&self, settled: &mut Settled, id: DomainId) {
        let inside = settled.network.domains.entry(id).or_insert_with(|| {
            let mut lo = Interface::new(Kind::Loopback);
            lo.addresses.extend(Address::of_loopback());
            let interfaces = BTreeMap::from([(InterfaceName::loopback(), lo)]);
            let name = self.name(id).unwrap_or_else(|| DomainName::of_number(id));
            Domain { name, isolation: Isolation::Auto, interfaces, ..Domain::bare(id) }
        });
        let names = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"];
        for (name, _) in names.into_iter().zip(self.forwards).filter(|(_, on)| *on && !id.is_default()) {
            inside.sysctls.extend(SysctlName::new(name).ok().map(|name| (name, "1".to_owned())));
        }
    }

    /// What its loopback says that it is called.
    fn name(&self, id: DomainId) -> Option<DomainName> {
        let description = &self.interfaces.get(&format!("lo{id}"))?.description;
        let mark = Mark::of(&Mark::network(description)?);
        mark.domain(description)
    }

    fn add_interface(&self, settled: &mut Settled, name: &str, at: End, held: &HostInterface) {
        let kind = match (&held.tunnel, name.trim_end_matches(|c: char| c.is_ascii_digit())) {
            (Some(tunnel), _) => Kind::WireGuard(self.tunnel(settled, &at, tunnel)),
            (None, "lo") if at.interface == InterfaceName::loopback() => {
                // It gets ::1 with its first address.
                let own = Address::new(IpAddr::V6(Ipv6Addr::LOCALHOST).into());
                let own = Some(own).filter(|_| !held.addresses.is_empty());
                if own.is_some() || held.is_all_told {
                    let addresses = held.addresses.iter().map(|&own| Address::new(own)).chain(own).collect();
                    set_loopback(settled, &at, addresses);
                }
                return;
            }
            (None, "pair") => match held.patch.as_deref().and_then(|other| self.end(other)) {
                Some(peer) => Kind::Veth { peer },
                None => return settled.lost.push(format!("{name} has no other end")),
            },
            (None, "vether") => Kind::Dummy,
            (None, "vlan") => {
                match (held.parent.as_deref().and_then(|name| self.parent(name)), held.vnetid) {
                    (Some(parent), Some(id)) => Kind::Vlan { parent, id },
                    _ => return settled.lost.push(format!("{name} is on no interface, or has no number")),
                }
            }
            (None, _) if at.domain.is_default() && !held.addresses.is_empty() => Kind::Existing,
            (None, _) if at.domain.is_default() => return,
            (None, _) => {
                return settled.lost.push(format!("{name} is a network card, and stays where it is"));
            }
        };
        let addresses = held.addresses.iter().map(|&own| Address::new(own)).collect();
        let interface = Interface { addresses, mtu: held.mtu, ..Interface::new(kind) };
        if let Some(inside) = settled.network.domains.get_mut(&at.domain) {
            inside.interfaces.insert(at.interface, interface);
        }
    }

    fn tunnel(&self, settled: &mut Settled, at: &End, tunnel: &HostTunnel) -> WireGuard {
        settled.put(SecretName::PrivateKey(at.clone()), tunnel.key.as_ref(), format!("{}.key", at.interface));
        let peers = tunnel.peers.iter().enumerate();
        let peers = peers.filter_map(|(number, peer)| self.peer(settled, at, number, peer)).collect();
        WireGuard {
            engine: Engine::Auto,
            underlay: DomainId::new(tunnel.rtable.into()).unwrap_or(DomainId::DEFAULT),
            listen_port: tunnel.port.filter(|&port| port != 0),
            key: Key::Of(at.clone()),
            peers,
        }
    }

    fn peer(&self, settled: &mut Settled, at: &End, number: usize, peer: &HostPeer) -> Option<(Key, Peer)> {
        let (key, name) = match &peer.key {
            Ok(public) => (Key::Public(*public), label(number, peer)),
            Err(interface) => {
                let far = self.end(interface);
                let Some(far) = far else {
                    settled.lost.push(format!("a peer of {}: there is no {interface}", at.interface));
                    return None;
                };
                let name = format!("{}/{}", far.domain, far.interface);
                self.note_reach(settled, at, interface, peer);
                (Key::Of(far), name)
            }
        };
        let secret = SecretName::PresharedKey(at.clone(), name.clone());
        let file = format!("{}-{}.psk", at.interface, name.replace('/', "-"));
        settled.put(secret.clone(), peer.preshared.as_ref(), file);
        let endpoint = peer.words.endpoint.as_ref().map(|(host, port)| {
            let host = host.parse().map_or_else(|_| EndpointHost::Name(host.clone()), EndpointHost::Address);
            let far = peer.key.as_ref().err().and_then(|name| self.interfaces.get(name)?.tunnel.as_ref());
            let follows = far.is_some_and(|far| far.port == Some(*port));
            Endpoint { host, port: (!follows).then_some(*port) }
        });
        let allowed_ips = peer.words.allowed_ips.iter().map(|&own| Prefix::containing(own)).collect();
        let preshared_key = peer.preshared.as_ref().map(|_| Preshared::Of(secret));
        let persistent_keepalive_secs = peer.words.keepalive_secs.unwrap_or(0);
        Some((
            key,
            Peer { name: Some(name), endpoint, allowed_ips, preshared_key, persistent_keepalive_secs },
        ))
    }

    fn note_reach(&self, settled: &mut Settled, at: &End, far: &str, peer: &HostPeer) {
        let Some(far) = self.interfaces.get(far) else { return };
        let allowed = |ip: &IpAddr| peer.words.allowed_ips.iter().any(|allowed| allowed.contains(*ip));
        let addresses = far.addresses.iter().map(|own| own.ip()).filter(allowed);
        settled.reaches.extend(addresses.map(|ip| (at.domain, ip)));
    }

    fn add_route(&self, settled: &mut Settled, rtable: u8, words: &Words) -> Option<()> {
        let inside = self.interfaces.values().any(|held| held.rdomain == rtable);
        let domain = if inside { DomainId::new(rtable.into()).ok()? } else { DomainId::DEFAULT };
        let target = match (words.dropped, words.gateway) {
            (Some(Dropped::Reject), _) => Target::Unreachable,
            (Some(Dropped::Blackhole), _) => Target::Blackhole,
            (None, gateway) => {
                let via = gateway?;
                let leads =
                    |own: &IpNetwork| if words.straight { own.ip() == via } else { own.contains(via) };
                let mut all =
                    self.interfaces.iter().filter(|(_, held)| u32::from(held.rdomain) == domain.number());
                let (name, _) = all.find(|(_, held)| held.addresses.iter().any(leads))?;
                let dev = self.end(name)?.interface;
                Target::Unicast { via: (!words.straight).then_some(via), dev, src: None, onlink: false }
            }
        };
        let usual = words.priority.is_none_or(|priority| priority == STATIC_PRIORITY);
        let given = words.priority.map(u32::from).filter(|_| !usual);
        let metric = given.unwrap_or_else(|| Route::default_metric(words.to));
        let rtable = RtableId::new(rtable.into()).ok()?;
        let table = settled.network.domains.get_mut(&domain)?.table_mut(domain, rtable);
        table.insert(Route { to: words.to, metric, target });
        Some(())
    }
}

impl Settled {
    fn put(&mut self, name: SecretName, source: Option<&KeySource>, file: String) {
        match source {
            Some(KeySource::File(path)) => drop(self.files.insert(name, path.into())),
            Some(KeySource::Written(key)) => {
                let text = Zeroizing::new(STANDARD.encode(key.0));
                self.secrets.insert(name, SecretFile { name: file.into(), text });
            }
            Some(KeySource::Made) | None => {}
        }
    }
}

fn set_loopback(settled: &mut Settled, at: &End, addresses: BTreeSet<Address>) {
    let inside = settled.network.domains.get_mut(&at.domain);
    if let Some(lo) = inside.and_then(|inside| inside.interfaces.get_mut(&at.interface)) {
        lo.addresses = addresses;
    }
}

/// What the file calls a peer: what the script describes it as, or its number.
fn label(number: usize, peer: &HostPeer) -> String {
    let described = peer.words.description.clone().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' };
    let described: String = described.chars().map(plain).collect();
    if described.is_empty() { format!("peer{}", number + 1) } else { described }
}
