//! `rdom status`: a network at a glance: its domains, their interfaces, and where each tunnel's packets go.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::interface::{InterfaceFlag, InterfaceView};
use super::socket::{Protocol, SocketTable};
use super::tunnel::PeerView;
use crate::model::{DomainId, Engine, Interface, InterfaceName, Kind, Network};

/// A network as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    /// Its name.
    pub network: String,
    /// Its domains, by number.
    pub domains: Vec<DomainStatus>,
    /// Why tunnels have the engine that they have.
    pub engine_reason: String,
}

/// A domain as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainStatus {
    /// Its number.
    pub domain: u32,
    /// Its name.
    pub name: String,
    /// What keeps it apart: `netns+vrf`, `netns` or `vrf`; nothing for the default domain.
    pub isolation: Option<String>,
    /// Its interfaces, in the kernel's order.
    pub interfaces: Vec<InterfaceStatus>,
}

/// An interface as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Whether it is up, and if so whether it can carry packets: `down`, `no carrier`, `up`.
    pub state: String,
    /// Its addresses, each with the length of its network.
    pub addresses: Vec<String>,
    /// The tunnel that it is.
    pub tunnel: Option<TunnelStatus>,
}

/// A tunnel as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// What runs it: `kernel` or `userspace`.
    pub engine: String,
    /// The number of the domain whose sockets carry its encrypted packets, as it should be.
    pub underlay: u32,
    /// Its UDP port.
    pub listen_port: u16,
    /// The numbers of the domains in which a UDP socket of this port is, as it is.
    pub sockets_in: Vec<u32>,
    /// Its peers.
    pub peers: Vec<PeerView>,
}

impl StatusView {
    /// What an observed network and the views of its domains say together.
    ///
    /// Interfaces must be annotated with the desired network before, for the names of peers.
    pub fn new(
        observed: &Network,
        interfaces: &[InterfaceView],
        sockets: &[SocketTable],
        engine_reason: String,
    ) -> Self {
        let domains = observed.domains.iter().map(|(&id, domain)| DomainStatus {
            domain: id.number(),
            name: domain.name.to_string(),
            isolation: (!id.is_default()).then(|| domain.isolation.to_string()),
            interfaces: interfaces
                .iter()
                .filter(|view| view.domain == id.number() && is_shown(observed, id, view))
                .map(|view| interface_status(observed, id, view, sockets))
                .collect(),
        });
        Self { network: observed.name.to_string(), domains: domains.collect(), engine_reason }
    }
}

/// Of the default domain only what belongs to the network.
fn is_shown(observed: &Network, id: DomainId, view: &InterfaceView) -> bool {
    let ours = |held: &Interface| held.kind != Kind::Existing || !held.addresses.is_empty();
    !id.is_default() || of_network(observed, id, &view.name).is_some_and(ours)
}

fn of_network<'a>(observed: &'a Network, id: DomainId, name: &str) -> Option<&'a Interface> {
    observed.domains.get(&id)?.interfaces.get(&InterfaceName::new(name).ok()?)
}

fn interface_status(
    observed: &Network,
    id: DomainId,
    view: &InterfaceView,
    sockets: &[SocketTable],
) -> InterfaceStatus {
    let state = match (view.flags.contains(&InterfaceFlag::Up), view.flags.contains(&InterfaceFlag::Running))
    {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    };
    let model = of_network(observed, id, &view.name).and_then(|interface| interface.wireguard());
    let tunnel = view.tunnel.as_ref().map(|tunnel| TunnelStatus {
        engine: model.map_or(Engine::Auto, |model| model.engine).to_string(),
        underlay: tunnel.underlay,
        listen_port: tunnel.listen_port,
        sockets_in: sockets_in(tunnel.listen_port, sockets),
        peers: tunnel.peers.clone(),
    });
    InterfaceStatus {
        name: view.name.clone(),
        kind: view.kind.clone(),
        state: state.to_owned(),
        addresses: view.addresses.iter().map(|own| own.address.to_string()).collect(),
        tunnel,
    }
}

