//! Control groups of the real root's copy: one of its own among the host's, `rdom.copy.PIDS.PID`, which the copy sees as
//! the root of all (PID is the caller, PIDS the inode of its namespace of processes). Nothing that dies takes a control group along, so a process outside of the copy, the keeper, waits for
//! the end of the caller, however it ends, and removes the group then. It holds a lock on it meanwhile: a group of
//! that name without one is what a killed keeper left, and the next one removes it.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::SigSet;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, read, setsid};

use crate::probe;

/// What the names of these groups begin with.
const PREFIX: &str = "rdom.copy.";
/// How long the kernel may take to bury the processes of a copy.
const BURIED_WITHIN: Duration = Duration::from_secs(10);

/// A group that is kept until it is released, or its keeper's caller dies.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    ours: OwnedFd,
    keeper: Pid,
}

impl Kept {
    /// Lets the keeper remove the group, and waits until it has.
    pub(super) fn release(self) {
        drop(self.ours);
        let _ = waitpid(self.keeper, None);
    }

    /// Where the group is, for the copy: which must not hold what tells the keeper that the caller lives.
    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }
}

/// Makes a group and starts its keeper; nothing where there are no control groups to be made. Must be called by a
/// process of one thread, before it goes elsewhere.
pub(super) fn keep() -> Result<Option<Kept>, Errno> {
    let Some(mount) = probe::control_groups() else { return Ok(None) };
    remove_abandoned(&mount);
    let pids = fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino()).unwrap_or_default();
    let path = mount.join(format!("{PREFIX}{pids}.{}", std::process::id()));
    // Somebody who looks for abandoned ones may take it away before it is locked.
    let Some(group) = (0..3).find_map(|_| make(&path)) else { return Ok(None) };
    let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Some(Kept { path, ours, keeper: child })),
        ForkResult::Child => {
            drop(ours);
            stand_aside();
            // Nothing is ever written: it returns when the caller is no more.
            while read(&theirs, &mut [0]) == Err(Errno::EINTR) {}
            remove(&path);
            drop(group);
            unsafe { libc::_exit(0) }
        }
    }
}

/// The group, locked, as long as it is open anywhere.
fn make(path: &Path) -> Option<File> {
    fs::create_dir(path).ok()?;
    let group = File::open(path).ok()?;
    group.lock().ok()?;
    path.exists().then_some(group)
}

/// Each is locked until it is gone, so that its maker, who may only be about to lock it, makes it again.
fn remove_abandoned(mount: &Path) {
    for entry in fs::read_dir(mount).into_iter().flatten().flatten() {
        let is_copys = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let Some(group) = is_copys.then(|| File::open(entry.path()).ok()).flatten() else { continue };
        if group.try_lock().is_ok() {
            remove_tree(&entry.path());
        }
    }
}

/// What ends the caller's terminal or group of processes shall not end this one, and nobody shall wait for its output.
fn stand_aside() {
    let _ = setsid();
    let _ = SigSet::all().thread_set_mask();
    if let Ok(nothing) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&nothing).and(dup2_stdout(&nothing)).and(dup2_stderr(&nothing));
    }
}

/// Removes a group when the last process of the copy is dead, which the kernel sees to.
fn remove(path: &Path) {
    let deadline = Instant::now() + BURIED_WITHIN;
    while path.exists() && Instant::now() < deadline {
        remove_tree(path);
        thread::sleep(Duration::from_millis(2));
    }
}

/// Those below come first. One that somebody lives in stays.
fn remove_tree(path: &Path) {
    let below = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    below.filter(|path| path.is_dir()).for_each(|path| remove_tree(&path));
    let _ = fs::remove_dir(path);
}
