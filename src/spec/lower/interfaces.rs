//! Interfaces: what each one is, its addresses, and the bridge that it is a port of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::scope::Scope;
use super::{kinds, tunnels};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Address, DomainId, End, Interface, InterfaceName, Kind, Network, Object};
use crate::spec::fields::nearest;
use crate::spec::origins::Origins;
use crate::spec::report::{Placed, Report};
use crate::spec::words;

/// The addresses of a domain so far: whose each is and where the file says it.
type Taken = BTreeMap<IpAddr, (InterfaceName, Option<Place>)>;

/// The interfaces of a domain, its loopback included.
pub(super) fn lower(
    id: DomainId,
    domain: &words::Domain,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> BTreeMap<InterfaceName, Interface> {
    let mut taken = Taken::new();
    let mut interfaces = BTreeMap::new();
    if let Some((name, interface)) = loopback(id, domain, &mut taken, origins, report) {
        interfaces.insert(name, interface);
    }
    for words in &domain.interfaces {
        let end = End { domain: id, interface: words.name.value.clone() };
        origins.add(Object::Interface(end.clone()), words.name.place);
        let addresses = words.addresses.iter().map(|placed| {
            let duplicate_detection = words.duplicate_detection && placed.value.is_ipv6();
            Placed::new(Address { network: placed.value, duplicate_detection }, placed.place)
        });
        let interface = Interface {
            addresses: claim(&end, addresses, &mut taken, origins, report),
            mtu: words.mtu.as_ref().map(|mtu| mtu.value),
            up: words.up,
            impairment: scope.links.get(&end).map(|joined| joined.impairment).unwrap_or_default(),
            ..Interface::new(kind(&end, words, scope, origins, report))
        };
        interfaces.insert(end.interface, interface);
    }
    interfaces
}

/// Every domain is born with a loopback; that of the default domain is ours only as far as the file says.
fn loopback(
    id: DomainId,
    domain: &words::Domain,
    taken: &mut Taken,
    origins: &mut Origins,
    report: &mut Report,
) -> Option<(InterfaceName, Interface)> {
    let name = InterfaceName::new("lo").ok()?;
    let end = End { domain: id, interface: name.clone() };
    let kind = if id.is_default() { Kind::Existing } else { Kind::Loopback };
    let mut interface = Interface::new(kind);
    match &domain.loopback {
        Some(given) => {
            let addresses = given.iter().map(|placed| Placed::new(Address::new(placed.value), placed.place));
            interface.addresses = claim(&end, addresses, taken, origins, report);
        }
        None if id.is_default() => return None,
        None => {
            interface.addresses = loopback_addresses();
            taken.extend(interface.addresses.iter().map(|a| (a.network.ip(), (name.clone(), None))));
        }
    }
    Some((name, interface))
}

/// 127.0.0.1/8 and ::1/128.
pub(in crate::spec) fn loopback_addresses() -> BTreeSet<Address> {
    Address::of_loopback().into()
}

fn claim(
    end: &End,
    addresses: impl Iterator<Item = Placed<Address>>,
    taken: &mut Taken,
    origins: &mut Origins,
    report: &mut Report,
) -> BTreeSet<Address> {
    let mut claimed = BTreeSet::new();
    for Placed { value: address, place } in addresses {
        let host = address.network.ip();
        match taken.get(&host) {
            Some((owner, first)) if owner == &end.interface || !is_link_local(host) => {
                report.push(twice(host, place, owner, *first));
            }
            Some(_) | None => {
                taken.insert(host, (end.interface.clone(), Some(place)));
                origins.add(Object::Address(end.clone(), address), place);
                claimed.insert(address);
            }
        }
    }
    claimed
}

/// fe80::/10 means something on its link only, so two links may have the same (RFC 4007).
fn is_link_local(host: IpAddr) -> bool {
    matches!(host, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn twice(host: IpAddr, place: Place, owner: &InterfaceName, first: Option<Place>) -> Diagnostic {
    let diagnostic =
        Diagnostic::error(place, format!("address {host} is twice in one domain")).label("again here");
    let help = "take another address, or put the interface in another domain";
    match first {
        Some(first) => diagnostic.related(first, format!("first here, on `{owner}`")).help(help),
        None => diagnostic.help(format!("`{owner}` has it unless `lo: {{addresses: [..]}}` says otherwise")),
    }
}

fn kind(
    end: &End,
    words: &words::Interface,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> Kind {
    if let Some(joined) = scope.links.get(end) {
        if let Some(kind) = &words.kind {
            report.push(
                Diagnostic::error(
                    kind.place,
                    format!("`{}` is an end of a link already", scope.names.end(end)),
                )
                .label("what else it is said to be")
                .related(joined.place, "the end of a link")
                .help("give one of the two another name"),
            );
        }
        return Kind::Veth { peer: joined.peer.clone() };
    }
    match words.kind.as_ref().map(|kind| &kind.value) {
        Some(words::Kind::WireGuard(tunnel)) => {
            Kind::WireGuard(tunnels::lower(end, words, tunnel, scope, origins, report))
        }
        Some(words::Kind::Bridge { .. }) => Kind::Bridge,
        Some(words::Kind::Dummy) => Kind::Dummy,
        Some(words::Kind::Vlan { parent, id }) => {
            let id = id.value;
            kinds::on_parent(end, parent, scope, report, |parent| Kind::Vlan { parent, id })
        }
        Some(words::Kind::Macvlan { parent }) => {
            kinds::on_parent(end, parent, scope, report, |parent| Kind::Macvlan { parent })
        }
        Some(words::Kind::Vxlan(vxlan)) => kinds::vxlan(vxlan, scope, report),
        Some(words::Kind::Unknown) => Kind::Existing,
        None => {
            check_existing(end, words, scope, report);
            Kind::Existing
        }
    }
}

/// Only the default domain has interfaces that nobody here makes.
fn check_existing(end: &End, words: &words::Interface, scope: &Scope<'_>, report: &mut Report) {
    if end.domain.is_default() || !scope.is_whole(end.domain) {
        return;
    }
    let name = scope.names.end(end);
    report.push(
        Diagnostic::error(words.name.place, format!("nothing makes interface `{name}`"))
            .label("neither a kind nor an end of a link")
            .help(format!(
                "give it `wireguard:` or `bridge:`, or join it: `links: [{{ends: [{name}, 0/veth0]}}]`"
            )),
    );
}

/// Adds the ends of links that no domain lists.
pub(super) fn add_link_ends(scope: &Scope<'_>, network: &mut Network, origins: &mut Origins) {
    for (end, joined) in &scope.links {
        let Some(domain) = network.domains.get_mut(&end.domain) else { continue };
        domain.interfaces.entry(end.interface.clone()).or_insert_with(|| {
            origins.add(Object::Interface(end.clone()), joined.place);
            let kind = Kind::Veth { peer: joined.peer.clone() };
            Interface { impairment: joined.impairment, ..Interface::new(kind) }
        });
    }
}

/// Tells the ports of each bridge that they are.
pub(super) fn join_bridges(scope: &Scope<'_>, network: &mut Network, report: &mut Report) {
    let mut joined: BTreeMap<End, Place> = BTreeMap::new();
    for (bridge, words) in &scope.interfaces {
        let Some(words::Kind::Bridge { ports }) = words.kind.as_ref().map(|kind| &kind.value) else {
            continue;
        };
        for port in ports {
            let end = End { domain: bridge.domain, interface: port.value.clone() };
            if let Some(first) = joined.get(&end) {
                report.push(port_twice(port, *first));
            } else if join_port(bridge, port, scope, network, report) {
                joined.insert(end, port.place);
            }
        }
    }
}

fn port_twice(port: &Placed<InterfaceName>, first: Place) -> Diagnostic {
    Diagnostic::error(port.place, format!("`{}` is a port twice", port.value))
        .label("again here")
        .related(first, "first here")
        .help("an interface is a port of one bridge")
}

fn join_port(
    bridge: &End,
    port: &Placed<InterfaceName>,
    scope: &Scope<'_>,
    network: &mut Network,
    report: &mut Report,
) -> bool {
    let Some(domain) = network.domains.get_mut(&bridge.domain) else { return false };
    let Some(interface) = domain.interfaces.get_mut(&port.value) else {
        if scope.is_named(bridge.domain) {
            let known = domain.interfaces.keys().map(InterfaceName::as_str);
            report.push(no_port(port, &scope.names.word(bridge.domain), known));
        }
        return false;
    };
    let refused = match &interface.kind {
        Kind::Veth { .. } | Kind::Existing | Kind::Dummy | Kind::Vlan { .. } => None,
        Kind::Macvlan { .. } | Kind::Vxlan(_) => None,
        Kind::Vrf { .. } => Some("a VRF device carries packets, not Ethernet frames"),
        Kind::Bridge if port.value == bridge.interface => Some("a bridge cannot be a port of itself"),
        Kind::Bridge => Some("a bridge cannot be a port of another one"),
        Kind::WireGuard(_) => Some("a WireGuard interface carries packets, not Ethernet frames"),
        Kind::Loopback => Some("a loopback cannot be a port"),
    };
    if let Some(reason) = refused {
        let message = format!("`{}` cannot be a port of a bridge", port.value);
        report.push(
            Diagnostic::error(port.place, message).label(reason).help("join bridges and domains with a link"),
        );
        return false;
    }
    interface.controller = Some(bridge.interface.clone());
    true
}

fn no_port<'a>(
    port: &Placed<InterfaceName>,
    domain: &str,
    known: impl Iterator<Item = &'a str>,
) -> Diagnostic {
    let message = format!("no interface `{}` in domain {domain}", port.value);
    let diagnostic = Diagnostic::error(port.place, message).label("a port of the bridge");
    match nearest(port.value.as_str(), known) {
        Some(near) => diagnostic.help(format!("write `{near}`")),
        None => diagnostic.help(format!("add `{}` to its `interfaces:`, or name it in `links:`", port.value)),
    }
}
