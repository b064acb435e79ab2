//! Names: what a program in a domain sees of the files about them, and the ways by which a lookup leaves a domain.
//!
//! A network namespace keeps packets in. It does not keep in what goes by a Unix socket in the file system, and so a C
//! library may have a daemon of the default domain ask for it: nscd(8), systemd-resolved by its varlink socket
//! (nss-resolve(8)) or by the system's D-Bus, avahi by its socket (nss-mdns). Directories are covered and not sockets:
//! a daemon that is started anew makes another socket. resolved's stub at 127.0.0.53 is out of reach anyway.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// Who may answer a program in a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookups {
    /// Daemons of the default domain as well.
    Host,
    /// Nobody outside; the files of this directory, if it is there, are shown in /etc.
    Inside(PathBuf),
}

/// Where the sockets of such daemons are, below /run.
const DAEMONS: [&str; 4] = ["nscd", "dbus", "systemd/resolve", "avahi-daemon"];

impl Lookups {
    /// What the files of a domain say that are at this place: an empty file lets the host's daemons in.
    pub fn at(place: PathBuf) -> Self {
        if place.is_file() { Lookups::Host } else { Lookups::Inside(place) }
    }
}

/// Closes the ways out. The calling process must have a mount namespace of its own.
pub(super) fn close() -> Result<(), Errno> {
    let mut bases = vec![Path::new("/run")];
    if !Path::new("/var/run").is_symlink() {
        bases.push(Path::new("/var/run"));
    }
    let places = bases.iter().flat_map(|base| DAEMONS.map(|daemon| base.join(daemon)));
    places.filter(|place| place.is_dir()).try_for_each(|place| cover(&place))
}

/// Covers a directory with one that has its files and nothing else of it: /etc/resolv.conf may point at one.
fn cover(place: &Path) -> Result<(), Errno> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let files: Vec<_> = files.filter_map(|file| Some((file.path(), fs::read(file.path()).ok()?))).collect();
    let own = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), place, Some("tmpfs"), own, Some("mode=0755"))?;
    for (path, text) in files {
        // What cannot be written is missing in there, which lets nobody out.
        let _ = fs::write(path, text);
    }
    let flags = own | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, place, None::<&str>, flags, None::<&str>)
}

/// Shows the domain's own files in /etc. One that is missing there cannot be covered, and is an error.
pub(super) fn show(files: &Path) -> Result<(), Errno> {
    let Ok(entries) = fs::read_dir(files) else { return Ok(()) };
    for entry in entries.flatten() {
        let place = Path::new("/etc").join(entry.file_name());
        mount(Some(&entry.path()), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    Ok(())
}
