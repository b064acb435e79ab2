//! The place of a program on Linux: namespaces and a control group.
//!
//! Its network namespace is the domain's. In a mount namespace of its own it sees the domain's /sys,
//! /etc/netns/NAME/* over /etc as under ip-netns(8), what the file says of names over both, and the domain's own
//! /var/run/wireguard; no daemon of the default domain looks names up for it.
//! Where the domain has no namespace of its own, and in a further rtable, it joins a control group as well.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use tracing::debug;

use super::group::{self, Member, Membership};
use super::lookups::{self, Lookups};
use super::{ExecError, become_program};

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

/// Turns this process into `program` in that place. Returns only if that failed.
pub fn replace(place: &Place, program: &OsStr, arguments: &[OsString]) -> Result<Infallible, ExecError> {
    enter(place)?;
    become_program(program, arguments)
}

/// Makes the calling process, which must have one thread, a citizen of the place; or the calling thread alone, where a
/// namespace is all it takes, that is without a membership.
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
