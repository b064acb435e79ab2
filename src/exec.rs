//! A program becomes a citizen of a domain: same process, terminal, signals and status, as with `route -T N exec`.
//!
//! Its network namespace is the domain's. In a mount namespace of its own it sees the domain's /sys,
//! /etc/netns/NAME/* over /etc as under ip-netns(8), what the file says of names over both, and the domain's own
//! /var/run/wireguard; no daemon of the default domain looks names up for it.
//! Where the domain has no namespace of its own, and in a further rtable, it joins a control group as well.

mod bpf;
pub mod group;
mod lookups;
pub mod ping;

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::execvp;
use thiserror::Error;
use tracing::debug;

use crate::model::{DomainId, NetworkName};
use crate::probe::Unsupported;
use group::{Member, Membership};
pub use lookups::Lookups;

/// Where a program is to live.
#[derive(Debug)]
pub struct Place {
    /// The domain's name, for /etc/netns and for messages.
    pub name: String,
    /// Its network namespace; none for the one that the caller is in.
    pub namespace: Option<OwnedFd>,
    /// The directory that it sees as /var/run/wireguard.
    pub wireguard: PathBuf,
    /// The control group that it joins, where the namespace alone does not make it a citizen.
    pub membership: Option<Membership>,
    /// Who may look names up for it.
    pub lookups: Lookups,
}

/// Why a program did not become one.
#[derive(Debug, Error)]
pub enum ExecError {
    /// No such program.
    #[error("{}: {}", program.display(), errno.desc())]
    NotFound {
        /// What was looked for.
        program: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A program that cannot be run.
    #[error("{}: {}", program.display(), errno.desc())]
    NotRunnable {
        /// What was found.
        program: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The domain could not be entered.
    #[error("cannot enter domain {domain}: {action}: {}", errno.desc())]
    Entry {
        /// The domain.
        domain: String,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The domain cannot be entered here.
    #[error("cannot enter domain {domain}: {source}")]
    Unsupported {
        /// The domain.
        domain: String,
        /// What is missing.
        source: Unsupported,
    },
}

impl ExecError {
    /// The exit status that route(8) has for it: 127, 126 or 1; 4 for what is not permitted or not supported here.
    pub fn exit_status(&self) -> u8 {
        match self {
            ExecError::NotFound { .. } => 127,
            ExecError::NotRunnable { .. } => 126,
            ExecError::Entry { .. } => 1,
            ExecError::Unsupported { .. } => 4,
        }
    }

    /// What would make it possible, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            ExecError::Unsupported { source, .. } => Some(&source.remedy),
            ExecError::NotFound { .. } | ExecError::NotRunnable { .. } | ExecError::Entry { .. } => None,
        }
    }
}

/// Turns this process into `program` in that place. Returns only if that failed.
pub fn replace(place: &Place, program: &OsStr, arguments: &[OsString]) -> Result<Infallible, ExecError> {
    enter(place)?;
    become_program(program, arguments)
}

/// Tells the program that this process is about to become where it is, by its environment: `RDOM_NETWORK`,
/// `RDOM_DOMAIN` and `RDOM_DOMAIN_NAME`. The process must have one thread.
pub fn announce(network: &NetworkName, domain: DomainId, name: &str) {
    // Of this process only, which has one thread and is about to become the command.
    unsafe {
        std::env::set_var("RDOM_NETWORK", network.as_str());
        std::env::set_var("RDOM_DOMAIN", domain.to_string());
        std::env::set_var("RDOM_DOMAIN_NAME", name);
    }
}

/// Turns this process into `program`, looked for in PATH, where it is. Returns only if that failed.
pub fn become_program(program: &OsStr, arguments: &[OsString]) -> Result<Infallible, ExecError> {
    let missing = || ExecError::NotFound { program: program.into(), errno: Errno::ENOENT };
    let path = CString::new(program.as_bytes()).map_err(|_| missing())?;
    let words = std::iter::once(program).chain(arguments.iter().map(OsString::as_os_str));
    let words = words.map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>();
    match execvp(&path, &words.map_err(|_| missing())?) {
        Ok(never) => Ok(never),
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => {
            Err(ExecError::NotFound { program: program.into(), errno })
        }
        Err(errno) => Err(ExecError::NotRunnable { program: program.into(), errno }),
    }
}

/// Makes the calling process, which must have one thread, a citizen of the place.
pub fn enter(place: &Place) -> Result<(), ExecError> {
    if let Some(membership) = &place.membership {
        let trouble = |source| ExecError::Unsupported { domain: place.name.clone(), source };
        group::admit(membership, Member::Caller).map_err(trouble)?;
    }
    let trouble = |action| move |errno| ExecError::Entry { domain: place.name.clone(), action, errno };
    match (&place.namespace, &place.lookups) {
        (None, Lookups::Host) => return Ok(()),
        (None, Lookups::Inside(_)) => {}
        (Some(namespace), _) => setns(namespace, CloneFlags::CLONE_NEWNET).map_err(trouble("setns"))?,
    }
    unshare(CloneFlags::CLONE_NEWNS).map_err(trouble("unshare"))?;
    let nothing = None::<&str>;
    // Mounts made later on the host shall be seen in here, those made in here not on the host.
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_SLAVE, nothing).map_err(trouble("mount"))?;
    if place.namespace.is_some() {
        show_sys();
        show(&place.wireguard, Path::new("/run/wireguard"));
    }
    show_etc(&place.name);
    if let Lookups::Inside(files) = &place.lookups {
        lookups::close().map_err(trouble("close the ways out of name lookups"))?;
        lookups::show(files).map_err(trouble("show its resolv.conf and hosts in /etc"))?;
    }
    Ok(())
}

/// /sys of this namespace, with the control groups and BPF objects that the old one shows: a fresh one has neither.
/// Where the old one is read-only it is too.
fn show_sys() {
    let was_read_only = statvfs("/sys").is_ok_and(|old| old.flags().contains(FsFlags::ST_RDONLY));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let kept = ["/sys/fs/cgroup", "/sys/fs/bpf"].map(|path| (path, open(path, flags, Mode::empty())));
    if let Err(errno) = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>) {
        debug!(error = errno.desc(), "the /sys of the default domain stays");
        return;
    }
    if was_read_only {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        let _ = mount(None::<&str>, "/sys", None::<&str>, flags, None::<&str>);
    }
    for (path, old) in kept {
        if let Ok(old) = old {
            show(&PathBuf::from(format!("/proc/self/fd/{}", old.as_raw_fd())), Path::new(path));
        }
    }
}

fn show_etc(name: &str) {
    let Ok(entries) = Path::new("/etc/netns").join(name).read_dir() else { return };
    for entry in entries.flatten() {
        show(&entry.path(), &Path::new("/etc").join(entry.file_name()));
    }
}

/// Binds one file or directory over another, if there is one.
fn show(source: &Path, place: &Path) {
    if !source.exists() {
        return;
    }
    let nothing = None::<&str>;
    if let Err(errno) = mount(Some(source), place, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing) {
        debug!(source = %source.display(), place = %place.display(), error = errno.desc(), "not shown");
    }
}

/// How a child ended, as a shell tells it: its status, or 128 + n if signal n ended it.
pub fn status_of(child: ExitStatus) -> u8 {
    let code = child.code().or_else(|| child.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
