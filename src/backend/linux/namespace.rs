//! Network namespaces: found by name, told apart by identity, entered by threads of their own.
//!
//! A name is a bind mount of an nsfs file below /run/netns, as ip-netns(8) makes them. A name may be reused; the
//! device and inode of the nsfs file tell whether it is still the same namespace. No thread that outlives a call
//! ever changes its namespace: [`visit`] starts one, lets it setns(2) as often as it likes, and ends it.

mod names;

pub use names::{Names, remove_names, remove_unused_name};

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use thiserror::Error;

use crate::model::DomainName;
use crate::probe::Unsupported;

/// Where names of namespaces are (ip-netns(8)).
pub const DIRECTORY: &str = "/run/netns";

nix::ioctl_none_bad!(
    /// The `CLONE_NEW*` number of a namespace's type (linux/nsfs.h).
    namespace_type,
    nix::request_code_none!(0xb7, 0x3)
);

/// What went wrong with a namespace.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// Nothing has this name.
    #[error("no namespace is called `{0}`")]
    Absent(DomainName),
    /// Something has this name already.
    #[error("a namespace called `{0}` exists already")]
    Exists(DomainName),
    /// A file without a namespace mounted on it, or a namespace of another type.
    #[error("{} is not a network namespace", .0.display())]
    NotANamespace(PathBuf),
    /// There is no place for names.
    #[error("cannot make {DIRECTORY} a shared mount")]
    Directory(#[source] netns_rs::Error),
    /// None can be made here.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// It could not be given its name.
    #[error("cannot make namespace `{name}`")]
    Create {
        /// Its name.
        name: DomainName,
        /// Why.
        source: io::Error,
    },
    /// Its name could not be removed.
    #[error("cannot remove namespace `{name}`")]
    Remove {
        /// Its name.
        name: DomainName,
        /// Why.
        source: io::Error,
    },
    /// A file of it could not be opened or asked.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread could not enter it.
    #[error("cannot enter the namespace")]
    Enter(#[source] Errno),
    /// No thread could be had.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// What was to be done inside it panicked.
    #[error("panic inside a namespace: {0}")]
    Panic(String),
}

impl NamespaceError {
    /// The kernel's error number, if it has one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            NamespaceError::Enter(errno) => Some(*errno),
            NamespaceError::Create { source, .. }
            | NamespaceError::Remove { source, .. }
            | NamespaceError::File { source, .. }
            | NamespaceError::Thread(source) => source.raw_os_error().map(Errno::from_raw),
            NamespaceError::Directory(source) => errno_of(source),
            NamespaceError::Absent(_)
            | NamespaceError::Exists(_)
            | NamespaceError::Unsupported(_)
            | NamespaceError::NotANamespace(_)
            | NamespaceError::Panic(_) => None,
        }
    }
}

/// Device and inode of a namespace: equal for two files exactly if they are the same namespace.
pub type Identity = (u64, u64);

/// An open network namespace. It lives at least as long as this.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    identity: Identity,
}

impl Namespace {
    /// The calling thread's.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open_file(Path::new("/proc/thread-self/ns/net"))
    }

    /// The one of this name.
    pub fn open(name: &DomainName) -> Result<Self, NamespaceError> {
        match Self::open_file(&path(name)) {
            Err(NamespaceError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(NamespaceError::Absent(name.clone()))
            }
            result => result,
        }
    }

    /// The one that this file is.
    pub fn open_file(path: &Path) -> Result<Self, NamespaceError> {
        let failed = |source| NamespaceError::File { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
        if !is_network_namespace(file.as_fd()) {
            return Err(NamespaceError::NotANamespace(path.to_owned()));
        }
        let metadata = file.metadata().map_err(failed)?;
        Ok(Self { fd: file.into(), identity: (metadata.dev(), metadata.ino()) })
    }

    /// Whether this is its name.
    pub fn is_called(&self, name: &DomainName) -> Result<bool, NamespaceError> {
        let path = path(name);
        match path.metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => found
                .map(|found| (found.dev(), found.ino()) == self.identity)
                .map_err(|source| NamespaceError::File { path, source }),
        }
    }

    /// The same once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, identity: self.identity })
    }

    /// Its identity.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Its descriptor, for setns(2) or `IFLA_NET_NS_FD`.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Its lock, which every network takes for changes that two must not make at the same time.
    pub(super) fn lock(&self) -> Result<Flock<File>, NamespaceError> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()));
        let failed = |source| NamespaceError::File { path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
    }

    /// Runs this inside it: see [`in_namespace`].
    pub fn run<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        in_namespace(&self.fd, inside)
    }
}

