//! The mounts of a private copy: a /run of its own that shows the old one but for what belongs to networks, and
//! /proc and /sys of its own namespaces.

use std::fs::{self, DirEntry, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use tracing::debug;

/// What of the old /run must not be seen in a copy: it speaks of other network namespaces.
const HIDDEN: [&str; 4] = ["netns", "wireguard", "rdom", "rdom.state"];

/// Makes the mounts. /proc and /sys may be refused (in a container that masks parts of them): the old ones stay.
pub(super) fn prepare() -> io::Result<()> {
    let nothing = None::<&str>;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    replace_run()?;
    for (kind, place) in [("sysfs", "/sys"), ("proc", "/proc")] {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        if let Err(errno) = mount(Some(kind), place, Some(kind), flags, nothing) {
            debug!(place, error = errno.desc(), "not mounted");
        }
    }
    Ok(())
}

fn replace_run() -> io::Result<()> {
    let old: OwnedFd = open("/run", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let old_path = PathBuf::from(format!("/proc/self/fd/{}", old.as_raw_fd()));
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
    let nothing = None::<&str>;
    mount(Some(&entry.path()), place, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)?;
    Ok(())
}
