//! A program as another user: with their groups and their home, and without root's rights (credentials(7)).

use std::ffi::CString;
use std::fs;
use std::ops::Range;

use caps::{CapSet, Capability};
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};

use crate::probe::Unsupported;

/// The user of this name or number, if this process may become them.
pub fn user(word: &str) -> Result<User, Unsupported> {
    let found = match word.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(word),
    };
    let user = found.ok().flatten().ok_or_else(|| Unsupported {
        missing: format!("this system has no user `{word}`"),
        remedy: "see which there are: getent passwd".into(),
    })?;
    match user.uid == geteuid() || may_become(&user) {
        true => Ok(user),
        false => Err(Unsupported {
            missing: format!("only root may run a program as user `{word}`"),
            remedy: "run it as root outside of any user namespace, or leave `user` out".into(),
        }),
    }
}

/// Becomes that user. The process must have one thread.
pub fn become_user(user: &User) -> Result<(), Unsupported> {
    if user.uid != geteuid() {
        let name = CString::new(user.name.as_str()).unwrap_or_default();
        let become_them = || {
            initgroups(&name, user.gid)?;
            setgid(user.gid)?;
            setuid(user.uid)
        };
        become_them().map_err(|errno: nix::errno::Errno| Unsupported {
            missing: format!("cannot become user `{}`: {}", user.name, errno.desc()),
            remedy: "run it as root outside of any user namespace, or leave `user` out".into(),
        })?;
    }
    // Of this process only, which has one thread and is about to become the program.
    unsafe {
        std::env::set_var("HOME", &user.dir);
        std::env::set_var("USER", &user.name);
        std::env::set_var("LOGNAME", &user.name);
    }
    Ok(())
}

/// Root of a user namespace has only the users that are mapped into it (user_namespaces(7)).
fn may_become(user: &User) -> bool {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let maps = [("/proc/self/uid_map", user.uid.as_raw()), ("/proc/self/gid_map", user.gid.as_raw())];
    has(Capability::CAP_SETUID)
        && has(Capability::CAP_SETGID)
        && maps.iter().all(|(map, id)| fs::read_to_string(map).is_ok_and(|map| is_mapped(&map, *id)))
}

fn is_mapped(map: &str, id: u32) -> bool {
    let range = |line: &str| -> Option<Range<u64>> {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [first, _, count] = numbers[..] else { return None };
        Some(first..first + count)
    };
    map.lines().filter_map(range).any(|range| range.contains(&u64::from(id)))
}

#[cfg(test)]
mod tests {
    use super::is_mapped;

    #[test]
    fn a_map_says_who_is_there() {
        assert!(is_mapped("         0          0 4294967295\n", 33));
        assert!(is_mapped("0 1000 1\n1 100000 65536\n", 33) && !is_mapped("0 1000 1\n", 33));
    }
}
