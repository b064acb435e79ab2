//! A network in an OpenBSD kernel at a glance: the document that Linux has, of what the tools print. They tell no
//! bytes and packets of interfaces: those are zero.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;

use super::Console;
use super::observe::{Captured, printed};
use crate::backend::BackendError;
use crate::convert::openbsd::listing::{self, Listed, ListedPeer};
use crate::model::{DomainId, InterfaceName, Network};
use crate::status::{
    AddressView, Counters, InterfaceFlag, InterfaceView, PeerView, Protocol, SocketTable, SocketView,
    StatusView, TunnelView,
};

/// What `netstat -ln -T N` prints, by N: of each domain of a network and of each that carries a tunnel of it.
pub fn sockets(
    console: &mut impl Console,
    observed: &Network,
) -> Result<BTreeMap<DomainId, String>, BackendError> {
    let underlays = observed.tunnels().map(|(_, tunnel)| tunnel.underlay);
    let rtables: BTreeSet<DomainId> = observed.domains.keys().copied().chain(underlays).collect();
    let mut show = |rtable: DomainId| -> Result<_, BackendError> {
        let words = ["netstat".to_owned(), "-ln".to_owned(), format!("-T{rtable}")];
        let output = console.run(&words)?;
        Ok((rtable, printed(&words, output)?))
    };
    rtables.into_iter().map(&mut show).collect()
}

/// A network as it is.
pub fn status(
    observed: &Network,
    captured: &Captured,
    sockets: &BTreeMap<DomainId, String>,
) -> Result<StatusView, BackendError> {
    let listed = listing::read(&captured.ifconfig)
        .map_err(|error| BackendError::new(format!("ifconfig -A: {error}")))?;
    let views: Vec<InterfaceView> = listed.iter().filter_map(|listed| interface(observed, listed)).collect();
    let tables = sockets.iter().map(|(&rtable, text)| SocketTable::new(rtable, bound_to(text)));
    let tables: Vec<SocketTable> = tables.collect();
    let mut view = StatusView::new(observed, &views, &tables, "wg(4) is OpenBSD's kernel's".to_owned());
    for domain in &mut view.domains {
        domain.isolation = domain.isolation.take().map(|_| "rdomain".to_owned());
    }
    Ok(view)
}

fn interface(observed: &Network, listed: &Listed) -> Option<InterfaceView> {
    let id = DomainId::new(listed.rdomain.into()).ok()?;
    let domain = observed.domains.get(&id)?;
    let own_lo = !id.is_default() && listed.name == format!("lo{id}");
    let name = if own_lo { InterfaceName::loopback() } else { InterfaceName::new(&listed.name).ok()? };
    let held = domain.interfaces.get(&name);
    Some(InterfaceView {
        domain: id.number(),
        domain_name: domain.name.to_string(),
        name: name.to_string(),
        kind: held.map_or("ethernet", |held| held.kind.word()).to_owned(),
        flags: InterfaceFlag::of_words(&listed.flags),
        mtu: listed.mtu,
        index: listed.index,
        lladdr: None,
        description: Some(listed.description.clone()).filter(|text| !text.is_empty()),
        patch: None,
        tunnel: listed.name.starts_with("wg").then(|| tunnel(listed)),
        groups: Vec::new(),
        addresses: listed.addresses.iter().map(|&own| address(own)).collect(),
        counters: Counters::default(),
    })
}

fn address(address: IpNetwork) -> AddressView {
    AddressView { address, destination: None, broadcast: None, states: Vec::new() }
}

fn tunnel(listed: &Listed) -> TunnelView {
    TunnelView {
        underlay: listed.wgrtable.into(),
        listen_port: listed.wgport,
        public_key: listed.wgpubkey,
        fwmark: 0,
        peers: listed.peers.iter().map(peer).collect(),
    }
}

fn peer(listed: &ListedPeer) -> PeerView {
    PeerView {
        name: listed.description.clone(),
        has_preshared_key: listed.preshared,
        persistent_keepalive_secs: listed.keepalive_secs,
        endpoint: listed.endpoint,
        tx_bytes: listed.tx_bytes,
        rx_bytes: listed.rx_bytes,
        last_handshake_secs_ago: listed.last_handshake_secs_ago,
        allowed_ips: listed.allowed_ips.clone(),
        ..PeerView::new(listed.key)
    }
}

/// `udp 0 0 *.7111 *.*`: UDP sockets of every address, which is what a tunnel has.
fn bound_to(text: &str) -> Vec<SocketView> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [protocol @ ("udp" | "udp6"), _, _, local, ..] = words.as_slice() else { return None };
        let any: IpAddr =
            if *protocol == "udp" { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let local = SocketAddr::new(any, local.strip_prefix("*.")?.parse().ok()?);
        Some(SocketView { protocol: Protocol::Udp, local, dev: None, receive_queue: 0, send_queue: 0 })
    };
    text.lines().filter_map(row).collect()
}
