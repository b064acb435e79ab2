//! The user namespace of a private copy: the caller becomes its root, and root nowhere else (user_namespaces(7)).

use std::fs;

use caps::{CapSet, Capability};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::SandboxError;
use crate::probe::{Unsupported, refused_user_namespace};

/// Makes the user namespace; where it is forbidden and the caller has the rights anyway, goes on without.
pub(super) fn become_root_of_a_new_namespace() -> Result<(), SandboxError> {
    let (user, group) = (geteuid(), getegid());
    match unshare(CloneFlags::CLONE_NEWUSER) {
        Ok(()) => {}
        Err(_) if caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false) => {
            return Ok(());
        }
        Err(errno) => return Err(refused_user_namespace(errno).into()),
    }
    let maps = [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {user} 1")),
        ("/proc/self/gid_map", format!("0 {group} 1")),
    ];
    for (file, text) in maps {
        fs::write(file, text).map_err(|error| Unsupported {
            missing: format!("{file} cannot be written: {error}"),
            remedy: refused_user_namespace(Errno::EPERM).remedy,
        })?;
    }
    Ok(())
}
