//! Names of namespaces: given and taken away as ip-netns(8) does it.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::super::explain::Doing;
use super::{DIRECTORY, Namespace, NamespaceError, Visitor, path, words};
use crate::backend::BackendError;
use crate::model::DomainName;
use crate::probe::enter_new_namespace;

/// How many threads take names away, and how many each at least: an unmounting waits until nobody looks at the mount any
/// more (RCU), and many wait as long as one.
const THREADS: usize = 32;
const SHARE: usize = 4;

/// Gives names to new namespaces, one after the other, and from the first on lets nobody else do so.
#[derive(Debug, Default)]
pub struct Names {
    lock: Option<Flock<File>>,
}

impl Names {
    /// A new namespace of this name, which must be free; the visitor is in there from then on. Nothing is in it but `lo`,
    /// down and bare.
    pub fn create(&mut self, _visitor: &Visitor, name: &DomainName) -> Result<Namespace, NamespaceError> {
        if self.lock.is_none() {
            self.lock = Some(lock_directory()?);
            netns_rs::Env::init(&Directory).map_err(NamespaceError::Directory)?;
        }
        let (path, failed) = (path(name), |source| NamespaceError::Create { name: name.clone(), source });
        match File::create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(NamespaceError::Exists(name.clone()));
            }
            result => result.map_err(failed)?,
        };
        let mounted = enter_new_namespace()
            .map_err(NamespaceError::from)
            .and_then(|()| mount_own(&path).map_err(failed));
        mounted.inspect_err(|_| drop(fs::remove_file(&path)))?;
        Namespace::open(name)
    }
}

/// Takes names away, many at once, and does this with what belongs to each when it is gone. A namespace itself goes with
/// its last descriptor and process.
pub fn remove_names<T: Send>(
    mut names: Vec<(DomainName, T)>,
    then: impl Fn(&DomainName, T) -> Result<(), BackendError> + Sync,
) -> Result<(), BackendError> {
    let what = || "delete domains".to_owned();
    let _lock = lock_directory().doing(what)?;
    let remove = |share: Vec<(DomainName, T)>| {
        let remove = |(name, its)| remove_name(&name).doing(what).and_then(|()| then(&name, its));
        share.into_iter().try_for_each(remove)
    };
    let share = names.len().div_ceil(THREADS).max(SHARE);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        while names.len() > share {
            let share = names.split_off(names.len() - share);
            let thread = thread::Builder::new().name("unmount".to_owned());
            let thread = thread.spawn_scoped(scope, || remove(share));
            threads.push(thread.map_err(NamespaceError::Thread).doing(what)?);
        }
        remove(names)?;
        threads.into_iter().try_for_each(|thread| {
            let panicked =
                |panic: Box<dyn Any + Send>| Err(NamespaceError::Panic(words(&*panic))).doing(what);
            thread.join().unwrap_or_else(panicked)
        })
    })
}

fn remove_name(name: &DomainName) -> Result<(), NamespaceError> {
    let (path, failed) = (path(name), |source| NamespaceError::Remove { name: name.clone(), source });
    umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| failed(errno.into()))?;
    fs::remove_file(path).map_err(failed)
}

/// Takes a name away on which nothing is mounted, as a crash leaves one.
pub fn remove_unused_name(name: &DomainName) -> Result<(), NamespaceError> {
    let _lock = lock_directory()?;
    fs::remove_file(path(name)).map_err(|source| NamespaceError::Remove { name: name.clone(), source })
}

/// Mounts the calling thread's namespace on a file. The thread is the one that /proc calls so: in a private copy that got
/// no /proc of its own its number is another one there.
fn mount_own(path: &Path) -> io::Result<()> {
    Ok(mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// /run/netns for netns-rs, whose own default goes by /var/run.
#[derive(Clone, Copy, Debug)]
struct Directory;

impl netns_rs::Env for Directory {
    fn persist_dir(&self) -> PathBuf {
        PathBuf::from(DIRECTORY)
    }
}

/// The lock that ip-netns(8) takes too while it makes the directory a shared mount and adds to it.
fn lock_directory() -> Result<Flock<File>, NamespaceError> {
    let failed = |source| NamespaceError::File { path: DIRECTORY.into(), source };
    fs::create_dir_all(DIRECTORY).map_err(failed)?;
    let directory = File::open(DIRECTORY).map_err(failed)?;
    Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
}
