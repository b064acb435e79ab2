//! Makes a network so, keeps it, and takes it down again.
//!
//! One process a network, under the network's lock. It is told things by signals, by its control socket, by the end of an
//! engine and by the kernel about changes of others, one at a time. Userspace engines are processes of their own, which outlive it and are taken over by
//! the next one; in a private copy they are threads of it.

mod admission;
mod apply;
mod bring_up;
mod confirm;
mod decide;
mod drift;
mod endpoints;
mod engines;
mod entrance;
mod error;
mod explain;
mod gist;
mod history;
mod impair;
mod lookup;
mod neighbours;
mod place;
mod pointing;
mod residents;
mod serve;
mod service_manager;
mod services;
mod signals;
mod sockets;
mod surroundings;
mod take_down;
mod watching;

pub use confirm::confirmed_instead_of;
pub use entrance::Entrances;
pub use explain::{explain_all, explain_lacks};
pub use neighbours::Clash;
pub use place::{Misplaced, misplaced};
pub use residents::{KeptError, Resident, kill_all, residents};
pub use surroundings::{Ahead, hazards_within};

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::backend::linux::monitor::Monitor;
use crate::backend::linux::{Linux, Survey};
use crate::backend::{Backend, BackendError};
use crate::control::enter::Opened;
use crate::control::{Answer, Server};
use crate::model::Network;
use crate::plan::plan;
use crate::probe;
use crate::spec::Document;
use crate::state::{Directories, KeyRing, Lock};
use crate::status::{ServiceView, StatusView};
use crate::transaction::Signals;
pub(crate) use bring_up::prepare;
use bring_up::{Prepared, Up, bring_up, greet, greet_anew, open_door};
use confirm::Pending;
use decide::Watch;
use endpoints::Endpoints;
pub use engines::{Hosted, Lodging, NoEngines};
pub use error::{DownError, UpError};
use gist::Gist;
use history::History;
use serve::Event;
use services::Services;
use sockets::Looks;
pub use take_down::clean_up;
use take_down::{forget, forget_if_nothing_is_left, forget_if_unused, take_down_kept, take_lock};

/// A network that is up, held by this process.
pub struct Supervisor {
    gist: Gist,
    desired: Network,
    warnings: Vec<String>,
    directories: Directories,
    backend: Linux,
    watch: Watch,
    looks: Looks,
    endpoints: Endpoints,
    unconfirmed: Option<Pending>,
    services: Services,
    history: History,
    monitor: Option<Monitor>,
    sender: mpsc::WeakSender<Event>,
    queue: mpsc::Receiver<Event>,
    /// What came first while something else was awaited.
    came_first: VecDeque<Event>,
    signals: Signals,
    server: Server,
    door: Option<Opened>,
    lodging: Lodging,
    _lock: Lock,
}

/// What there is before the first step.
struct Begun {
    prepared: Prepared,
    backend: Linux,
    unconfirmed: Option<Pending>,
    services: Services,
}

/// How much a supervisor may be told before it has listened; who comes then waits.
const QUEUE_LENGTH: usize = 32;

