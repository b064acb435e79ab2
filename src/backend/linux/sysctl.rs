//! Sysctls of a domain: files below /proc/sys/net, which shows each thread those of its own namespace
//! (`net_ctl_header_lookup`, net/sysctl_net.c), so they are opened on a thread inside the domain.
//!
//! Values are compared as people write them: blanks of any kind and number between numbers are one space.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::explain::Doing;
use super::namespace::Namespace;
use crate::backend::BackendError;
use crate::model::{DomainId, SysctlName};

/// What it is now; `None` if this kernel or this namespace has no such sysctl.
pub(super) fn read(
    namespace: &Namespace,
    domain: DomainId,
    name: &SysctlName,
) -> Result<Option<String>, BackendError> {
    let path = path(name);
    let what = || format!("read sysctl {name} of domain {domain}");
    match namespace.run(|| fs::read_to_string(&path)).doing(what)? {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(|value| Some(plain(&value))).doing(what),
    }
}

/// Sets it.
pub(super) fn write(
    namespace: &Namespace,
    domain: DomainId,
    name: &SysctlName,
    value: &str,
) -> Result<(), BackendError> {
    let path = path(name);
    let what = || format!("set sysctl {name} of domain {domain} to {value}");
    namespace.run(|| put(&path, value)).doing(what)?.doing_or(what, |errno| advice(errno, value))
}

fn path(name: &SysctlName) -> PathBuf {
    Path::new("/proc/sys").join(name.path())
}

/// As `fs::write`, but never tries to make the file.
pub(super) fn put(path: &Path, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

pub(super) fn plain(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn advice(errno: Errno, value: &str) -> Option<String> {
    match errno {
        Errno::EROFS => Some(
            "/proc/sys is mounted read-only here, as in most containers: start the container with a writable \
             one, or leave `sysctls` out"
                .to_owned(),
        ),
        Errno::ENOENT => {
            Some("this kernel has no such sysctl, or none of that name in a namespace".to_owned())
        }
        Errno::EINVAL => Some(format!("the sysctl does not take `{value}`")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_as_people_write_them() {
        assert_eq!(plain("4096\t131072\t6291456\n"), "4096 131072 6291456");
        assert_eq!(plain("1\n"), "1");
    }

    #[test]
    fn a_component_with_a_dot_is_one_directory() {
        let name = SysctlName::new("net.ipv4.conf.eth0/7.rp_filter").unwrap();
        assert_eq!(path(&name), Path::new("/proc/sys/net/ipv4/conf/eth0.7/rp_filter"));
    }
}