impl From<Namespace> for OwnedFd {
    fn from(namespace: Namespace) -> Self {
        namespace.fd
    }
}

/// Where this name is.
pub fn path(name: &DomainName) -> PathBuf {
    Path::new(DIRECTORY).join(name.as_str())
}

/// Runs this on a thread of its own inside the namespace; a panic in it becomes an error.
///
/// What it opens (sockets, a TUN) belongs to the namespace and may be used from any thread afterwards.
pub fn in_namespace<T: Send>(
    namespace: &OwnedFd,
    inside: impl FnOnce() -> T + Send,
) -> Result<T, NamespaceError> {
    visit(|visitor| visitor.enter(namespace).map(|()| inside()))?
}

/// A thread that may enter one namespace after the other, for it ends with its visit.
#[derive(Debug)]
pub struct Visitor {
    /// Nobody takes it to another thread.
    _here: PhantomData<*const ()>,
}

impl Visitor {
    /// Goes into this namespace, from wherever it is.
    pub fn enter(&self, namespace: &OwnedFd) -> Result<(), NamespaceError> {
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(NamespaceError::Enter)
    }
}

/// Runs this on a thread of its own that may enter namespaces; a panic in it becomes an error.
pub fn visit<T: Send>(tour: impl FnOnce(&Visitor) -> T + Send) -> Result<T, NamespaceError> {
    visit_while(tour, || ()).map(|(found, ())| found)
}

/// The same, while the calling thread does something else.
pub fn visit_while<T: Send, M>(
    tour: impl FnOnce(&Visitor) -> T + Send,
    meanwhile: impl FnOnce() -> M,
) -> Result<(T, M), NamespaceError> {
    let tour = || {
        let visitor = Visitor { _here: PhantomData };
        catch_unwind(AssertUnwindSafe(|| tour(&visitor)))
            .map_err(|panic| NamespaceError::Panic(words(&*panic)))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, tour);
        let thread = thread.map_err(NamespaceError::Thread)?;
        let done = meanwhile();
        let found = thread.join().unwrap_or_else(|panic| Err(NamespaceError::Panic(words(&*panic))))?;
        Ok((found, done))
    })
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".to_owned())
}

fn is_network_namespace(fd: BorrowedFd<'_>) -> bool {
    let nsfs = fstatfs(fd).is_ok_and(|of| of.filesystem_type() == NSFS_MAGIC);
    // SAFETY: NS_GET_NSTYPE takes no argument and changes nothing.
    nsfs && unsafe { namespace_type(fd.as_raw_fd()) } == Ok(libc::CLONE_NEWNET)
}

fn errno_of(error: &netns_rs::Error) -> Option<Errno> {
    use netns_rs::Error as E;
    match error {
        E::CreateNsDirError(error) | E::CreateNsError(error) | E::OpenNsError(_, error) => {
            error.raw_os_error().map(Errno::from_raw)
        }
        E::CloseNsError(errno)
        | E::MountError(_, errno)
        | E::UnmountError(_, errno)
        | E::UnshareError(errno)
        | E::SetnsError(errno) => Some(Errno::from_raw(*errno as i32)),
        E::JoinThreadError(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_namespace_is_one_and_stays_the_same() {
        let here = Namespace::current().unwrap();
        assert_eq!(here.identity(), Namespace::current().unwrap().identity());
    }

    #[test]
    fn files_that_are_no_network_namespaces_are_refused() {
        for path in ["/proc/self/status", "/proc/self/ns/mnt"] {
            let error = Namespace::open_file(Path::new(path)).unwrap_err();
            assert_eq!(error.to_string(), format!("{path} is not a network namespace"));
        }
    }

    #[test]
    fn an_absent_name_is_said_so() {
        let error = Namespace::open(&DomainName::new("surely-not-there").unwrap()).unwrap_err();
        assert!(matches!(error, NamespaceError::Absent(_)), "{error}");
    }
}