fn sockets_in(port: u16, tables: &[SocketTable]) -> Vec<u32> {
    let has_it = |table: &&SocketTable| {
        port != 0
            && table
                .sockets
                .iter()
                .any(|socket| socket.protocol == Protocol::Udp && socket.local.port() == port)
    };
    tables.iter().filter(has_it).map(|table| table.domain).collect()
}

impl fmt::Display for StatusView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network {}\n", self.network)?;
        write_table(f, &self.interface_lines())?;
        let tunnels = self.tunnel_lines();
        if tunnels.len() == 1 {
            return Ok(());
        }
        writeln!(f)?;
        write_table(f, &tunnels)?;
        writeln!(f, "\nengine: {}", self.engine_reason)
    }
}

impl StatusView {
    fn interface_lines(&self) -> Vec<Vec<String>> {
        let mut lines =
            vec![heading(&["DOMAIN", "NAME", "ISOLATION", "INTERFACE", "KIND", "STATE", "ADDRESSES"])];
        for domain in &self.domains {
            let isolation = domain.isolation.clone().unwrap_or_else(|| "-".to_owned());
            let mut first = vec![domain.domain.to_string(), domain.name.clone(), isolation];
            if domain.interfaces.is_empty() {
                lines.push(first.clone());
            }
            for interface in &domain.interfaces {
                let mut line = std::mem::replace(&mut first, vec![String::new(); 3]);
                line.extend([interface.name.clone(), interface.kind.clone(), interface.state.clone()]);
                line.push(interface.addresses.join(" "));
                lines.push(line);
            }
        }
        lines
    }

    fn tunnel_lines(&self) -> Vec<Vec<String>> {
        let columns = ["TUNNEL", "ENGINE", "UNDERLAY", "PORT", "SOCKETS IN", "PEER", "ENDPOINT", "HANDSHAKE"];
        let mut lines = vec![heading(&columns)];
        lines[0].extend(["RECEIVED".to_owned(), "SENT".to_owned()]);
        for domain in &self.domains {
            for interface in &domain.interfaces {
                let Some(tunnel) = &interface.tunnel else { continue };
                lines.extend(peer_lines(&format!("{}/{}", domain.domain, interface.name), tunnel));
            }
        }
        lines
    }
}

fn heading(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| column.to_string()).collect()
}

/// A line for each peer, the tunnel's own columns on the first.
fn peer_lines(at: &str, tunnel: &TunnelStatus) -> Vec<Vec<String>> {
    let places: Vec<_> = tunnel.sockets_in.iter().map(|domain| format!("domain {domain}")).collect();
    let places = if places.is_empty() { "nowhere".to_owned() } else { places.join(", ") };
    let underlay = format!("domain {}", tunnel.underlay);
    let own = vec![at.to_owned(), tunnel.engine.clone(), underlay, tunnel.listen_port.to_string(), places];
    let mut lines: Vec<Vec<String>> = tunnel.peers.iter().map(peer_columns).collect();
    if lines.is_empty() {
        lines.push(vec!["none".to_owned()]);
    }
    for (number, line) in lines.iter_mut().enumerate() {
        let left = if number == 0 { own.clone() } else { vec![String::new(); own.len()] };
        line.splice(0..0, left);
    }
    lines
}

fn peer_columns(peer: &PeerView) -> Vec<String> {
    let key = peer.public_key.to_string();
    vec![
        peer.name.clone().unwrap_or(key),
        peer.endpoint.map_or_else(|| "unknown".to_owned(), |endpoint| endpoint.to_string()),
        peer.last_handshake_secs_ago.map_or_else(|| "never".to_owned(), |secs| format!("{secs} s ago")),
        bytes(peer.rx_bytes),
        bytes(peer.tx_bytes),
    ]
}

