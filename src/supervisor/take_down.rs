//! The way down, with a supervisor or after it.

use std::fs;

use tracing::warn;

use super::engines::Processes;
use super::residents::{Eviction, residents};
use super::{UpError, confirm, services};
use crate::backend::Backend;
use crate::backend::linux::Linux;
use crate::control::Residents;
use crate::model::{Network, NetworkName};
use crate::plan::plan;
use crate::probe;
use crate::service::Connection;
use crate::state::{Directories, KeyRing, Lock, LockError};
use crate::transaction::{Failure, converge};

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

pub(super) fn take_down(backend: &mut Linux, network: &NetworkName) -> Result<usize, Box<Failure>> {
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
