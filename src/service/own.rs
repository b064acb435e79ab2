//! Which processes are a service's own, and what sockets they hold (proc(5)).
//!
//! Its own are its process and all that these have started. Whoever has lost its parent is the keeper's child by then,
//! and known by its environment. A process that lets nobody look at it is believed: not every keeper has the right to
//! look at processes of another user, nor does every private copy get a /proc of its own.

use std::fs;
use std::io;
use std::path::Path;
use std::process;

use crate::model::ServiceName;

/// What tells a service's processes its name.
pub(super) const VARIABLE: &str = "RDOM_SERVICE";

/// Whether a service whose process this is holds one of these sockets, by their inodes.
pub(super) fn holds(service: &ServiceName, pid: i32, sockets: &[u64]) -> bool {
    let is_held = |pid: &i32| match held_by(*pid) {
        Ok(held) => held.iter().any(|socket| sockets.contains(socket)),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    !sockets.is_empty() && (!sees_processes() || family(service, pid).iter().any(is_held))
}

/// Whether /proc has the processes of this one's PID namespace, by their numbers.
pub(super) fn sees_processes() -> bool {
    fs::read_link("/proc/self").is_ok_and(|own| own == Path::new(&process::id().to_string()))
}

fn family(service: &ServiceName, pid: i32) -> Vec<i32> {
    let keeper = process::id().cast_signed();
    let left_behind =
        children(keeper).into_iter().filter(|child| *child != pid && is_marked(*child, service));
    let mut family: Vec<i32> = std::iter::once(pid).chain(left_behind).collect();
    let mut seen = 0;
    while let Some(parent) = family.get(seen) {
        family.extend(children(*parent));
        seen += 1;
    }
    family
}

/// Those that each thread has started.
fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn is_marked(pid: i32, service: &ServiceName) -> bool {
    let wanted = format!("{VARIABLE}={service}");
    match fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()),
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    }
}

fn held_by(pid: i32) -> io::Result<Vec<u64>> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.flatten();
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let socket = |target: std::path::PathBuf| {
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    Ok(targets.filter_map(socket).collect())
}