/// A number of bytes in the units of wg(8).
fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let exponent = (count.max(1).ilog2() / 10).min(4);
    match exponent {
        0 => format!("{count} B"),
        _ => {
            let value = count as f64 / (1_u64 << (10 * exponent)) as f64;
            format!("{value:.2} {}", units[exponent as usize - 1])
        }
    }
}

/// Columns as wide as their widest cell, two spaces apart, no trailing space.
fn write_table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        writeln!(f, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::*;
    use super::super::socket::SocketView;
    use super::super::tunnel::TunnelView;
    use super::*;
    use crate::model::{Domain, DomainName, Interface, Key, Kind, NetworkName, PublicKey, WireGuard};

    fn network() -> Network {
        let mut network = Network::empty(NetworkName::new("domains").unwrap());
        let wireguard = WireGuard {
            engine: Engine::Userspace,
            underlay: DomainId::DEFAULT,
            listen_port: Some(7111),
            key: Key::Public(PublicKey([1; 32])),
            peers: Default::default(),
        };
        let mut one = Domain::bare(domain(1));
        let name = InterfaceName::new("wg1").unwrap();
        one.interfaces.insert(name, Interface::new(Kind::WireGuard(wireguard)));
        network.domains.insert(domain(1), one);
        network
    }

    fn interfaces() -> Vec<InterfaceView> {
        let peer = PeerView {
            name: Some("wg2".into()),
            endpoint: "127.0.0.1:7222".parse().ok(),
            last_handshake_secs_ago: Some(3),
            rx_bytes: 380,
            tx_bytes: 3 * 1024 * 1024 / 2,
            ..PeerView::new(PublicKey([2; 32]))
        };
        let silent = PeerView::new(PublicKey([3; 32]));
        let tunnel = TunnelView { listen_port: 7111, peers: vec![peer, silent], ..TunnelView::default() };
        let named = |number| DomainName::of_number(domain(number));
        vec![
            InterfaceView::new(domain(0), &named(0), &eth0(), None),
            InterfaceView::new(domain(1), &named(1), &lo(), None),
            InterfaceView::new(domain(1), &named(1), &wg1(), Some(tunnel)),
        ]
    }

    fn sockets() -> Vec<SocketTable> {
        let socket = SocketView {
            protocol: Protocol::Udp,
            local: "0.0.0.0:7111".parse().unwrap(),
            dev: None,
            receive_queue: 0,
            send_queue: 0,
        };
        vec![SocketTable::new(domain(0), vec![socket]), SocketTable::new(domain(1), vec![])]
    }

    #[test]
    fn a_network_at_a_glance() {
        let reason = "userspace, for this kernel has no WireGuard driver".to_owned();
        let status = StatusView::new(&network(), &interfaces(), &sockets(), reason);
        insta::assert_snapshot!(status, @r"
        network domains

        DOMAIN  NAME     ISOLATION  INTERFACE  KIND       STATE  ADDRESSES
        0       default  -
        1       rdom1    netns      lo         loopback   up     127.0.0.1/8 ::1/128
                                    wg1        wireguard  up     192.168.5.1/24

        TUNNEL  ENGINE     UNDERLAY  PORT  SOCKETS IN  PEER                                          ENDPOINT        HANDSHAKE  RECEIVED  SENT
        1/wg1   userspace  domain 0  7111  domain 0    wg2                                           127.0.0.1:7222  3 s ago    380 B     1.50 MiB
                                                       AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=  unknown         never      0 B       0 B

        engine: userspace, for this kernel has no WireGuard driver
        ");
    }

    #[test]
    fn a_network_without_tunnels_has_no_table_of_them() {
        let status = StatusView::new(&network(), &interfaces()[..2], &[], String::new());
        assert!(!status.to_string().contains("TUNNEL"), "{status}");
    }

    #[test]
    fn units_are_those_of_wg() {
        let texts = [0, 1023, 1024, 1 << 20, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.00 KiB", "1.00 MiB", "16777216.00 TiB"]);
    }
}
