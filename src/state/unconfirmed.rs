//! A change that goes back by itself unless somebody confirms it in time.
//!
//! One file, `unconfirmed`, in the directory that survives a reboot, on the disk before the first step: a supervisor
//! that was killed, or a machine that started again, finds it. It stays when the change has gone back, so that a file
//! which nobody confirmed does not come up at the next boot; it goes with the next change that needs no confirmation.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::directories::Directories;
use super::file::{StateError, make_private_directory, read, replace};

/// What was applied and not confirmed yet, and what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The file that was in force before.
    pub before: KeptFile,
    /// The text of the one that waits to be confirmed.
    pub wanted: String,
    /// By the system's clock, since 1970.
    until_unix_millis: u64,
    within_millis: u64,
}

/// A file with everything that it takes to read it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// What it is called in what there is to say of it.
    pub file: String,
    /// Where the paths in it begin.
    pub directory: PathBuf,
    /// What is in it.
    pub text: String,
}

impl Unconfirmed {
    /// From now on for this long.
    pub fn new(before: KeptFile, wanted: String, within: Duration) -> Self {
        let (until_unix_millis, within_millis) = (millis(since_1970() + within), millis(within));
        Self { before, wanted, until_unix_millis, within_millis }
    }

    /// How long it may still be confirmed; never longer than it was at the beginning, for a machine may start again
    /// with a clock that lags.
    pub fn left(&self) -> Duration {
        let left = self.until_unix_millis.saturating_sub(millis(since_1970()));
        Duration::from_millis(left.min(self.within_millis))
    }

    /// Writes it down; it is on the disk when this returns.
    pub fn keep(&self, directories: &Directories) -> Result<(), StateError> {
        make_private_directory(&directories.state)?;
        let path = path(directories);
        let text =
            serde_json::to_string(self).map_err(|error| StateError::new("write", &path, error.into()))?;
        replace(&path, &text)?;
        sync(directories).map_err(|error| StateError::new("write", &path, error))
    }

    /// The one that is written down for a network, if there is one.
    pub fn kept(directories: &Directories) -> Result<Option<Self>, StateError> {
        let path = path(directories);
        let parse = |text: String| serde_json::from_str(&text);
        read(&path)?.map(parse).transpose().map_err(|error| StateError::new("use", &path, error.into()))
    }

    /// Removes it, if there is one; it does not come back with the next boot when this returns.
    pub fn forget(directories: &Directories) -> Result<(), StateError> {
        let path = path(directories);
        match fs::remove_file(&path).and_then(|()| sync(directories)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::new("remove", &path, error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// A name is on the disk, or gone from it, with its directory (fsync(2)).
fn sync(directories: &Directories) -> io::Result<()> {
    File::open(&directories.state)?.sync_all()
}

fn path(directories: &Directories) -> PathBuf {
    directories.state.join("unconfirmed")
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unconfirmed(within: Duration) -> Unconfirmed {
        let before = KeptFile { file: "a.yaml".into(), directory: "/etc".into(), text: "before".into() };
        Unconfirmed::new(before, "wanted".into(), within)
    }

    #[test]
    fn it_is_found_again_until_it_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("s"), runtime: root.path().join("r") };
        assert_eq!(Unconfirmed::kept(&directories).unwrap(), None);
        let written = unconfirmed(Duration::from_secs(60));
        written.keep(&directories).unwrap();
        assert_eq!(Unconfirmed::kept(&directories).unwrap(), Some(written));
        Unconfirmed::forget(&directories).unwrap();
        Unconfirmed::forget(&directories).unwrap();
        assert_eq!(Unconfirmed::kept(&directories).unwrap(), None);
    }

    #[test]
    fn its_time_ends_and_does_not_grow_when_the_clock_is_set_back() {
        let minute = Duration::from_secs(60);
        assert_eq!(unconfirmed(Duration::ZERO).left(), Duration::ZERO);
        let left = unconfirmed(minute).left();
        assert!(left > minute / 2 && left <= minute, "{left:?}");
        let mut set_back = unconfirmed(minute);
        set_back.until_unix_millis += 3_600_000;
        assert_eq!(set_back.left(), minute);
    }
}
