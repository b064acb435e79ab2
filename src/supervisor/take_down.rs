//! The way down, with a supervisor or after it.

use std::fs;

use tracing::{debug, info, warn};

use super::engines::Processes;
use super::residents::{Eviction, residents};
use super::{UpError, confirm, services};
use crate::backend::Backend;
use crate::backend::linux::{Departed, Linux};
use crate::control::Residents;
use crate::model::{DomainId, Network, NetworkName};
use crate::plan::{Step, plan};
use crate::probe;
use crate::service::Connection;
use crate::state::{Directories, KeyRing, Lock, LockError};
use crate::transaction::{Failure, converge, restore};

/// Removes what a supervisor that is no more left behind, and returns the number of steps that it took.
pub fn clean_up(network: &NetworkName, directories: &Directories, what: Residents) -> Result<usize, UpError> {
    probe::administration()?;
    let lock = take_lock(network, directories)?;
    // Those that live are recorded by this, and so are not taken for residents.
    let engines = Box::new(Processes::of(directories));
    let keeper = services::keeper_left_behind(network, directories);
    Eviction::all(network, &|| residents(network, directories)).carry_out(what)?;
    if let Some(Err(error)) = keeper.map(Connection::end) {
        warn!(%error, "services are left behind");
    }
    let mut backend = Linux::open(network.clone(), directories, KeyRing::default(), engines)?;
    let steps = take_down(&mut backend, network).map_err(UpError::Failed)?;
    confirm::forget(directories);
    forget(directories);
    drop(lock);
    Ok(steps)
}

pub(super) fn take_lock(network: &NetworkName, directories: &Directories) -> Result<Lock, UpError> {
    Lock::take(directories).map_err(|error| match error {
        LockError::Held(pid) => UpError::Taken { network: network.clone(), pid },
        LockError::State(error) => error.into(),
    })
}

/// Takes a network down that has been kept as this until now. Where nothing has to go but names of namespaces, they go
/// without a look at what is in them, which ends with them; what is left by then is looked at in any case.
pub(super) fn take_down_kept(backend: &mut Linux, kept: &Network) -> Result<usize, Box<Failure>> {
    // Held until then, for the look would wait for the kernel to remove them.
    let departed = remove_names(backend, kept);
    let gone = departed.as_ref().map_or(0, Departed::count);
    take_down(backend, &kept.name).map(|steps| gone + steps).map_err(|mut failure| {
        if gone > 0 {
            failure.restored = restore(backend, kept);
        }
        failure
    })
}

/// The domains that went. One that is not what it was ends it.
fn remove_names(backend: &mut Linux, kept: &Network) -> Option<Departed> {
    let steps = plan(&Network::empty(kept.name.clone()), kept);
    let has_namespace = |id: &DomainId| kept.domains.get(id).is_some_and(|one| one.isolation.has_namespace());
    let names = steps.iter().map(|step| match step {
        Step::DeleteDomain { domain, name } if has_namespace(domain) => Some((*domain, name)),
        _ => None,
    });
    let names: Vec<_> = names.collect::<Option<_>>()?;
    match backend.delete_domains(&names) {
        Ok(departed) => {
            steps.iter().take(departed.count()).for_each(|step| info!(%step, "taken"));
            Some(departed)
        }
        Err(error) => {
            debug!(%error, "not taken without a look");
            None
        }
    }
}

fn take_down(backend: &mut Linux, network: &NetworkName) -> Result<usize, Box<Failure>> {
    let outcome = converge(backend, &Network::empty(network.clone()), &|| false)?;
    if let Err(error) = backend.tidy() {
        warn!(%error, "left behind");
    }
    Ok(outcome.taken.len())
}

/// Removes the runtime files of a network that did not come up, unless they are still needed to take it down.
pub(super) fn forget_if_nothing_is_left(backend: &mut Linux, directories: &Directories) {
    let empty = |seen: Network| plan(&Network::empty(seen.name.clone()), &seen).is_empty();
    if backend.observe().is_ok_and(empty) {
        forget(directories);
    }
}

/// Removes the runtime files of a network of which nothing came about, if there are no others than those of this attempt.
pub(super) fn forget_if_unused(directories: &Directories) {
    let mut entries = directories.runtime.read_dir().into_iter().flatten().flatten();
    if entries.all(|entry| entry.file_name() == "lock" || entry.file_name() == "log") {
        forget(directories);
    }
}

/// Removes the runtime files of a network that is down; its keys and ports stay.
pub(super) fn forget(directories: &Directories) {
    if let Err(error) = fs::remove_dir_all(&directories.runtime) {
        warn!(directory = %directories.runtime.display(), %error, "left behind");
    }
    // The directory of all networks goes with the last of them.
    let _ = directories.runtime.parent().map(fs::remove_dir);
}
