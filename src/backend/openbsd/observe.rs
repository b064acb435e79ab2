//! What the tools print, as a network: what carries our mark, and others' interfaces of the default domain.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use super::given::Given;
use super::render::STATIC_PRIORITY;
use super::{Console, Output};
use crate::backend::BackendError;
use crate::convert::openbsd::listing::{self, Listed, ListedPeer, Unreadable};
use crate::convert::openbsd::mark::Mark;
use crate::convert::openbsd::rdomains;
use crate::convert::openbsd::table::{self, ListedRoute};
use crate::model::{
    Address, Domain, DomainId, DomainName, End, Engine, Interface, InterfaceName, Isolation, Key, Kind,
    Network, NetworkName, Peer, Prefix, PublicKey, Route, RtableId, Target, WireGuard,
};

/// What the tools printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Of `ifconfig -A`, as root.
    pub ifconfig: String,
    /// Of `netstat -R`.
    pub netstat: String,
    /// Of `route -T N -nv show`, by N.
    pub routes: BTreeMap<u8, String>,
}

impl Captured {
    /// Runs the tools.
    pub fn by(console: &mut impl Console) -> Result<Self, BackendError> {
        let mut run = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            console.run(&words).and_then(|output| printed(&words, output))
        };
        let ifconfig = run(&["ifconfig", "-A"])?;
        let netstat = run(&["netstat", "-R"])?;
        let tables: BTreeSet<u8> = rdomains::read(&netstat).into_values().flatten().collect();
        let show = |table: u8| Ok((table, run(&["route", &format!("-T{table}"), "-nv", "show"])?));
        let routes = tables.into_iter().map(show).collect::<Result<_, BackendError>>()?;
        Ok(Self { ifconfig, netstat, routes })
    }
}

pub(super) fn printed(words: &[String], output: Output) -> Result<String, BackendError> {
    if output.status == 0 {
        return Ok(output.stdout);
    }
    Err(BackendError::new(format!("{}: {}", words.join(" "), output.stderr.trim())))
}

/// The network of this name in what was printed.
pub fn network(name: &NetworkName, captured: &Captured, given: &Given) -> Result<Network, BackendError> {
    let unreadable = |what: &str, error: Unreadable| BackendError::new(format!("{what}: {error}"));
    let listed = listing::read(&captured.ifconfig).map_err(|error| unreadable("ifconfig -A", error))?;
    let mark = Mark::of(name);
    let mut network = Network::empty(name.clone());
    network.domains.values_mut().for_each(|default| default.isolation = Isolation::Auto);
    for lo in listed.iter().filter(|listed| listed.rdomain != 0) {
        let (Some(domain), Some(id)) = (mark.domain(&lo.description), domain_of(lo.rdomain)) else {
            continue;
        };
        if lo.name == format!("lo{id}") {
            network.domains.insert(id, rdomain(id, domain));
        }
    }
    for listed in &listed {
        add_interface(&mut network, &mark, listed, given);
    }
    place(&mut network, &mark, &listed);
    join(&mut network, &mark, &listed);
    for (rdomain, tables) in rdomains::read(&captured.netstat) {
        for rtable in tables {
            let Some(text) = captured.routes.get(&rtable) else { continue };
            let what = format!("route -T{rtable} -nv show");
            let rows = table::read(text).map_err(|error| unreadable(&what, error))?;
            add_routes(&mut network, &mark, rdomain, rtable, &rows, &listed);
        }
    }
    Ok(network)
}

/// The networks that something is marked with in what `ifconfig -A` printed.
pub fn networks(ifconfig: &str) -> Result<BTreeSet<NetworkName>, BackendError> {
    let listed =
        listing::read(ifconfig).map_err(|error| BackendError::new(format!("ifconfig -A: {error}")))?;
    Ok(listed.iter().filter_map(|listed| Mark::network(&listed.description)).collect())
}

/// What `ifconfig -A` printed of each interface, by its name.
pub fn blocks(ifconfig: &str) -> BTreeMap<&str, &str> {
    let starts: Vec<usize> = std::iter::once(0)
        .chain(ifconfig.match_indices('\n').map(|(at, _)| at + 1))
        .filter(|&at| ifconfig[at..].starts_with(|first: char| first.is_ascii_alphanumeric()))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([ifconfig.len()]);
    let blocks = starts.iter().zip(ends).map(|(&start, end)| &ifconfig[start..end]);
    blocks.filter_map(|block| Some((block.split_once(':')?.0, block))).collect()
}

/// Numbers that Linux has reserved are those of no domain of ours.
fn domain_of(rdomain: u8) -> Option<DomainId> {
    DomainId::new(rdomain.into()).ok()
}

fn add_interface(network: &mut Network, mark: &Mark, listed: &Listed, given: &Given) {
    let Some(domain) = domain_of(listed.rdomain) else { return };
    let ours = mark.is_on(&listed.description);
    if !ours && !domain.is_default() {
        return;
    }
    let own_lo = listed.is_loopback() && network.domains.contains_key(&domain) && !domain.is_default();
    let name = if own_lo { Some(InterfaceName::loopback()) } else { InterfaceName::new(&listed.name).ok() };
    let Some(interface) = name else { return };
    let at = End { domain, interface };
    let addresses = listed.addresses.iter().map(|&address| Address::new(address));
    let held = if ours {
        let kind = kind(listed, &at, own_lo, given);
        // Own addresses answer by a bare loopback that is down too.
        let up = listed.is_up() || (own_lo && listed.addresses.is_empty());
        let mtu = (!own_lo).then_some(listed.mtu);
        Interface { up, mtu, addresses: addresses.collect(), ..Interface::new(kind) }
    } else {
        let addresses = addresses.filter(|&address| given.has_address(&at, address)).collect();
        let (up, mtu) = (listed.is_up(), Some(listed.mtu));
        Interface { up, mtu, addresses, ..Interface::new(Kind::Existing) }
    };
    // One of ours that somebody moved to a domain of others: by a name that no file has it is never taken for it.
    let strange = || rdomain(domain, strange_name(domain));
    network.domains.entry(domain).or_insert_with(strange).interfaces.insert(at.interface, held);
}

