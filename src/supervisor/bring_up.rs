//! The way up: what a document needs, the steps, and the sockets that others reach it by.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Event, UpError, admission, neighbours, place, service_manager, services, services::Services,
    surroundings::hazards_while,
};
use crate::backend::linux::{Linux, Survey};
use crate::control::enter::{self, Opened};
use crate::control::{self, Server};
use crate::model::{DomainId, Network, NetworkName};
use crate::plan::{Step, bind};
use crate::probe::{self, Ground, Hazard};
use crate::spec::Document;
use crate::state::{Directories, KeyRing, Missing, Store, Stored, write_lookups};
use crate::transaction::{Signals, converge, restore};

/// A document's network with nothing left open.
pub(crate) struct Prepared {
    pub(crate) desired: Network,
    pub(super) keys: KeyRing,
    pub(super) warnings: Vec<String>,
}

/// Finds or makes the keys and ports that a document leaves open, and looks whether everything that it needs is here.
///
/// The keys that are `known` need not be worked out again.
pub(crate) fn prepare(
    document: &Document,
    directories: &Directories,
    known: &KeyRing,
) -> Result<Prepared, UpError> {
    let (network, secrets) = (&document.lowered.network, &document.lowered.secrets);
    neighbours::check(network, directories)?;
    let Stored { bindings, keys, mut warnings } =
        Store::of(directories).knowing(known).bindings(network, secrets, Missing::Generate)?;
    let ground = Ground::default();
    let (capabilities, held_back) = probe::capabilities_for(network, &ground);
    warnings.extend(held_back);
    let desired = bind(network, &bindings, &capabilities);
    let lacks = probe::unmet_but_namespaces(&desired, &ground);
    if !lacks.is_empty() {
        return Err(UpError::Lacking { lacks });
    }
    match services::unmet(document) {
        Some((service, lack)) => Err(UpError::ServiceLacks { name: service.name.clone(), lack }),
        None => Ok(Prepared { desired, keys, warnings }),
    }
}

/// What there is besides the kernel's part once everything is up.
pub(super) struct Up {
    pub(super) hazards: Vec<Hazard>,
    pub(super) server: Server,
    pub(super) door: Option<Opened>,
}

/// Takes the steps, checks where sockets are, and opens the control socket; what fails after the steps undoes them.
pub(super) fn bring_up(
    backend: &mut Linux,
    desired: &Network,
    directories: &Directories,
    signals: &Signals,
    sender: mpsc::Sender<Event>,
    services: &mut Services,
) -> Result<Up, UpError> {
    let outcome = converge(backend, desired, &|| signals.pending()).map_err(UpError::Failed)?;
    greet(backend);
    let checked = Survey::of(directories).map_err(UpError::from).and_then(|survey| {
        let open = || {
            place::check(&survey, desired)?;
            neighbours::check(desired, directories)?;
            write_lookups(desired, directories)?;
            services.confine().map_err(UpError::Privileges)?;
            let door = open_door(desired, directories, sender.clone())?;
            Ok::<_, UpError>((door, listen(&desired.name, directories, sender)?))
        };
        // Who looks for them keeps its capabilities, and has ended when this returns.
        let (hazards, opened) = hazards_while(&survey, desired, &made(&outcome.taken), open)?;
        let (door, server) = opened?;
        Ok(Up { hazards, server, door })
    });
    match checked {
        Ok(_) => info!(network = %desired.name, steps = outcome.taken.len(), "up"),
        Err(_) => go_back(backend, &outcome.before),
    }
    checked
}

/// To nothing, or to what an earlier supervisor left behind: that goes on without this one too.
fn go_back(backend: &mut Linux, before: &Network) {
    let restored = restore(backend, before);
    info!(%restored, "not up");
    if let Err(error) = backend.tidy() {
        warn!(%error, "left behind");
    }
}

/// The domains whose namespaces these steps make.
fn made(taken: &[Step]) -> BTreeSet<DomainId> {
    let domain = |step: &Step| match step {
        Step::CreateDomain { domain, isolation, .. } if isolation.has_namespace() => Some(*domain),
        _ => None,
    };
    taken.iter().filter_map(domain).collect()
}

/// A peer that is not greeted takes longer to notice that its session is gone.
pub(super) fn greet(backend: &mut Linux) {
    if let Err(error) = backend.greet() {
        warn!(%error, "peers were not greeted");
    }
}

/// The same after steps that made tunnels of a network that was up anew.
pub(super) fn greet_anew(backend: &mut Linux, taken: &[Step]) {
    if let Err(error) = backend.greet_anew(taken) {
        warn!(%error, "peers were not greeted");
    }
}

/// Opens the control socket and answers on it.
fn listen(
    network: &NetworkName,
    directories: &Directories,
    sender: mpsc::Sender<Event>,
) -> Result<Server, UpError> {
    let open = || {
        let listener = control::listen(directories)?;
        service_manager::ask_for_life(sender.clone());
        control::serve(network.clone(), listener, sender)
    };
    open().map_err(|source| UpError::Control { path: control::socket(directories), source })
}

/// Opens the door, if the file lets anybody in.
pub(super) fn open_door(
    desired: &Network,
    directories: &Directories,
    queue: mpsc::Sender<Event>,
) -> Result<Option<Opened>, UpError> {
    if !admission::is_open(desired) {
        enter::close(directories);
        return Ok(None);
    }
    let opened = enter::listen(directories).and_then(|listener| enter::open(listener, queue));
    opened.map(Some).map_err(|source| UpError::Control { path: directories.runtime.clone(), source })
}
