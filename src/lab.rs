//! Networks for the tests of other programs: a file's network that is up in the process that tests, and in no other.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use rdomain::lab::Lab;
//!
//! rdomain::rootless!();
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // #[test]
//! let lab = Lab::from_yaml("
//!     domains:
//!       client: {rdomain: 1, interfaces: {eth0: {addresses: [10.0.0.1/24]}}}
//!       server: {rdomain: 2, interfaces: {eth0: {addresses: [10.0.0.2/24]}}}
//!     links: [{ends: [client/eth0, server/eth0]}]
//! ")?.up()?;
//! let listener = lab.domain("server").tcp_listener("10.0.0.2:80")?;
//! let server = std::thread::spawn(move || listener.accept()?.0.write_all(b"hello"));
//! let mut said = String::new();
//! lab.domain("client").tcp_stream("10.0.0.2:80")?.read_to_string(&mut said)?;
//! assert_eq!(said, "hello");
//! server.join().unwrap()?;
//!
//! lab.cut("client/eth0")?;
//! assert!(!lab.domain("client").exec(["ping", "-c1", "-W1", "10.0.0.2"])?.status.success());
//! # Ok(()) }
//! ```
//!
//! A lab is a private copy as `rdom run` has it, but for its processes: a default domain of its own without a way out,
//! a /run of its own. Labs do not meet, those of one file in one process neither. Threads enter its domains, so the
//! program that tests goes on where it is. What is in a lab, processes and all, is gone when it is dropped; when the
//! process is killed, the network and the programs that [`Domain::exec`] started go with it.
//!
//! A file's services are ready when the lab is up. They are killed with it.
//!
//! The process must be root's, or that of a program which says [`rootless!`](crate::rootless); one with services must say it.

mod domain;
mod error;
mod home;
mod nodes;
pub mod rootless;
mod stage;

use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use tracing::warn;

use crate::control::{Client, Residents};
use crate::model::{Drift, End, Host, InterfaceName, Network, NetworkName};
use crate::sandbox;
use crate::spec::{self, Action, Document, Source};
use crate::state::{Directories, Roots};
use crate::supervisor::{Lodging, Supervisor, kill_all};
use crate::transaction::Signals;
pub use domain::Domain;
pub use error::LabError;
use home::Home;
pub use stage::Stage;

/// A network that is up in this process, until it is dropped.
pub struct Lab {
    ground: Arc<Ground>,
    network: Network,
    stage: Stage,
    keeper: Option<JoinHandle<()>>,
}

/// A network that can be brought up, any number of times.
#[derive(Clone, Debug)]
pub struct Blueprint(Document);

/// Where a lab is.
#[derive(Debug)]
struct Ground {
    home: Home,
    name: NetworkName,
    directories: Directories,
}

impl Lab {
    /// The network that a text in the words of `domains.yaml` describes. Paths in it begin in the working directory.
    pub fn from_yaml(text: &str) -> Result<Blueprint, LabError> {
        Blueprint::read(Source { file: "<yaml>".into(), ..Source::new(Path::new("lab"), text.to_owned()) })
    }

