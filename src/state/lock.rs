//! One supervisor a network.
//!
//! The lock is the kernel's (flock(2)): it ends with its holder, however that ends. The file says who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::O_NOFOLLOW;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
    /// How long a process may take to die, and keep what it holds.
    pub const DYING: Duration = Duration::from_secs(1);

    /// Takes the lock, or says at once who has it; one that was killed a moment ago is given the time to end.
    pub fn take(directories: &Directories) -> Result<Self, LockError> {
        let deadline = Instant::now() + Self::DYING;
        loop {
            match Self::take_at_once(directories) {
                Err(LockError::Held(Some(pid))) if is_dying(pid) && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                taken => return taken,
            }
        }
    }

    fn take_at_once(directories: &Directories) -> Result<Self, LockError> {
        let path = directories.runtime.join("lock");
        let trouble = |source: io::Error| StateError::new("lock", &path, source);
        loop {
            make_private_directory(&directories.runtime)?;
            match lock(open(&path).map_err(trouble)?, &path) {
                Ok(Some(file)) => {
                    let mut lock = Self { file };
                    lock.sign().map_err(trouble)?;
                    return Ok(lock);
                }
                Ok(None) => {}
                Err((mut file, Errno::EWOULDBLOCK)) => return Err(LockError::Held(signature(&mut file))),
                Err((_, errno)) => return Err(trouble(errno.into()).into()),
            }
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

fn open(path: &Path) -> io::Result<File> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    options.clone().custom_flags(O_NOFOLLOW).open(path)
}

/// Locks a file that was opened by this path; nothing if that has to be tried again.
fn lock(file: File, path: &Path) -> Result<Option<Flock<File>>, (File, Errno)> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        // Who takes a network down removes the file before letting go of it: whoever had opened it holds nothing.
        Ok(file) => Ok(Some(file).filter(|file| is_at(file, path))),
        Err((file, Errno::EWOULDBLOCK)) if is_looked_at(&file) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// Whether a file is the one that is found by this path.
fn is_at(file: &File, path: &Path) -> bool {
    let found = file.metadata().and_then(|own| Ok((own, path.symlink_metadata()?)));
    found.is_ok_and(|(own, there)| (own.dev(), own.ino()) == (there.dev(), there.ino()))
}

/// Whether nobody has a lock but those who look for a moment who has it ([`Lock::holder`]).
fn is_looked_at(file: &File) -> bool {
    let shared = file.try_clone().map(|file| Flock::lock(file, FlockArg::LockSharedNonblock));
    matches!(shared, Ok(Ok(_)))
}

fn signature(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process has ended or is about to: its threads may have its files open for some milliseconds more.
fn is_dying(pid: i32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/status")) {
        Ok(status) => says_it_is_dying(&status),
        // It ended before or while it was read, or there is no /proc.
        Err(_) => kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH),
    }
}

/// A zombie, or a process to which SIGKILL is on its way (proc_pid_status(5)).
fn says_it_is_dying(status: &str) -> bool {
    let killed = 1 << (Signal::SIGKILL as u64 - 1);
    status.lines().filter_map(|line| line.split_once(":\t")).any(|(field, value)| match field {
        "State" => value.starts_with(['Z', 'X']),
        "SigPnd" | "ShdPnd" => u64::from_str_radix(value, 16).is_ok_and(|pending| pending & killed != 0),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

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

    #[test]
    fn a_file_that_was_removed_while_it_was_held_locks_nothing() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("s"), runtime: root.path().join("r") };
        let path = directories.runtime.join("lock");
        let first = Lock::take(&directories).unwrap();
        let opened = open(&path).unwrap();
        fs::remove_dir_all(&directories.runtime).unwrap();
        drop(first);
        let _another = Lock::take(&directories).unwrap();
        assert!(matches!(lock(opened, &path), Ok(None)));
    }

    #[test]
    fn who_looks_is_not_taken_for_a_holder() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("s"), runtime: root.path().join("r") };
        drop(Lock::take(&directories).unwrap());
        let path = directories.runtime.join("lock");
        let look = Flock::lock(File::open(path).unwrap(), FlockArg::LockSharedNonblock).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                drop(look);
            });
            Lock::take(&directories).unwrap();
        });
    }

    #[test]
    fn what_a_dead_process_still_holds_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("s"), runtime: root.path().join("r") };
        let mut dead = Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let held = Lock::take(&directories).unwrap();
        fs::write(directories.runtime.join("lock"), format!("{}\n", dead.id())).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                drop(held);
            });
            Lock::take(&directories).unwrap();
        });
    }

    #[test]
    fn only_a_process_that_lives_is_not_dying() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!is_dying(pid), "it lives");
        child.kill().unwrap();
        assert!(is_dying(pid), "killed, or a zombie");
        child.wait().unwrap();
        assert!(is_dying(pid), "gone");
    }

    #[test]
    fn a_dying_process_is_told_by_its_state_or_by_what_is_pending() {
        let status = |state: &str, pending: &str| format!("Name:\tZ\nState:\t{state}\nShdPnd:\t{pending}\n");
        assert!(says_it_is_dying(&status("Z (zombie)", "0000000000000000")));
        assert!(says_it_is_dying(&status("R (running)", "0000000000004100")));
        assert!(!says_it_is_dying(&status("S (sleeping)", "0000000000004200")));
    }
}