impl Supervisor {
    /// Brings a document's network up and checks that it is: the plan is empty and every tunnel's sockets are in their
    /// domain. An interruption or a failure leaves nothing behind.
    pub fn up(
        document: &Document,
        directories: &Directories,
        signals: &Signals,
        lodging: Lodging,
    ) -> Result<Self, UpError> {
        probe::administration()?;
        let lock = take_lock(&document.lowered.network.name, directories)?;
        let (sender, queue) = mpsc::channel(QUEUE_LENGTH);
        let begun = Self::begin(document, directories, lodging, &sender);
        let Begun { prepared, mut backend, unconfirmed, mut services } =
            begun.inspect_err(|_| forget_if_unused(directories))?;
        let Prepared { desired, mut warnings, .. } = prepared;
        let weak = sender.downgrade();
        match bring_up(&mut backend, &desired, directories, signals, sender, &mut services) {
            Ok(Up { hazards, server, door }) => {
                let (gist, directories) = (Gist::of(document), directories.clone());
                warnings.extend(hazards.iter().map(ToString::to_string));
                let mut supervisor = Self {
                    watch: Watch::new(gist.drift),
                    looks: Looks::default(),
                    endpoints: Endpoints::of(&desired, Instant::now()),
                    unconfirmed,
                    services,
                    history: History::default(),
                    monitor: None,
                    sender: weak,
                    gist,
                    desired,
                    warnings,
                    directories,
                    backend,
                    queue,
                    came_first: VecDeque::new(),
                    signals: *signals,
                    server,
                    door,
                    lodging,
                    _lock: lock,
                };
                confirm::forget_of_others(document, &supervisor.directories);
                supervisor.share_control();
                supervisor.await_endpoints();
                supervisor.begin_services(lodging, signals)?;
                Ok(supervisor)
            }
            Err(error) => {
                forget_if_nothing_is_left(&mut backend, directories);
                Err(error)
            }
        }
    }

    /// All that comes before the first step.
    fn begin(
        document: &Document,
        directories: &Directories,
        lodging: Lodging,
        sender: &mpsc::Sender<Event>,
    ) -> Result<Begun, UpError> {
        let prepared = prepare(document, directories, &KeyRing::default())?;
        let (name, keys) = (&prepared.desired.name, prepared.keys.clone());
        let engines = lodging.engines(directories, sender.clone());
        let mut backend = Linux::open(name.clone(), directories, keys, engines)?;
        backend.tidy()?;
        let unconfirmed = Pending::resumed(document, directories, &sender.downgrade())?;
        let services = Services::open(name, directories, lodging, sender.downgrade());
        let services = services.map_err(UpError::Services)?;
        Ok(Begun { prepared, backend, unconfirmed, services })
    }

    /// The network as it was asked for, with its keys and ports.
    pub fn desired(&self) -> &Network {
        &self.desired
    }

    /// What its operator should know, one sentence each: of the files that it was made of, and of what is in its way
    /// without an error.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What there is, as its status document.
    pub fn status(&mut self) -> Answer {
        let view = self.kept().map_err(|error| error.to_string())?;
        serde_json::to_string(&view).map_err(|error| error.to_string())
    }

    fn kept(&mut self) -> Result<StatusView, BackendError> {
        let observed = self.backend.observe()?;
        let survey = Survey::of(&self.directories)?;
        let view = survey.status(&observed, Some(&self.desired), engine_reason())?;
        let view = view.without(|at| self.backend.offloads_off(&at));
        let missing = plan(&self.desired, &observed);
        let misplaced = misplaced(&survey, &self.desired)?;
        let steps = missing.iter().map(ToString::to_string);
        let mut differs: Vec<_> = steps.chain(misplaced.iter().map(ToString::to_string)).collect();
        let services = self.services.views().unwrap_or_else(|error| {
            let wanted = !self.gist.services.is_empty();
            differs.extend(wanted.then(|| error.to_string()));
            Vec::new()
        });
        differs.extend(services.iter().filter(|service| !service.is_well()).map(ServiceView::text));
        let left = self.unconfirmed.as_ref().map(Pending::left_secs);
        let view = view.kept_by(std::process::id(), differs, self.history.view()).going_back_in(left);
        Ok(view.impaired(self.impaired()).running(services))
    }
}

/// A network at a glance, as the kernel has it; `desired`, where it is known, gives peers their names.
pub fn status(
    backend: &mut Linux,
    directories: &Directories,
    desired: Option<&Network>,
) -> Result<StatusView, BackendError> {
    let observed = backend.observe()?;
    let view = Survey::of(directories)?.status(&observed, desired, engine_reason())?;
    Ok(view.running(services::left_behind(directories)))
}

fn engine_reason() -> String {
    let reason = match probe::kernel_wireguard() {
        true => "the kernel has WireGuard; userspace where the file asks for it",
        false => "the kernel has no WireGuard, so userspace",
    };
    reason.to_owned()
}
