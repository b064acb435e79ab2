//! Where userspace tunnels are configured: a socket each, in a directory that only its owner can enter, and a
//! symbolic link to it where wg(8) looks (`/var/run/wireguard/NAME.sock`).
//!
//! A path in a socket address has 107 bytes at most (unix(7)), which a network and an interface with long names
//! exceed; so sockets are reached by way of a descriptor of their directory.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::model::{DomainId, DomainName, End, InterfaceName};
use crate::state::Directories;

/// Where wg(8) looks for userspace tunnels.
const PUBLIC: &str = "/var/run/wireguard";

/// The sockets of one network's userspace tunnels.
#[derive(Clone, Debug)]
pub struct TunnelSockets {
    directory: PathBuf,
}

impl TunnelSockets {
    /// Those below these directories.
    pub fn of(directories: &Directories) -> Self {
        Self { directory: directories.runtime.join("wireguard") }
    }

    /// Where the sockets of this domain are: what `rdom exec` shows as /var/run/wireguard.
    pub fn directory(&self, domain: DomainId) -> PathBuf {
        self.directory.join(domain.to_string())
    }

    /// The socket of this tunnel.
    pub fn path(&self, at: &End) -> PathBuf {
        self.directory(at.domain).join(file_name(&at.interface))
    }

    /// Connects to the engine of this tunnel. `ConnectionRefused` and `NotFound` say that there is none.
    pub fn connect(&self, at: &End) -> io::Result<UnixStream> {
        let directory = File::open(self.directory(at.domain))?;
        UnixStream::connect(through(&directory, &at.interface))
    }

    /// Makes the socket of this tunnel, in place of one that an engine left behind.
    pub(super) fn listen(&self, at: &End) -> io::Result<UnixListener> {
        let path = self.directory(at.domain);
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let directory = File::open(&path)?;
        let socket = through(&directory, &at.interface);
        remove_if_there(&socket)?;
        let listener = UnixListener::bind(&socket)?;
        fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// Shows the socket where wg(8) looks: as `NAME.sock`, or as `DOMAIN.NAME.sock` where that is taken.
    pub(super) fn publish(&self, at: &End, domain: &DomainName, name: NameIs) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o755).create(PUBLIC)?;
        let socket = self.path(at);
        let [plain, long] = public_paths(at, domain);
        let plain_is_free = matches!(name, NameIs::Free) && show(&socket, &plain)?;
        if plain_is_free {
            return Ok(plain);
        }
        match show(&socket, &long)? {
            true => Ok(long),
            false => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        }
    }

    /// Removes the socket of this tunnel, and the links to it.
    pub(super) fn withdraw(&self, at: &End, domain: &DomainName) -> io::Result<()> {
        let socket = self.path(at);
        for public in public_paths(at, domain) {
            if leads_to(&public, &socket) {
                remove_if_there(&public)?;
            }
        }
        remove_if_there(&socket)
    }
}

/// Whether another interface that wg(8) would find by this name is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameIs {
    Free,
    Taken,
}

fn file_name(interface: &InterfaceName) -> String {
    format!("{interface}.sock")
}

fn through(directory: &File, interface: &InterfaceName) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(file_name(interface))
}

/// By which wg(8) finds the engine of this tunnel, if it does: the usual one, and one that has the domain's name too.
pub(super) fn public_paths(at: &End, domain: &DomainName) -> [PathBuf; 2] {
    let plain = file_name(&at.interface);
    let long = format!("{domain}.{plain}");
    [Path::new(PUBLIC).join(plain), Path::new(PUBLIC).join(long)]
}

/// Makes the link unless the name is somebody else's.
fn show(socket: &Path, public: &Path) -> io::Result<bool> {
    match symlink(socket, public) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(leads_to(public, socket)),
        result => result.map(|()| true),
    }
}

fn leads_to(link: &Path, socket: &Path) -> bool {
    fs::read_link(link).is_ok_and(|target| target == socket)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetworkName;
    use crate::state::Roots;

    #[test]
    fn a_socket_with_a_long_path_is_heard() {
        let root = tempfile::tempdir().unwrap();
        let network = NetworkName::new("n".repeat(64)).unwrap();
        let roots = Roots { state: root.path().into(), runtime: root.path().into() };
        let sockets = TunnelSockets::of(&roots.of(&network));
        let at = End {
            domain: DomainId::new(u32::MAX).unwrap(),
            interface: InterfaceName::new("abcdefghijklmno").unwrap(),
        };
        assert!(sockets.path(&at).as_os_str().len() > 108);
        let listener = sockets.listen(&at).unwrap();
        sockets.connect(&at).unwrap();
        listener.accept().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&sockets.path(&at)), mode(&sockets.directory(at.domain))), (0o600, 0o700));
        drop(listener);
        assert_eq!(sockets.connect(&at).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        sockets.listen(&at).unwrap();
    }

    #[test]
    fn a_name_of_somebody_elses_is_not_taken() {
        let root = tempfile::tempdir().unwrap();
        let (ours, public) = (root.path().join("ours"), root.path().join("wg0.sock"));
        assert!(show(&ours, &public).unwrap());
        assert!(show(&ours, &public).unwrap(), "again");
        assert!(!show(&root.path().join("other"), &public).unwrap());
    }
}
