//! Who forbids user namespaces, told by the kernel's answer to an attempt (unshare(2), user_namespaces(7)) and by what
//! can be read of those who may: two sysctls, and the filter of system calls that this process has been given.

use std::fs;

use nix::errno::Errno;

use super::{Unsupported, sysctl};

/// What can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Signs {
    /// kernel.unprivileged_userns_clone, of Debian's kernels.
    clone: Option<String>,
    /// kernel.apparmor_restrict_unprivileged_userns, of Ubuntu's.
    apparmor: Option<String>,
    /// user.max_user_namespaces, of the namespace that this process is in (namespaces(7)).
    most: Option<String>,
    /// `Seccomp` of proc_pid_status(5): 2 is a filter.
    seccomp: Option<String>,
}

/// What stands in the way of a user namespace that the kernel refused with this error.
pub fn refused_user_namespace(errno: Errno) -> Unsupported {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let seccomp = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    let signs = Signs {
        clone: sysctl("kernel/unprivileged_userns_clone"),
        apparmor: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
        most: sysctl("user/max_user_namespaces"),
        seccomp: seccomp.map(|mode| mode.trim().to_owned()),
    };
    let (what, remedy) = obstacle(errno, &signs);
    Unsupported { missing: format!("user namespaces are forbidden here: {what}"), remedy }
}

/// Who it is, and what lets them be made.
fn obstacle(errno: Errno, signs: &Signs) -> (String, String) {
    let is = |sign: &Option<String>, value: &str| sign.as_deref() == Some(value);
    let set = |setting: &str| format!("as root: sysctl -w {setting}");
    match errno {
        Errno::ENOSPC | Errno::EUSERS if is(&signs.most, "0") => {
            ("user.max_user_namespaces is 0".to_owned(), set("user.max_user_namespaces=10000"))
        }
        Errno::ENOSPC | Errno::EUSERS => (
            "the limit is reached, of user.max_user_namespaces here or further out, or of 32 within each other".to_owned(),
            "as root, further out too: sysctl -w user.max_user_namespaces=100000".to_owned(),
        ),
        Errno::EINVAL => {
            ("the kernel has none".to_owned(), "a kernel with CONFIG_USER_NS, or run it as root".to_owned())
        }
        _ if is(&signs.clone, "0") => (
            "kernel.unprivileged_userns_clone is 0".to_owned(),
            set("kernel.unprivileged_userns_clone=1"),
        ),
        _ if is(&signs.seccomp, "2") => (
            format!("a seccomp filter of this process or container answers: {}", errno.desc()),
            "docker or podman run --security-opt seccomp=unconfined; for a service of systemd's RestrictNamespaces=no"
                .to_owned(),
        ),
        _ if is(&signs.apparmor, "1") => (
            "AppArmor does it: kernel.apparmor_restrict_unprivileged_userns is 1".to_owned(),
            set("kernel.apparmor_restrict_unprivileged_userns=0"),
        ),
        _ => (
            format!("{}, by a security module or for a process in a chroot(2)", errno.desc()),
            "run it as root, or outside of what confines this process".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(errno: Errno, signs: Signs) -> [String; 2] {
        let (what, remedy) = obstacle(errno, &signs);
        [what, remedy]
    }

    #[test]
    fn each_that_can_forbid_it_is_named_with_its_remedy() {
        let one = |text: &str| Some(text.to_owned());
        let open = Signs { clone: one("1"), apparmor: one("0"), most: one("9"), seccomp: one("0") };
        let cases = [
            (
                Errno::EPERM,
                Signs { clone: one("0"), ..open.clone() },
                ["unprivileged_userns_clone is 0", "clone=1"],
            ),
            (
                Errno::EPERM,
                Signs { apparmor: one("1"), ..open.clone() },
                ["AppArmor", "restrict_unprivileged_userns=0"],
            ),
            (
                Errno::EACCES,
                Signs { apparmor: one("1"), ..open.clone() },
                ["AppArmor", "restrict_unprivileged_userns=0"],
            ),
            (Errno::EPERM, Signs { seccomp: one("2"), ..open.clone() }, ["seccomp", "seccomp=unconfined"]),
            (Errno::ENOSYS, Signs { seccomp: one("2"), ..open.clone() }, ["seccomp", "seccomp=unconfined"]),
            (Errno::ENOSPC, Signs { most: one("0"), ..open.clone() }, ["max_user_namespaces is 0", "=10000"]),
            (Errno::ENOSPC, open.clone(), ["the limit is reached", "further out too"]),
            (Errno::EINVAL, open.clone(), ["the kernel has none", "CONFIG_USER_NS"]),
            (Errno::EPERM, open, ["security module", "run it as root"]),
            (Errno::EPERM, Signs::default(), ["security module", "run it as root"]),
        ];
        for (errno, signs, words) in cases {
            let said = named(errno, signs.clone());
            let holds = said.iter().zip(words).all(|(said, word)| said.contains(word));
            assert!(holds, "{errno} {signs:?}: {said:?}");
        }
    }
}
