//! The mounts of a private copy: a /run of its own that shows the old one but for what belongs to networks, and
//! /proc and /sys of its own namespaces. Of those the real root's copy can write what is its network's alone.

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use tracing::debug;

use super::users::Root;

/// What of the old /run must not be seen in a copy: it speaks of other network namespaces.
const HIDDEN: [&str; 4] = ["netns", "wireguard", "rdom", "rdom.state"];

/// What the kernel has once for the whole machine.
const MACHINE: [&str; 4] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/sys"];
/// What of it each network namespace has of its own, or shows its own part of.
const NETWORK: [&str; 2] = ["/proc/sys/net", "/sys/devices/virtual/net"];

/// Makes the mounts. /proc and /sys may be refused (in a container that masks parts of them): the old ones stay.
/// `group` is the control group that is seen as the root of all.
pub(super) fn prepare(root: Root, group: Option<&Path>) -> io::Result<()> {
    let group = group.map(directory).transpose()?;
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    replace_run()?;
    for (kind, place) in [("sysfs", "/sys"), ("proc", "/proc")] {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(errno) = mount(Some(kind), place, Some(kind), flags, nothing) {
            debug!(place, error = errno.desc(), "not mounted");
        }
    }
    match root {
        Root::OfTheMachine => protect_machine(group.as_ref()),
        Root::OfANamespace => Ok(()),
    }
}

/// The order matters: a mount below a read-only one is made before, or made writable after.
fn protect_machine(group: Option<&OwnedFd>) -> io::Result<()> {
    if let Some(group) = group {
        bind(&path_of(group), Path::new("/sys/fs/cgroup"))?;
    }
    let own = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let places = MACHINE.map(|place| (place, own | MsFlags::MS_RDONLY));
    let places = places.into_iter().chain(NETWORK.map(|place| (place, own)));
    for (place, flags) in places.filter(|(place, _)| Path::new(place).exists()) {
        bind(Path::new(place), Path::new(place))?;
        let nothing = None::<&str>;
        mount(nothing, place, nothing, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags, nothing)?;
    }
    Ok(())
}

fn directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// What is open, as a path: valid in whatever namespace of processes /proc is of.
fn path_of(opened: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()))
}

fn bind(source: &Path, place: &Path) -> io::Result<()> {
    let nothing = None::<&str>;
    mount(Some(source), place, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)?;
    Ok(())
}

/// An image of a container may be without a /run.
fn replace_run() -> io::Result<()> {
    fs::create_dir_all("/run").map_err(|error| io::Error::new(error.kind(), format!("/run: {error}")))?;
    let old = directory(Path::new("/run"))?;
    let old_path = path_of(&old);
    let entries: Vec<DirEntry> = fs::read_dir(&old_path)?.collect::<Result<_, _>>()?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), flags, Some("mode=0755"))?;
    for entry in entries {
        let name = entry.file_name();
        if !HIDDEN.iter().any(|hidden| name == *hidden)
            && let Err(error) = bind_back(&entry, &Path::new("/run").join(&name))
        {
            debug!(entry = ?name, %error, "not seen in the private copy");
        }
    }
    Ok(())
}

fn bind_back(entry: &DirEntry, place: &Path) -> io::Result<()> {
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        return symlink(fs::read_link(entry.path())?, place);
    }
    if kind.is_dir() {
        fs::create_dir(place)?;
    } else {
        File::create(place)?;
    }
    bind(&entry.path(), place)
}
