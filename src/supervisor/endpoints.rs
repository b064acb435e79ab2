//! When to look up the names of endpoints, and which address a peer is pointed at. Pure: what is seen and the time go in,
//! actions come out.
//!
//! A name is looked up once a peer has no endpoint yet, and again when packets go out and no handshake has come about for
//! REJECT_AFTER_TIME (WireGuard's paper, section 6.1), or not at all with the address at hand. Its addresses are tried
//! in turn, in the order of getaddrinfo(3). A peer that is silent because nothing is to be sent is left alone, and so is
//! one that roamed and answers. Waits grow, and a peer's own key spreads them: hosts that lost the same peer at the same
//! time do not ask at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::model::{DomainId, End, Host, Key, Network, PublicKey};
use crate::status::{PeerView, REJECT_AFTER_SECS};

/// How long an address has to lead to a handshake: three initiations, five seconds apart.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How often a peer is looked at to which nothing is to be sent. Its first packet has initiations sent for 90 seconds.
const IDLE_LOOK: Duration = Duration::from_secs(30);
/// The longest wait before the same name is looked up again, less jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many names are looked up at the same time.
const LOOKUPS: usize = 8;

/// A peer of a tunnel.
pub(super) type At = (End, PublicKey);

/// A name, and the domain that it means something in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) underlay: DomainId,
    pub(super) host: String,
}

/// What is wanted of the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// See what the engine has of this peer.
    Look(At),
    /// Look a name up.
    LookUp(Name),
    /// Give the peer this endpoint.
    Point(At, SocketAddr),
    /// Say that this peer waits, for the name does not resolve.
    Waits(At, String),
}

/// The peers of a network whose endpoints are names.
#[derive(Debug)]
pub(super) struct Endpoints {
    peers: BTreeMap<At, Moving>,
    asked: BTreeSet<Name>,
}

/// A peer whose endpoint is a name.
#[derive(Debug)]
struct Moving {
    name: Name,
    port: u16,
    due: Instant,
    next: Next,
    /// The addresses that have not been tried since the name was looked up.
    untried: Vec<IpAddr>,
    /// How often in a row a lookup has led to no handshake.
    failures: u32,
    /// What had been sent to it when it was last seen without a session.
    tx_bytes: Option<u64>,
    told: bool,
}

/// What happens to a peer once it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Look,
    LookUp,
}

impl Endpoints {
    /// Those of a network that is up: a peer that has an endpoint already keeps it for as long as that leads anywhere.
    pub(super) fn of(network: &Network, now: Instant) -> Self {
        let peer = |(at, name, port)| (at, Moving::new(name, port, Next::Look, now));
        Self { peers: named(network).map(peer).collect(), asked: BTreeSet::new() }
    }

    /// The network is this from now on. A name that is another one than before is looked up at once.
    pub(super) fn follow(&mut self, network: &Network, now: Instant) {
        let mut before = std::mem::take(&mut self.peers);
        for (at, name, port) in named(network) {
            let known = before.remove(&at).filter(|known| (&known.name, known.port) == (&name, port));
            let peer = known.unwrap_or_else(|| Moving::new(name, port, Next::LookUp, now));
            self.peers.insert(at, peer);
        }
    }

    /// This peer has been set: its engine may know no endpoint of it.
    pub(super) fn stir(&mut self, at: &At, now: Instant) {
        if let Some(peer) = self.peers.get_mut(at) {
            peer.due = now;
        }
    }

