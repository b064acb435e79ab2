//! The namespaces of a lab, which threads enter that are started for it.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::resume_unwind;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use super::LabError;

/// The default domain of a lab: its network and its mounts.
#[derive(Debug)]
pub(super) struct Home {
    network: OwnedFd,
    mounts: OwnedFd,
}

impl Home {
    /// The calling thread's.
    pub(super) fn here() -> Result<Self, LabError> {
        let open = |namespace| File::open(format!("/proc/thread-self/ns/{namespace}")).map(OwnedFd::from);
        let home = || io::Result::Ok(Self { network: open("net")?, mounts: open("mnt")? });
        home().map_err(|error| LabError::Home(Errno::from_raw(error.raw_os_error().unwrap_or_default())))
    }

    /// Takes the calling thread, which nobody else needs, there. Its working directory stays what it is called.
    pub(super) fn enter(&self) -> Result<(), LabError> {
        let directory = env::current_dir();
        let enter = || {
            // Threads share what mounts they see, and which directory is theirs, until they say otherwise.
            unshare(CloneFlags::CLONE_FS)?;
            setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
            setns(&self.network, CloneFlags::CLONE_NEWNET)
        };
        enter().map_err(LabError::Home)?;
        if let Ok(directory) = directory {
            let _has_gone = env::set_current_dir(directory);
        }
        Ok(())
    }

    /// Runs this there, on a thread of its own.
    pub(super) fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        on_a_thread("lab", || self.enter().map(|()| inside()))
    }
}

/// Runs this on a thread of its own and waits for it; a panic in it is one of the caller's.
pub(super) fn on_a_thread<T: Send>(
    name: &str,
    run: impl FnOnce() -> Result<T, LabError> + Send,
) -> Result<T, LabError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, run);
        thread.map_err(LabError::Thread)?.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
