//! What is done to a network while it is tested, `steps:` of a file or by a lab's program: the same steps that `up` takes,
//! on the same backend.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::backend::linux::Linux;
use crate::control::{Client, Terms, Wanted};
use crate::diagnostic::chain;
use crate::model::{
    Drift, End, Endpoint, Impairment, Network, NetworkName, Peer, Route, ServiceName, Target,
};
use crate::plan::Step;
use crate::service::{self, Connection};
use crate::spec::{Action, Document, Source};
use crate::state::{Directories, KeyRing, Missing, Store};
use crate::status::ServiceEvidence;
use crate::supervisor::{self, NoEngines, UpError};
use crate::transaction::converge;

/// How long a service may take to be ready in any case.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines of a service's log are shown.
const LINES: usize = 10;

/// A network to which things are done.
pub struct Stage {
    directories: Directories,
    state: Mutex<State>,
}

struct State {
    backend: Linux,
    desired: Network,
    /// The interfaces that are down.
    cut: BTreeSet<End>,
    /// What ends of links do that the file does not say.
    impaired: BTreeMap<End, Impairment>,
}

impl Stage {
    /// The document's network, which is up as `desired`. Must be called in its default domain.
    pub fn new(document: &Document, desired: &Network, directories: &Directories) -> Result<Self, UpError> {
        let state = State::new(document, desired, directories)?;
        Ok(Self { directories: directories.clone(), state: Mutex::new(state) })
    }

    /// Does it; an error says why that could not be done. Must be called in the default domain.
    pub fn perform(&self, action: &Action) -> Result<(), String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match action {
            Action::Cut(at) => state.cut(at),
            Action::Restore(at) => state.restore(at),
            Action::Move { tunnel, peer, endpoint } => {
                let step = state.moved(tunnel, peer, *endpoint)?;
                state.apply(&step)
            }
            Action::Set { link, impairment, one_way } => {
                let ends = if *one_way { vec![link.clone()] } else { state.desired.ends(link) };
                state.impair(ends, *impairment)
            }
            Action::Apply(document) => {
                *state = self.apply(document, state.desired.name.clone())?;
                Ok(())
            }
            Action::Kill(name) => self.kill(name),
            Action::Start(name) => self.start(name),
            Action::Wait(time) => {
                thread::sleep(*time);
                Ok(())
            }
        }
    }

    /// The network as it should be.
    pub fn desired(&self) -> Network {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).desired.clone()
    }

    /// Has the supervisor make the network what a file says, but for what it does about drift: the next step may be one.
    fn apply(&self, document: &Document, name: NetworkName) -> Result<State, String> {
        let Source { file, text, directory, .. } = document.source.clone();
        let wanted = Wanted { network: name.to_string(), file, directory, text };
        let terms = Terms { drift: Some(Drift::Off), ..Terms::default() };
        Client::of(&self.directories).apply(&wanted, &terms).map_err(|error| error.to_string())?;
        let mut document = document.clone();
        document.lowered.network.name = name;
        let prepared = supervisor::prepare(&document, &self.directories, &KeyRing::default())
            .map_err(|error| chain(&error))?;
        State::new(&document, &prepared.desired, &self.directories).map_err(|error| chain(&error))
    }

    fn kill(&self, name: &ServiceName) -> Result<(), String> {
        let killed = self.keeper().and_then(|mut keeper| {
            keeper.kill(name)?;
            keeper.settled(|| false)
        });
        killed.map(drop).map_err(|error| error.to_string())
    }

    fn start(&self, name: &ServiceName) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let started = self.keeper().and_then(|mut keeper| {
            keeper.start_service(name)?;
            keeper.settled(|| Instant::now() > deadline)
        });
        let services = started.map_err(|error| error.to_string())?;
        match services.iter().find(|service| service.name == name.as_str()) {
            Some(service) if !service.is_well() => Err(service.text()),
            Some(_) | None => Ok(()),
        }
    }

    /// What services do, and what they have written last.
    pub fn services(&self) -> Vec<ServiceEvidence> {
        let services = self.keeper().and_then(|mut keeper| keeper.services()).unwrap_or_default();
        let seen = |view| ServiceEvidence {
            log: service::last_words(&self.directories.runtime, &view, LINES),
            view,
        };
        services.into_iter().map(seen).collect()
    }

    fn keeper(&self) -> io::Result<Connection> {
        Connection::adopt(&service::socket(&self.directories.runtime))
    }
}