    /// Whether a name is being looked up.
    pub(super) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// What is due.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (at, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.due <= now) {
            match peer.next {
                Next::Look => actions.push(Action::Look(at.clone())),
                Next::LookUp if self.asked.contains(&peer.name) => {}
                Next::LookUp if self.asked.len() < LOOKUPS => {
                    self.asked.insert(peer.name.clone());
                    actions.push(Action::LookUp(peer.name.clone()));
                }
                Next::LookUp => {}
            }
        }
        actions
    }

    /// The engine has this of a peer.
    pub(super) fn seen(&mut self, at: &At, view: &PeerView, now: Instant) -> Option<Action> {
        let peer = self.peers.get_mut(at)?;
        let before = peer.tx_bytes.replace(view.tx_bytes);
        match (view.last_handshake_secs_ago, before) {
            _ if view.endpoint.is_none() => peer.will_be_looked_up(now),
            (Some(age), _) if age <= REJECT_AFTER_SECS => {
                (peer.failures, peer.told, peer.tx_bytes) = (0, false, None);
                peer.untried.clear();
                peer.will_be_looked_at(now + Duration::from_secs(REJECT_AFTER_SECS + 1 - age));
            }
            (_, Some(before)) if view.tx_bytes > before => return peer.point_at_next(at, view.endpoint, now),
            (_, Some(_)) => peer.will_be_looked_at(now + IDLE_LOOK),
            (_, None) => peer.will_be_looked_at(now + ANSWER_WITHIN),
        }
        None
    }

    /// A peer could not be looked at: its tunnel is gone, or has no engine for the moment.
    pub(super) fn unseen(&mut self, at: &At, now: Instant) {
        if let Some(peer) = self.peers.get_mut(at) {
            peer.due = now + ANSWER_WITHIN;
        }
    }

    /// A name has these addresses, or none for this reason.
    pub(super) fn found(
        &mut self,
        name: &Name,
        addresses: &Result<Vec<IpAddr>, String>,
        now: Instant,
    ) -> Vec<Action> {
        self.asked.remove(name);
        let waiting = |peer: &Moving| peer.name == *name && peer.next == Next::LookUp && peer.due <= now;
        let waiting = self.peers.iter_mut().filter(|(_, peer)| waiting(peer));
        waiting.filter_map(|(at, peer)| peer.take(at, addresses, now)).collect()
    }
}

/// The peers whose endpoints are names.
fn named(network: &Network) -> impl Iterator<Item = (At, Name, u16)> {
    network.tunnels().flat_map(|(end, tunnel)| {
        tunnel.peers.iter().filter_map(move |(key, peer)| {
            let (Key::Public(key), Some(endpoint)) = (key, &peer.endpoint) else { return None };
            let (Host::Name(host), Some(port)) = (&endpoint.host, endpoint.port) else { return None };
            let name = Name { underlay: tunnel.underlay, host: host.clone() };
            Some(((end.clone(), *key), name, port))
        })
    })
}

impl Moving {
    fn new(name: Name, port: u16, next: Next, now: Instant) -> Self {
        let untried = Vec::new();
        Self { name, port, due: now, next, untried, failures: 0, tx_bytes: None, told: false }
    }

    fn will_be_looked_up(&mut self, at: Instant) {
        (self.next, self.due) = (Next::LookUp, at);
    }

    fn will_be_looked_at(&mut self, at: Instant) {
        (self.next, self.due) = (Next::Look, at);
    }

    fn take(&mut self, at: &At, found: &Result<Vec<IpAddr>, String>, now: Instant) -> Option<Action> {
        let pause = self.pause(&at.1);
        self.failures += 1;
        match found {
            Ok(addresses) => {
                self.untried = addresses.iter().rev().copied().collect();
                self.will_be_looked_at(now + pause.max(ANSWER_WITHIN));
                let first = self.untried.pop()?;
                Some(Action::Point(at.clone(), SocketAddr::new(first, self.port)))
            }
            Err(why) => {
                self.will_be_looked_up(now + pause);
                (!std::mem::replace(&mut self.told, true)).then(|| Action::Waits(at.clone(), why.clone()))
            }
        }
    }

    /// The next address that it has not; once there is none, its name is looked up again.
    fn point_at_next(&mut self, at: &At, current: Option<SocketAddr>, now: Instant) -> Option<Action> {
        while let Some(address) = self.untried.pop() {
            let endpoint = SocketAddr::new(address, self.port);
            if current != Some(endpoint) {
                self.will_be_looked_at(now + ANSWER_WITHIN);
                return Some(Action::Point(at.clone(), endpoint));
            }
        }
        self.will_be_looked_up(now);
        None
    }