    /// The network that a file describes. Paths in it begin in its directory.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Blueprint, LabError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path)
            .map_err(|source| LabError::Unreadable { file: path.to_owned(), source })?;
        Blueprint::read(Source::new(path, text))
    }

    /// The domain that this word means, a number or a name. Whether there is one its first use shows.
    pub fn domain(&self, word: &str) -> Domain {
        Domain::new(&self.ground, word)
    }

    /// Cuts a link, named by one of its ends as `DOMAIN/INTERFACE`, or sets another interface down.
    pub fn cut(&self, end: &str) -> Result<(), LabError> {
        self.perform(Action::Cut(self.end(end)?))
    }

    /// Mends what was cut.
    pub fn restore(&self, end: &str) -> Result<(), LabError> {
        self.perform(Action::Restore(self.end(end)?))
    }

    fn perform(&self, action: Action) -> Result<(), LabError> {
        let done = self.ground.home.run(|| self.stage.perform(&action))?;
        done.map_err(LabError::NotDone)
    }

    fn end(&self, word: &str) -> Result<End, LabError> {
        let end = || {
            let (domain, interface) = word.split_once('/')?;
            let domain = self.network.domain_called(domain)?;
            let end = End { domain, interface: InterfaceName::new(interface).ok()? };
            self.network.interface(&end).map(|_| end)
        };
        end().ok_or_else(|| LabError::NoSuchEnd {
            word: word.to_owned(),
            known: self.network.interfaces().map(|(end, _)| end.to_string()).collect(),
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let directories = &self.ground.directories;
        let ended = self.ground.home.run(|| {
            if let Err(error) = kill_all(directories) {
                warn!(%error, "not all of a lab's processes were seen");
            }
            Client::of(directories).down(Residents::Kill)
        });
        match ended {
            Ok(Ok(())) => drop(self.keeper.take().map(JoinHandle::join)),
            Ok(Err(error)) => warn!(%error, "a lab is left behind"),
            Err(error) => warn!(%error, "a lab is left behind"),
        }
    }
}

impl Blueprint {
    fn read(source: Source) -> Result<Self, LabError> {
        let mut lowered = spec::read(&source).map_err(|errors| LabError::File(Box::new(errors)))?;
        if !lowered.warnings.is_empty() {
            warn!("{}", lowered.warnings);
        }
        if let Some(end) = tunnel_to_a_name(&lowered.network) {
            return Err(LabError::EndpointByName(end));
        }
        if let Some(service) = lowered.services.keys().next().filter(|_| !rootless::is_said()) {
            return Err(LabError::Service(service.clone()));
        }
        // What a test does to its network is no drift.
        lowered.drift = Drift::Off;
        Ok(Self(Document { source, lowered }))
    }

    /// Brings it up; returns when every step has been taken and checked, and every service is ready.
    pub fn up(&self) -> Result<Lab, LabError> {
        rootless::check()?;
        let (tell, told) = channel();
        let document = self.0.clone();
        let keep = move || keep(&document, &tell);
        let keeper = thread::Builder::new().name("lab".into()).spawn(keep).map_err(LabError::Thread)?;
        match told.recv() {
            Ok(Ok(mut lab)) => {
                lab.keeper = Some(keeper);
                Ok(lab)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => match keeper.join() {
                Ok(()) => unreachable!("it says how it went before it ends"),
                Err(panic) => resume_unwind(panic),
            },
        }
    }

    /// Brings it up if it has these domains, and returns them too. [`nodes!`](crate::nodes) makes fields of them.
    pub fn up_with<const N: usize>(&self, words: [&str; N]) -> Result<(Lab, [Domain; N]), LabError> {
        let network = &self.0.lowered.network;
        if let Some(word) = words.iter().find(|word| network.domain_called(word).is_none()) {
            return Err(LabError::NoSuchDomain {
                word: (*word).to_owned(),
                known: network.domains.iter().map(|(id, domain)| domain.name.word(*id)).collect(),
            });
        }
        let lab = self.up()?;
        let domains = words.map(|word| lab.domain(word));
        Ok((lab, domains))
    }
}

/// A tunnel with a peer whose endpoint is to be looked up, which takes the program `rdom` to be this one.
fn tunnel_to_a_name(network: &Network) -> Option<End> {
    let is_name = |host: &Host| matches!(host, Host::Name(_));
    let mut tunnels = network.tunnels();
    let found = tunnels.find(|(_, tunnel)| {
        tunnel.peers.values().any(|peer| peer.endpoint.as_ref().is_some_and(|to| is_name(&to.host)))
    });
    found.map(|(end, _)| end)
}

/// The life of a lab, on a thread of its own, which those that it starts share namespaces with.
fn keep(document: &Document, tell: &Sender<Result<Lab, LabError>>) {
    let (supervisor, lab) = match bring_up(document) {
        Ok(up) => up,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let _waits_for_it = tell.send(Ok(lab));
    if let Err(error) = supervisor.serve() {
        warn!(%error, "a lab is left behind");
    }
}

fn bring_up(document: &Document) -> Result<(Supervisor, Lab), LabError> {
    sandbox::apart()?;
    let home = Home::here()?;
    let name = document.lowered.network.name.clone();
    let directories = Roots::private().of(&name);
    let up = Supervisor::up(document, &directories, &Signals::none(), Lodging::Within);
    let supervisor = up.map_err(|error| LabError::of(error, document))?;
    supervisor.warnings().iter().for_each(|warning| warn!("{warning}"));
    let network = supervisor.desired().clone();
    let stage =
        Stage::new(document, &network, &directories).map_err(|error| LabError::of(error, document))?;
    let ground = Arc::new(Ground { home, name, directories });
    Ok((supervisor, Lab { ground, network, stage, keeper: None }))
}