impl State {
    fn new(document: &Document, desired: &Network, directories: &Directories) -> Result<Self, UpError> {
        let lowered = &document.lowered;
        let stored = Store::of(directories).bindings(&lowered.network, &lowered.secrets, Missing::Generate);
        let backend = Linux::open(desired.name.clone(), directories, stored?.keys, Box::new(NoEngines))?;
        Ok(Self { backend, desired: desired.clone(), cut: BTreeSet::new(), impaired: BTreeMap::new() })
    }

    fn moved(&self, at: &End, name: &str, endpoint: SocketAddr) -> Result<Step, String> {
        let tunnel = self.desired.interface(at).and_then(|interface| interface.wireguard());
        let mut peers = tunnel.into_iter().flat_map(|tunnel| &tunnel.peers);
        let (key, peer) = peers
            .find(|(_, peer)| peer.name.as_deref() == Some(name))
            .ok_or_else(|| format!("{at} has no peer {name}"))?;
        let peer = Peer { endpoint: Some(Endpoint::from(endpoint)), ..peer.clone() };
        Ok(Step::SetPeer { at: at.clone(), key: key.clone(), peer, new_session: false })
    }

    fn apply(&mut self, step: &Step) -> Result<(), String> {
        self.backend.apply(step).map_err(|error| chain(&error))
    }

    fn cut(&mut self, at: &End) -> Result<(), String> {
        for at in self.desired.ends(at) {
            self.apply(&Step::SetUp { at: at.clone(), up: false })?;
            self.cut.insert(at);
        }
        Ok(())
    }

    fn impair(&mut self, ends: Vec<End>, impairment: Impairment) -> Result<(), String> {
        for at in ends {
            self.apply(&Step::SetImpairment { at: at.clone(), impairment })?;
            self.impaired.insert(at, impairment);
        }
        Ok(())
    }

    /// What went with an interface, routes and addresses of IPv6, comes back with it.
    fn restore(&mut self, at: &End) -> Result<(), String> {
        let ends = self.desired.ends(at);
        if !ends.iter().any(|at| self.cut.contains(at)) {
            return Err("it is not cut".to_owned());
        }
        self.cut.retain(|at| !ends.contains(at));
        let mut desired = without(&self.desired, &self.cut);
        for (at, impairment) in &self.impaired {
            desired.impair(at, *impairment);
        }
        converge(&mut self.backend, &desired, &|| false).map(drop).map_err(|error| chain(&*error))
    }
}

/// The network as it can be while these interfaces are down.
fn without(desired: &Network, cut: &BTreeSet<End>) -> Network {
    let mut network = desired.clone();
    for at in cut {
        let Some(domain) = network.domains.get_mut(&at.domain) else { continue };
        let rtables = domain.rtables.values_mut().chain([&mut domain.routes]);
        rtables.for_each(|routes| routes.retain(|route| !goes_by(route, at)));
        if let Some(interface) = domain.interfaces.get_mut(&at.interface) {
            interface.up = false;
            interface.addresses.retain(|address| address.network.is_ipv4());
        }
    }
    network
}

/// Whether a route is gone when this interface is down: each way of it leads out by one that is.
fn goes_by(route: &Route, at: &End) -> bool {
    match &route.target {
        Target::Unicast { dev, .. } => *dev == at.interface,
        Target::Multipath { hops, .. } => hops.iter().all(|hop| hop.dev == at.interface),
        Target::Blackhole | Target::Unreachable | Target::Prohibit => false,
    }
}
