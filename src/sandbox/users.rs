//! Whose copy it is: the real root's, or that of somebody who becomes root of a user namespace, and root nowhere else
//! (user_namespaces(7)).

use std::fs;
use std::path::Path;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::SandboxError;
use crate::probe::{Unsupported, refused_user_namespace};

/// The link of the first user namespace (`PROC_USER_INIT_INO`, linux/proc_ns.h).
const FIRST: &str = "user:[4026531837]";

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
    match unshare(CloneFlags::CLONE_NEWUSER) {
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
