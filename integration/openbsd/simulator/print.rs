//! What the tools print. Interfaces and rdomains are printed by the program's own views of them, so that what
//! reads OpenBSD's output reads them too.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;
use rdomain::model::DomainId;
use rdomain::state::Secret;
use rdomain::status::{
    AddressView, Counters, Detail, InterfaceFlag, InterfaceView, PeerView, Protocol, RdomainView,
    SocketTable, SocketView, TunnelView, render_interfaces, render_rdomains,
};

use super::{Interface, Route, Simulator, Tunnel, driver};

pub(super) fn interface(found: &Interface, whole: bool) -> String {
    let detail = if whole { Detail::Whole } else { Detail::Brief };
    let mut text = render_interfaces(&[view(found)], detail);
    if found.is_loopback() {
        // IFXF_LRO is set on each of them (26).
        text = text.replacen("flags=", "flags=200", 1).replacen('>', ",LRO>", 1);
    }
    if let Some(tunnel) = &found.tunnel {
        text = newest_first(&text, tunnel);
    }
    match text.find("\tgroups:").filter(|_| driver(&found.name) == "vlan") {
        Some(at) => format!("{}{}{}", &text[..at], encapsulation(found), &text[at..]),
        None => text,
    }
}

/// Peers' addresses as they are kept, where our own view sorts them (45).
fn newest_first(text: &str, tunnel: &Tunnel) -> String {
    let mut kept = tunnel.peers.iter().flat_map(|peer| &peer.allowed_ips);
    let lines = text.split_inclusive('\n').map(|line| match line.starts_with("\t\twgaip ") {
        true => format!("\t\twgaip {}\n", kept.next().expect("as many as were printed")),
        false => line.to_owned(),
    });
    lines.collect()
}

/// What a vlan(4) is on (`getencap` of sbin/ifconfig/ifconfig.c).
fn encapsulation(found: &Interface) -> String {
    let vnetid = found.vnetid.map_or("none".to_owned(), |number| number.to_string());
    let parent = found.parent.as_deref().unwrap_or("none");
    format!("\tencap: vnetid {vnetid} parent {parent} txprio packet rxprio outer\n")
}

fn view(found: &Interface) -> InterfaceView {
    let kind = match driver(&found.name) {
        "lo" => "loopback",
        "wg" => "wireguard",
        "pair" => "veth",
        _ => "ethernet",
    };
    let ethernet = matches!(kind, "veth" | "ethernet");
    let mut addresses: Vec<AddressView> = found.addresses.iter().map(|&own| address(found, own)).collect();
    if found.up && kind != "wireguard" {
        let link_local = IpNetwork::new(IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1)), 64);
        addresses.push(address(found, link_local.expect("64 bits are in range")));
    }
    InterfaceView {
        domain: found.rdomain.into(),
        domain_name: String::new(),
        name: found.name.clone(),
        kind: kind.to_owned(),
        flags: flags(found, kind),
        mtu: found.mtu,
        index: found.index,
        lladdr: ethernet.then(|| format!("fe:e1:ba:d0:00:{:02x}", found.index)),
        description: Some(found.description.clone()).filter(|text| !text.is_empty()),
        patch: found.patch.clone(),
        tunnel: found.tunnel.as_ref().map(tunnel),
        groups: if driver(&found.name) == "em" { vec![] } else { vec![driver(&found.name).to_owned()] },
        addresses,
        counters: Counters::default(),
    }
}

fn flags(found: &Interface, kind: &str) -> BTreeSet<InterfaceFlag> {
    let own: &[InterfaceFlag] = match kind {
        "loopback" => &[InterfaceFlag::Loopback],
        "wireguard" => &[InterfaceFlag::Broadcast, InterfaceFlag::NoArp],
        _ => &[InterfaceFlag::Broadcast, InterfaceFlag::Simplex],
    };
    let up: &[InterfaceFlag] = if found.up { &[InterfaceFlag::Up, InterfaceFlag::Running] } else { &[] };
    own.iter().chain(up).copied().chain([InterfaceFlag::Multicast]).collect()
}

fn address(found: &Interface, own: IpNetwork) -> AddressView {
    let broadcast = match own {
        IpNetwork::V4(v4) if v4.prefix() < 31 && !found.is_loopback() => Some(v4.broadcast()),
        IpNetwork::V4(_) | IpNetwork::V6(_) => None,
    };
    AddressView { address: own, destination: None, broadcast, states: Vec::new() }
}

fn tunnel(found: &Tunnel) -> TunnelView {
    let peers = found.peers.iter().map(|peer| PeerView {
        name: Some(peer.description.clone()).filter(|text| !text.is_empty()),
        has_preshared_key: peer.preshared.is_some(),
        persistent_keepalive_secs: peer.keepalive_secs,
        endpoint: peer.endpoint,
        allowed_ips: peer.allowed_ips.clone(),
        ..PeerView::new(peer.public())
    });
    TunnelView {
        underlay: found.rtable.into(),
        listen_port: found.port,
        public_key: found.key.map(|key| Secret::new(key).public_key()),
        peers: peers.collect(),
        ..TunnelView::default()
    }
}