    /// One second, then two, and so on; up to half as much again by one byte of the peer's key.
    fn pause(&self, PublicKey(key): &PublicKey) -> Duration {
        let plain = Duration::from_secs(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        let byte = key[self.failures as usize % key.len()];
        plain.mul_f64(1.0 + f64::from(byte) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Domain, Endpoint, Engine, Interface, InterfaceName, Kind, NetworkName, Peer, WireGuard,
    };

    const SECOND: Duration = Duration::from_secs(1);
    const A: &str = "192.0.2.1";
    const B: &str = "2001:db8::1";

    /// A network with as many peers of names, the name server that they ask and the engine that they are in.
    struct World {
        endpoints: Endpoints,
        now: Instant,
        begun: Instant,
        answer: Result<Vec<IpAddr>, String>,
        views: BTreeMap<At, PeerView>,
        /// What was done, and after how many seconds.
        log: Vec<(u64, Action)>,
    }

    fn key(number: u8) -> PublicKey {
        PublicKey([number; 32])
    }

    fn peer(host: &str) -> Peer {
        let endpoint = Some(Endpoint { host: Host::Name(host.to_owned()), port: Some(7) });
        let (allowed_ips, preshared_key) = (BTreeSet::new(), None);
        Peer { name: None, endpoint, allowed_ips, preshared_key, persistent_keepalive_secs: 0 }
    }

    fn network(hosts: &[&str]) -> Network {
        let peers = (1..).zip(hosts).map(|(number, host)| (Key::Public(key(number)), peer(host)));
        let kind = Kind::WireGuard(WireGuard {
            engine: Engine::Userspace,
            underlay: DomainId::DEFAULT,
            listen_port: Some(1),
            key: Key::Public(key(0)),
            peers: peers.collect(),
        });
        let id = DomainId::new(1).unwrap();
        let mut domain = Domain::bare(id);
        domain.interfaces.insert(InterfaceName::new("wg1").unwrap(), Interface::new(kind));
        let mut network = Network::empty(NetworkName::new("n").unwrap());
        network.domains.insert(id, domain);
        network
    }

    fn at(number: u8) -> At {
        (
            End { domain: DomainId::new(1).unwrap(), interface: InterfaceName::new("wg1").unwrap() },
            key(number),
        )
    }

    fn addresses(texts: &[&str]) -> Result<Vec<IpAddr>, String> {
        Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn endpoint(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 7)
    }

    impl World {
        fn new(hosts: &[&str], answer: Result<Vec<IpAddr>, String>) -> Self {
            let (now, log) = (Instant::now(), Vec::new());
            let endpoints = Endpoints::of(&network(hosts), now);
            let views =
                (1..).zip(hosts).map(|(number, _)| (at(number), PeerView::new(key(number)))).collect();
            Self { endpoints, now, begun: now, answer, views, log }
        }

        /// As a supervisor does it, once a second; each second `live` says what the engine made of it.
        fn run(&mut self, secs: u64, mut live: impl FnMut(&mut PeerView)) {
            for _ in 0..secs {
                self.views.values_mut().for_each(&mut live);
                let mut actions = self.endpoints.tick(self.now);
                while !actions.is_empty() {
                    let further: Vec<_> =
                        actions.into_iter().flat_map(|action| self.carry_out(action)).collect();
                    actions = [further, self.endpoints.tick(self.now)].concat();
                }
                self.now += SECOND;
            }
        }

        fn carry_out(&mut self, action: Action) -> Vec<Action> {
            self.log.push(((self.now - self.begun).as_secs(), action.clone()));
            match action {
                Action::Look(at) => Vec::from_iter(self.endpoints.seen(&at, &self.views[&at], self.now)),
                Action::LookUp(name) => self.endpoints.found(&name, &self.answer, self.now),
                Action::Point(at, to) => {
                    self.views.get_mut(&at).unwrap().endpoint = Some(to);
                    Vec::new()
                }
                Action::Waits(..) => Vec::new(),
            }
        }

        fn pointed(&self) -> Vec<(u64, SocketAddr)> {
            let point = |(when, action): &(u64, Action)| match action {
                Action::Point(_, to) => Some((*when, *to)),
                Action::Look(_) | Action::LookUp(_) | Action::Waits(..) => None,
            };
            self.log.iter().filter_map(point).collect()
        }

        fn lookups(&self) -> usize {
            self.log.iter().filter(|(_, action)| is_lookup(action)).count()
        }
    }

    fn is_lookup(action: &Action) -> bool {
        matches!(action, Action::LookUp(_))
    }

    /// Somebody sends, and nobody answers.
    fn unanswered(view: &mut PeerView) {
        view.tx_bytes += 148;
        view.last_handshake_secs_ago = view.last_handshake_secs_ago.map(|age| age + 1);
    }

    fn answered(view: &mut PeerView) {
        view.tx_bytes += 148;
        view.last_handshake_secs_ago = Some(view.last_handshake_secs_ago.map_or(0, |age| (age + 1) % 120));
    }

    #[test]
    fn a_peer_that_answers_is_looked_up_once() {
        let mut world = World::new(&["vpn"], addresses(&[A]));
        world.run(3600, answered);
        assert_eq!(world.pointed(), [(0, endpoint(A))]);
        assert_eq!(world.lookups(), 1);
    }

    #[test]
    fn one_that_has_moved_is_found_once_its_session_is_rejected() {
        let mut world = World::new(&["vpn"], addresses(&[A]));
        world.run(300, answered);
        world.views.get_mut(&at(1)).unwrap().last_handshake_secs_ago = Some(0);
        world.answer = addresses(&[B]);
        world.run(170, unanswered);
        assert_eq!(world.pointed().len(), 1, "its session is good yet");
        world.run(40, unanswered);
        let [_, (when, to)] = world.pointed()[..] else { panic!("{:?}", world.log) };
        assert_eq!(to, endpoint(B));
        assert!((300 + 180..300 + 200).contains(&when), "{when}");
    }

    #[test]
    fn its_addresses_are_tried_in_turn() {
        let mut world = World::new(&["vpn"], addresses(&[B, A]));
        world.run(50, unanswered);
        let tried: Vec<_> = world.pointed().into_iter().map(|(_, to)| to).collect();
        assert_eq!(tried[..3], [endpoint(B), endpoint(A), endpoint(B)]);
        let [first, second] = [0, 1].map(|number| world.pointed()[number].0);
        assert_eq!((first, second), (0, 15));
    }

    #[test]
    fn one_to_which_nothing_is_sent_is_left_alone() {
        let mut world = World::new(&["vpn"], addresses(&[A]));
        world.run(300, answered);
        world.answer = addresses(&[B]);
        let silent = |view: &mut PeerView| {
            view.last_handshake_secs_ago = view.last_handshake_secs_ago.map(|age| age + 1)
        };
        world.run(3600, silent);
        assert_eq!(world.pointed().len(), 1);
        world.run(60, unanswered);
        assert_eq!(world.pointed()[1].1, endpoint(B));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_told_once_and_asked_for_less_and_less_often() {
        let mut world = World::new(&["vpn"], Err("no such name".into()));
        world.run(600, |_| {});
        let told = world.log.iter().filter(|(_, action)| matches!(action, Action::Waits(..))).count();
        assert_eq!(told, 1);
        assert!((10..=17).contains(&world.lookups()), "{}", world.lookups());
        world.answer = addresses(&[A]);
        world.run(91, |_| {});
        assert_eq!(world.pointed().len(), 1);
    }

    #[test]
    fn a_name_is_asked_for_once_however_many_peers_have_it() {
        let mut world = World::new(&["vpn"; 200], addresses(&[A]));
        world.run(2, |_| {});
        assert_eq!((world.lookups(), world.pointed().len()), (1, 200));
    }

    #[test]
    fn few_names_are_looked_up_at_a_time() {
        let hosts: Vec<_> = (0..200).map(|number| format!("host{number}")).collect();
        let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
        let (network, now) = (network(&hosts), Instant::now());
        let mut endpoints = Endpoints::of(&network, now);
        for number in 1..=200 {
            endpoints.seen(&at(number), &PeerView::new(key(number)), now);
        }
        let asked = endpoints.tick(now);
        assert_eq!(asked.len(), LOOKUPS);
        assert_eq!(endpoints.tick(now), []);
        let Some(Action::LookUp(name)) = asked.first() else { panic!("{asked:?}") };
        assert_eq!(endpoints.found(name, &addresses(&[A]), now).len(), 1);
        assert_eq!(endpoints.tick(now).len(), 1, "there is room for the next");
    }

    #[test]
    fn another_name_is_looked_up_at_once_and_the_same_one_is_not() {
        let mut world = World::new(&["vpn", "other"], addresses(&[A]));
        world.run(100, answered);
        world.answer = addresses(&[B]);
        world.endpoints.follow(&network(&["vpn", "another"]), world.now);
        world.run(1, answered);
        assert_eq!(world.views[&at(1)].endpoint, Some(endpoint(A)));
        assert_eq!(world.views[&at(2)].endpoint, Some(endpoint(B)));
    }

    #[test]
    fn one_that_has_an_endpoint_already_keeps_it_while_it_answers() {
        let mut world = World::new(&["vpn"], addresses(&[A]));
        world.views.get_mut(&at(1)).unwrap().endpoint = Some(endpoint(B));
        world.run(1000, answered);
        assert_eq!(world.lookups(), 0);
    }

    #[test]
    fn hosts_that_lost_the_same_name_do_not_ask_at_the_same_time() {
        let pause = |number| {
            Moving::new(
                Name { underlay: DomainId::DEFAULT, host: "vpn".into() },
                7,
                Next::LookUp,
                Instant::now(),
            )
            .pause(&key(number))
        };
        let pauses: BTreeSet<_> = (0..=255).map(pause).collect();
        assert_eq!(pauses.len(), 256);
        assert!(pauses.iter().all(|pause| (SECOND..SECOND.mul_f64(1.5)).contains(pause)));
    }
}
