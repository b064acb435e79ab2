//! What a keeper that was killed has left: whom its services had started. The services themselves ended with it, their
//! children are known by their environment (proc(5), /proc/PID/environ).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpid};
use tracing::warn;

use super::own::sees_processes;
use crate::model::NetworkName;

/// What marks them: a variable, and with it the network and the inode of the default domain's namespace, for a private
/// copy may have a network of the same name.
pub(super) const VARIABLE: &str = "RDOM_KEPT";

pub(super) fn mark(network: &NetworkName) -> io::Result<String> {
    let home = fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(format!("{network}.{home}"))
}

/// Kills those of a network, of which nothing keeps services, if its keeper has ended without having been told to.
pub fn end_orphans(network: &NetworkName, socket: &Path) {
    if !socket.exists() || !sees_processes() {
        return;
    }
    let Ok(mark) = mark(network) else { return };
    let wanted = format!("{VARIABLE}={mark}");
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            warn!(pid, "left behind by a service, killed");
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Kills what services have left behind: children of nobody else, and so of this process.
pub(super) fn end_children() {
    let own = format!("/proc/self/task/{pid}/children", pid = getpid());
    loop {
        let left = fs::read_to_string(&own).unwrap_or_default();
        let left: Vec<i32> = left.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|pid| {
            let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        });
        left.iter().for_each(|pid| {
            let _gone = waitid(Id::Pid(Pid::from_raw(*pid)), WaitPidFlag::WEXITED);
        });
    }
}
