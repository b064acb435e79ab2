//! `rdom status`: a network at a glance: its domains, their interfaces, and where each tunnel's packets go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::facts::Counters;
use super::interface::{InterfaceFlag, InterfaceView};
use super::service::ServiceView;
use super::socket::{Protocol, SocketTable};
use super::text;
use super::tunnel::{Health, PeerView};
use crate::model::{DomainId, End, Engine, Interface, InterfaceName, Kind, Network, PublicKey};

/// A network as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// Its name.
    pub network: String,
    /// The process that keeps it; nothing if that is gone.
    pub supervisor: Option<u32>,
    /// What is not as it was asked for, one sentence each; nobody knows it without a supervisor.
    pub differs: Vec<String>,
    /// What links do to packets that the file does not say, one sentence each.
    #[serde(default)]
    pub impaired: Vec<String>,
    /// How long what was applied last may be confirmed before it goes back by itself; nothing if it stays.
    #[serde(default)]
    pub goes_back_in_secs: Option<u64>,
    /// What its supervisor has done since that started; nobody knows it without one.
    #[serde(default)]
    pub history: Option<HistoryView>,
    /// Its domains, by number.
    pub domains: Vec<DomainStatus>,
    /// The programs that are kept running in them, by name.
    #[serde(default)]
    pub services: Vec<ServiceView>,
    /// Why tunnels have the engine that they have.
    pub engine_reason: String,
}

/// What a supervisor has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryView {
    /// How often it became what a file says.
    pub applies: u64,
    /// How often it was to, and nothing was changed.
    pub applies_refused: u64,
    /// What came of the last time.
    pub last_apply: Option<HappeningView>,
    /// How many differences it found that nobody had asked for.
    pub drifts: u64,
    /// The last of them, and what became of it.
    pub last_drift: Option<HappeningView>,
    /// When it last compared the kernel with the file.
    pub last_sync_secs_ago: Option<u64>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HappeningView {
    /// When.
    pub secs_ago: u64,
    /// What, in words.
    pub what: String,
}

/// A domain as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainStatus {
    /// Its number.
    pub domain: u32,
    /// Its name.
    pub name: String,
    /// What keeps it apart: `netns+vrf`, `netns` or `vrf`, on OpenBSD `rdomain`; nothing for the default domain.
    pub isolation: Option<String>,
    /// Its interfaces, in the kernel's order.
    pub interfaces: Vec<InterfaceStatus>,
}

/// An interface as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Whether it is up, and if so whether it can carry packets: `down`, `no carrier`, `up`.
    pub state: String,
    /// Its addresses, each with the length of its network.
    pub addresses: Vec<String>,
    /// What it carried.
    pub counters: Counters,
    /// The tunnel that it is.
    pub tunnel: Option<TunnelStatus>,
}

/// A tunnel as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TunnelStatus {
    /// What runs it: `kernel` or `userspace`.
    pub engine: String,
    /// The number of the domain whose sockets carry its encrypted packets, as it should be.
    pub underlay: u32,
    /// Its own public key, if it has a key.
    #[serde(with = "text::option")]
    #[schemars(with = "Option<String>")]
    pub public_key: Option<PublicKey>,
    /// Its UDP port.
    pub listen_port: u16,
    /// The numbers of the domains in which a UDP socket of this port is, as it is.
    pub sockets_in: Vec<u32>,
    /// The mark of its encrypted packets; 0 is none.
    pub fwmark: u32,
    /// What its engine does without, although it would use it: `tun-tcp`, `tun-udp`, `udp-send`, `udp-receive`. Only a
    /// userspace engine that is ours tells it, and nobody knows it without a supervisor.
    #[serde(default)]
    pub offloads_off: Vec<String>,
    /// Its peers.
    pub peers: Vec<PeerStatus>,
}

