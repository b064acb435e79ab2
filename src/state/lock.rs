//! One supervisor a network.
//!
//! The lock is the kernel's (flock(2)): it ends with its holder, however that ends. The file says who holds it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;
use thiserror::Error;

use super::directories::Directories;
use super::file::{StateError, make_private_directory};

/// The right to change a network, held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
}

/// Why a network cannot be changed by this process.
#[derive(Debug, Error)]
pub enum LockError {
    /// Somebody else is at it: this process, by its id, where it could be told.
    #[error("held by process {}", .0.map_or("unknown".to_owned(), |pid| pid.to_string()))]
    Held(Option<i32>),
    /// The file could not be made or locked.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Lock {
    /// Takes the lock, or says at once who has it.
    pub fn take(directories: &Directories) -> Result<Self, LockError> {
        make_private_directory(&directories.runtime)?;
        let path = directories.runtime.join("lock");
        let trouble = |source: io::Error| StateError::new("lock", &path, source);
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let file = options.clone().custom_flags(O_NOFOLLOW).open(&path).map_err(trouble)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => {
                let mut lock = Self { file };
                lock.sign().map_err(trouble)?;
                Ok(lock)
            }
            Err((mut file, Errno::EWOULDBLOCK)) => Err(LockError::Held(signature(&mut file))),
            Err((_, errno)) => Err(trouble(errno.into()).into()),
        }
    }

    /// Writes down who holds it: after a fork, the child does.
    pub fn sign(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        writeln!(self.file, "{}", std::process::id())
    }

    /// The process that holds the lock of a network, if one does.
    pub fn holder(directories: &Directories) -> Option<i32> {
        let file =
            OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(directories.runtime.join("lock"));
        match Flock::lock(file.ok()?, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err((mut file, _)) => signature(&mut file),
        }
    }
}

fn signature(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_hears_who_has_it() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("s"), runtime: root.path().join("r") };
        let first = Lock::take(&directories).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();

        let second = Lock::take(&directories);
        assert!(matches!(second, Err(LockError::Held(Some(pid))) if pid == own));
        assert_eq!(Lock::holder(&directories), Some(own));

        drop(first);
        assert_eq!(Lock::holder(&directories), None);
        Lock::take(&directories).unwrap();
    }
}