pub(super) fn rdomains(machine: &Simulator) -> String {
    let numbers: BTreeSet<u8> = machine.interfaces.iter().map(|found| found.rdomain).collect();
    let views: Vec<RdomainView> = numbers.into_iter().map(|number| rdomain(machine, number)).collect();
    render_rdomains(&views)
}

fn rdomain(machine: &Simulator, number: u8) -> RdomainView {
    let inside = machine.interfaces.iter().filter(|found| found.rdomain == number);
    let names = inside.map(|found| found.name.clone()).collect();
    let tables = machine.rtables.iter().filter(|(_, table)| table.rdomain == number);
    let tables = tables.map(|(&id, _)| u32::from(id)).collect();
    RdomainView::new(DomainId::new(number.into()).expect("below 253 here"), String::new(), names, &tables)
}

/// Both sockets of each tunnel that is up with this rtable.
pub(super) fn sockets(machine: &Simulator, id: u8) -> String {
    let tunnels =
        machine.interfaces.iter().filter(|found| found.up).filter_map(|found| found.tunnel.as_ref());
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let of = |tunnel: &Tunnel| any.map(|ip| SocketAddr::new(ip, tunnel.port));
    let ours = tunnels.filter(|tunnel| tunnel.rtable == id && tunnel.port != 0).flat_map(of);
    let views = ours.map(|local| SocketView {
        protocol: Protocol::Udp,
        local,
        dev: None,
        receive_queue: 0,
        send_queue: 0,
    });
    SocketTable::new(DomainId::new(id.into()).expect("below 253 here"), views.collect()).to_string()
}

/// One line of a table.
struct Row {
    to: IpNetwork,
    gateway: String,
    flags: String,
    priority: u8,
    interface: String,
    label: String,
}

/// Connected, local and broadcast routes are in the rtable of the rdomain's own number, and in no other (54).
pub(super) fn routes(machine: &Simulator, id: u8, verbose: bool) -> String {
    let mut rows: Vec<Row> = machine.rtables[&id].routes.iter().map(row).collect();
    for found in machine.interfaces.iter().filter(|found| found.rdomain == id) {
        rows.extend(found.addresses.iter().flat_map(|&own| kernel_rows(found, own)));
    }
    rows.sort_by_key(|row| (row.to.ip(), row.to.prefix(), row.priority));
    let mut text = "Routing tables\n".to_owned();
    for (title, width, v6) in [("Internet", [18, 18], false), ("Internet6", [43, 39], true)] {
        let mut family = rows.iter().filter(|row| row.to.is_ipv6() == v6).peekable();
        if family.peek().is_none() {
            continue;
        }
        let [to, gateway] = width;
        let label = if verbose { " Label" } else { "" };
        let _ = write!(text, "\n{title}:\n{:to$} {:gateway$} {:6.6} ", "Destination", "Gateway", "Flags");
        let _ = writeln!(text, "{:>5.5} {:>8.8} {:>5.5}  {:>4.4} Iface{label}", "Refs", "Use", "Mtu", "Prio");
        for row in family {
            let label = if verbose { format!(" {}", row.label) } else { String::new() };
            let _ = write!(text, "{:to$} {:gateway$} {:6.6} ", destination(row.to), row.gateway, row.flags);
            let _ = write!(text, "{:5} {:8} {:>5}   {:2} {:5.16}", 0, 0, "-", row.priority, row.interface);
            text += label.trim_end();
            text.push('\n');
        }
    }
    text
}

fn row(route: &Route) -> Row {
    let label = route.label.clone().unwrap_or_default();
    Row {
        to: route.to,
        gateway: route.gateway.to_string(),
        flags: route.flags.clone(),
        priority: route.priority,
        interface: route.interface.clone(),
        label,
    }
}

fn kernel_rows(found: &Interface, own: IpNetwork) -> Vec<Row> {
    let row = |to: IpNetwork, gateway: String, flags: &str, priority| {
        let flags = flags.to_owned();
        Row { to, gateway, flags, priority, interface: found.name.clone(), label: String::new() }
    };
    let width = if own.is_ipv4() { 32 } else { 128 };
    let mut rows = vec![row(own.ip().into(), found.name.clone(), "UHLl", 1)];
    if own.prefix() < width {
        let network = IpNetwork::new(own.network(), own.prefix()).expect("a length of its own");
        rows.push(row(network, own.ip().to_string(), "UCn", 4));
    }
    if let Some(broadcast) = address(found, own).broadcast {
        rows.push(row(IpAddr::from(broadcast).into(), own.ip().to_string(), "UHb", 1));
    }
    rows
}

/// Of IPv4 only the bytes that the mask reaches are printed.
fn destination(to: IpNetwork) -> String {
    match (to.ip(), to.prefix()) {
        (IpAddr::V4(_) | IpAddr::V6(_), 0) => "default".to_owned(),
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => to.ip().to_string(),
        (IpAddr::V4(v4), length) => format!("{}/{length}", first_bytes(v4, length)),
        (IpAddr::V6(_), _) => to.to_string(),
    }
}

fn first_bytes(v4: Ipv4Addr, length: u8) -> String {
    let shown = usize::from(length.div_ceil(8));
    let bytes: Vec<String> = v4.octets()[..shown].iter().map(u8::to_string).collect();
    bytes.join(".")
}