/// A peer as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerStatus {
    /// What its engine knows of it.
    #[serde(flatten)]
    pub view: PeerView,
    /// Whether it answers.
    pub health: Health,
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
        Self {
            network: observed.name.to_string(),
            supervisor: None,
            differs: Vec::new(),
            impaired: Vec::new(),
            goes_back_in_secs: None,
            history: None,
            domains: domains.collect(),
            services: Vec::new(),
            engine_reason,
        }
    }

    /// The same, seen by the process that keeps the network, with what is not as it was asked for and what has been done.
    pub fn kept_by(self, pid: u32, differs: Vec<String>, history: HistoryView) -> Self {
        Self { supervisor: Some(pid), differs, history: Some(history), ..self }
    }

    /// The same, in whose domains these services run.
    pub fn running(self, services: Vec<ServiceView>) -> Self {
        Self { services, ..self }
    }

    /// The same, of which what was applied last goes back by itself after so many seconds.
    pub fn going_back_in(self, goes_back_in_secs: Option<u64>) -> Self {
        Self { goes_back_in_secs, ..self }
    }

    /// The same, with what links do to packets by `rdom impair`.
    pub fn impaired(self, impaired: Vec<String>) -> Self {
        Self { impaired, ..self }
    }

    /// The same, of whose tunnels this tells the offloads that their userspace engines do without.
    pub fn without(mut self, mut offloads_off: impl FnMut(End) -> Vec<String>) -> Self {
        for domain in &mut self.domains {
            for interface in &mut domain.interfaces {
                let at = end(domain.domain, &interface.name);
                let tunnel = interface.tunnel.as_mut();
                if let Some(tunnel) = tunnel.filter(|it| it.engine == Engine::Userspace.to_string()) {
                    tunnel.offloads_off = at.map(&mut offloads_off).unwrap_or_default();
                }
            }
        }
        self
    }

    /// The same without what changes while nothing happens.
    pub fn without_ages_and_counters(&self) -> Self {
        let mut view = self.clone();
        view.goes_back_in_secs = view.goes_back_in_secs.map(|_| 0);
        if let Some(history) = &mut view.history {
            history.last_sync_secs_ago = None;
            let lasts = [&mut history.last_apply, &mut history.last_drift];
            lasts.into_iter().flatten().for_each(|last| last.secs_ago = 0);
        }
        for interface in view.domains.iter_mut().flat_map(|domain| &mut domain.interfaces) {
            interface.counters = Counters::default();
            for peer in interface.tunnel.iter_mut().flat_map(|tunnel| &mut tunnel.peers) {
                let peer = &mut peer.view;
                (peer.rx_bytes, peer.tx_bytes, peer.last_handshake_secs_ago) = (0, 0, None);
            }
        }
        view
    }

    /// Whether all is as it was asked for, and somebody keeps it so.
    pub fn is_as_asked(&self) -> bool {
        self.supervisor.is_some() && self.differs.is_empty()
    }

    /// Its tunnels, with their domains.
    pub fn tunnels(&self) -> impl Iterator<Item = (&DomainStatus, &InterfaceStatus, &TunnelStatus)> {
        self.domains.iter().flat_map(|domain| {
            let tunnels = domain.interfaces.iter();
            tunnels.filter_map(move |interface| Some((domain, interface, interface.tunnel.as_ref()?)))
        })
    }
}

impl PeerStatus {
    fn of(view: PeerView) -> Self {
        Self { health: view.health(), view }
    }
}

impl TunnelStatus {
    /// Whether a socket of its port is where it belongs.
    pub fn has_socket_in_underlay(&self) -> bool {
        self.sockets_in.contains(&self.underlay)
    }
}

fn end(domain: u32, interface: &str) -> Option<End> {
    Some(End { domain: DomainId::new(domain).ok()?, interface: InterfaceName::new(interface).ok()? })
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
        public_key: tunnel.public_key,
        fwmark: tunnel.fwmark,
        offloads_off: Vec::new(),
        peers: tunnel.peers.iter().cloned().map(PeerStatus::of).collect(),
    });
    InterfaceStatus {
        name: view.name.clone(),
        kind: view.kind.clone(),
        state: state.to_owned(),
        addresses: view.addresses.iter().map(|own| own.address.to_string()).collect(),
        counters: view.counters,
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

#[cfg(test)]
pub(super) mod tests {
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

    pub(in crate::status) fn reason() -> &'static str {
        "userspace, for this kernel has no WireGuard driver"
    }

    /// The manual page's first domain, with a peer that answers and a strange one that does not.
    pub(in crate::status) fn glanced() -> StatusView {
        StatusView::new(&network(), &interfaces(), &sockets(), reason().to_owned())
    }

    #[test]
    fn a_tunnel_says_where_its_socket_is_and_how_its_peers_are() {
        let view = glanced();
        let (domain, interface, tunnel) = view.tunnels().next().unwrap();
        assert_eq!((domain.domain, interface.name.as_str()), (1, "wg1"));
        assert!(tunnel.has_socket_in_underlay());
        let health: Vec<_> = tunnel.peers.iter().map(|peer| peer.health).collect();
        assert_eq!(health, [Health::Up, Health::Never]);
        let json = serde_json::to_value(tunnel).unwrap();
        assert_eq!((&json["peers"][0]["name"], &json["peers"][0]["health"]), (&"wg2".into(), &"up".into()));
        let again: StatusView = serde_json::from_str(&serde_json::to_string(&view).unwrap()).unwrap();
        assert_eq!(again, view);
    }

    #[test]
    fn time_and_packets_alone_are_no_change() {
        let (first, mut later) = (glanced(), glanced());
        let interface = later.domains[1].interfaces.last_mut().unwrap();
        interface.counters.rx_bytes += 1;
        let peer = &mut interface.tunnel.as_mut().unwrap().peers[0];
        peer.view.last_handshake_secs_ago = Some(100);
        assert_ne!(first, later);
        assert_eq!(first.without_ages_and_counters(), later.without_ages_and_counters());
        later.domains[1].interfaces.last_mut().unwrap().tunnel.as_mut().unwrap().peers[0].health =
            Health::Stale;
        assert_ne!(first.without_ages_and_counters(), later.without_ages_and_counters());
    }

    #[test]
    fn a_handshake_is_stale_once_its_session_is_rejected() {
        let health =
            |secs| PeerView { last_handshake_secs_ago: secs, ..PeerView::new(PublicKey([1; 32])) }.health();
        assert_eq!([Some(180), Some(181), None].map(health), [Health::Up, Health::Stale, Health::Never]);
    }
}