fn rdomain(id: DomainId, name: DomainName) -> Domain {
    Domain { name, isolation: Isolation::Auto, ..Domain::bare(id) }
}

fn strange_name(id: DomainId) -> DomainName {
    DomainName::new(format!("_{id}")).unwrap_or_else(|_| DomainName::of_number(id))
}

/// What has no better name here, half of a cable or a loopback in the wrong place, goes as a dummy does.
fn kind(listed: &Listed, at: &End, own_lo: bool, given: &Given) -> Kind {
    if own_lo {
        return Kind::Loopback;
    }
    if !listed.name.starts_with("wg") {
        return Kind::Dummy;
    }
    let underlay = domain_of(listed.wgrtable).unwrap_or(DomainId::DEFAULT);
    let peers = listed.peers.iter().map(|listed| (Key::Public(listed.key), peer(listed, at, given)));
    Kind::WireGuard(WireGuard {
        engine: Engine::Kernel,
        underlay,
        listen_port: Some(listed.wgport).filter(|&port| port != 0),
        key: Key::Public(listed.wgpubkey.unwrap_or(PublicKey([0; 32]))),
        peers: peers.collect(),
    })
}

fn peer(listed: &ListedPeer, at: &End, given: &Given) -> Peer {
    let contained = |&network: &IpNetwork| Prefix::containing(network);
    Peer {
        name: None,
        endpoint: given.endpoint(at, listed.key, listed.endpoint),
        allowed_ips: listed.allowed_ips.iter().map(contained).collect(),
        preshared_key: listed.preshared.then(|| given.preshared(at, listed.key)),
        persistent_keepalive_secs: listed.keepalive_secs,
    }
}

/// Makes links of pairs whose two ends are ours and know each other.
fn join(network: &mut Network, mark: &Mark, listed: &[Listed]) {
    let ours: BTreeMap<&str, &Listed> = listed
        .iter()
        .filter(|listed| listed.name.starts_with("pair") && mark.is_on(&listed.description))
        .map(|listed| (listed.name.as_str(), listed))
        .collect();
    for one in ours.values() {
        let Some(other) = one.patch.as_deref().and_then(|name| ours.get(name)) else { continue };
        if other.patch.as_deref() != Some(&one.name) {
            continue;
        }
        let (Some(at), Some(peer)) = (end_of(one), end_of(other)) else { continue };
        let inside = network.domains.get_mut(&at.domain);
        if let Some(held) = inside.and_then(|inside| inside.interfaces.get_mut(&at.interface)) {
            held.kind = Kind::Veth { peer };
        }
    }
}

/// Says of each of our vlan(4) interfaces what it is on, wherever that is.
fn place(network: &mut Network, mark: &Mark, listed: &[Listed]) {
    for one in listed.iter().filter(|one| one.name.starts_with("vlan") && mark.is_on(&one.description)) {
        let parent = listed.iter().find(|other| one.parent.as_ref() == Some(&other.name));
        let (Some(parent), Some(id), Some(at)) = (parent.and_then(end_of), one.vnetid, end_of(one)) else {
            continue;
        };
        if let Some(held) =
            network.domains.get_mut(&at.domain).and_then(|inside| inside.interfaces.get_mut(&at.interface))
        {
            held.kind = Kind::Vlan { parent, id };
        }
    }
}

fn end_of(listed: &Listed) -> Option<End> {
    Some(End { domain: domain_of(listed.rdomain)?, interface: InterfaceName::new(&listed.name).ok()? })
}

fn add_routes(
    network: &mut Network,
    mark: &Mark,
    rdomain: u8,
    rtable: u8,
    rows: &[ListedRoute],
    listed: &[Listed],
) {
    let (Some(id), Ok(rtable)) = (domain_of(rdomain), RtableId::new(rtable.into())) else { return };
    let Some(inside) = network.domains.get_mut(&id) else { return };
    let ours = rows.iter().filter(|row| row.label.as_deref() == Some(mark.text()));
    let routes = table::together(ours.filter_map(|row| route(row, id, listed)));
    if !routes.is_empty() {
        inside.table_mut(id, rtable).extend(routes);
    }
}

fn route(row: &ListedRoute, id: DomainId, listed: &[Listed]) -> Option<Route> {
    let by = listed.iter().find(|listed| listed.name == row.interface);
    let usual = STATIC_PRIORITY + by.map_or(0, |by| by.priority);
    let metric = if row.priority == usual { Route::default_metric(row.to) } else { row.priority.into() };
    let target = if row.has('R') {
        Target::Unreachable
    } else if row.has('B') {
        Target::Blackhole
    } else {
        let own_lo = row.interface == format!("lo{id}") && !id.is_default();
        let dev = if own_lo { InterfaceName::loopback() } else { InterfaceName::new(&row.interface).ok()? };
        let via = if row.has('G') { Some(row.gateway_address()?) } else { None };
        Target::Unicast { via, dev, src: None, onlink: false }
    };
    Some(Route { to: row.to, metric, target })
}
