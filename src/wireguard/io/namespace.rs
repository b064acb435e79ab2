//! Doing one thing in another network namespace.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// Does it on a thread of its own, for setns(2) is for a whole thread, and this one has no other life.
pub(super) fn in_namespace<T: Send>(
    namespace: &OwnedFd,
    task: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let task = || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        task()
    };
    thread::scope(|scope| scope.spawn(task).join())
        .unwrap_or_else(|_| Err(io::Error::other("a thread in another network namespace panicked")))
}
