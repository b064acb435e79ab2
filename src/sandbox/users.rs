//! Whose copy it is: the real root's, or that of somebody who becomes root of a user namespace, and root nowhere else
//! (user_namespaces(7)).

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::SandboxError;
use crate::probe::{Unsupported, refused_user_namespace};

/// The link of the first user namespace (`PROC_USER_INIT_INO`, linux/proc_ns.h).
const FIRST: &str = "user:[4026531837]";
/// How long a thread that has ended may take to be gone.
const LEAVING: Duration = Duration::from_secs(5);

/// What the root of a copy is root of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Everything.
    OfTheMachine,
    /// The copy's user namespace alone.
    OfANamespace,
}

impl Root {
    /// What this process is root of, if it is.
    pub(super) fn here() -> Option<Self> {
        administers().then(|| if is_first_namespace() { Root::OfTheMachine } else { Root::OfANamespace })
    }
}

/// The real root stays it; everybody else gets a user namespace, or where that is forbidden goes on with the rights
/// that there are.
pub(super) fn become_root() -> Result<Root, SandboxError> {
    if Root::here() == Some(Root::OfTheMachine) {
        return Ok(Root::OfTheMachine);
    }
    let (user, group) = (geteuid(), getegid());
    match leave_user_namespace() {
        Ok(()) => {}
        Err(_) if administers() => return Ok(Root::OfANamespace),
        Err(errno) => return Err(refused_user_namespace(errno).into()),
    }
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ];
    for (file, text) in maps {
        fs::write(file, text).map_err(|error| powerless(&format!("{file}: {error}")))?;
    }
    Ok(Root::OfANamespace)
}

/// Only a process of one thread may (user_namespaces(7)). One that was joined is counted for a moment yet: the kernel
/// wakes whoever waits for it (`mm_release`) before it takes it away (`release_task`).
fn leave_user_namespace() -> Result<(), Errno> {
    let until = Instant::now() + LEAVING;
    loop {
        let alone = fs::read_dir("/proc/self/task").map_or(true, |threads| threads.count() == 1);
        match unshare(CloneFlags::CLONE_NEWUSER) {
            Err(Errno::EINVAL) if !alone && Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            result => return result,
        }
    }
}

/// What to say where a user namespace was made and gives no rights, as AppArmor on Ubuntu has it.
pub(super) fn powerless(refused: &str) -> Unsupported {
    let lack = refused_user_namespace(Errno::EPERM);
    Unsupported { missing: format!("{} ({refused})", lack.missing), ..lack }
}

/// Whether this process may make namespaces, mount, and configure networks.
fn administers() -> bool {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    geteuid().is_root() && [Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN].into_iter().all(has)
}

fn is_first_namespace() -> bool {
    fs::read_link("/proc/self/ns/user").is_ok_and(|link| link == Path::new(FIRST))
}

#[cfg(test)]
mod tests {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn a_thread_that_is_about_to_leave_is_waited_for() {
        // SAFETY: the child has one thread, and of what others may have held it takes the allocator alone, which the C
        // library leaves free (malloc(3)).
        let ForkResult::Parent { child } = unsafe { fork() }.unwrap() else {
            let _leaving = thread::spawn(|| thread::sleep(Duration::from_millis(50)));
            let status = if leave_user_namespace() == Err(Errno::EINVAL) { 1 } else { 0 };
            // SAFETY: ends at once.
            unsafe { nix::libc::_exit(status) }
        };
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
    }
}
