//! Small private files, written whole or not at all.
//!
//! Directories are 0700 and files 0600; a symbolic link in the place of a file is an error, not followed.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NOFOLLOW;
use nix::unistd::geteuid;
use thiserror::Error;
use zeroize::Zeroizing;

/// A file or directory of state that could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct StateError {
    /// What was tried.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl StateError {
    pub(super) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

/// Makes a directory and those above it, for their owner alone.
pub(super) fn make_directory(path: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StateError::new("make directory", path, source))
}

/// Makes a directory of state, or takes one that nobody else can change: it and the one above it belong to this user or
/// to root, and it is no symbolic link.
pub fn make_private_directory(path: &Path) -> Result<(), StateError> {
    make_directory(path)?;
    require_private(path)
}

/// Refuses a directory of state that somebody else could change, or could make if it is not there yet.
pub(super) fn require_private(path: &Path) -> Result<(), StateError> {
    let unusable = |path: &Path, source| StateError::new("use directory", path, source);
    let if_there = |path, found: io::Result<Metadata>| match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(|found| Some((path, found))).map_err(|source| unusable(path, source)),
    };
    let itself = if_there(path, path.symlink_metadata())?;
    if itself.as_ref().is_some_and(|(_, found)| !found.is_dir()) {
        return Err(unusable(path, io::ErrorKind::NotADirectory.into()));
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.map(|above| if_there(above, above.metadata())).transpose()?.flatten();
    for (path, found) in itself.into_iter().chain(above) {
        let mode = found.mode() & 0o7777;
        let shared = mode & 0o022 != 0 && mode & 0o1000 == 0;
        let complaint = match found.uid() {
            owner if owner != 0 && owner != geteuid().as_raw() => format!("it belongs to user {owner}"),
            _ if shared => format!("others can write to it (mode {mode:04o}): chmod go-w {}", path.display()),
            _ => continue,
        };
        return Err(unusable(path, io::Error::new(io::ErrorKind::PermissionDenied, complaint)));
    }
    Ok(())
}

/// Whether everybody can write to the file at this path.
pub fn is_everybodys(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.mode() & 0o002 != 0)
}

/// The text of a file; `None` if there is none. One that others can write to is refused.
pub fn read(path: &Path) -> Result<Option<String>, StateError> {
    match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path) {
        Ok(file) => {
            let text = require_own(path, &file).and_then(|()| read_to_end(file));
            text.map(Some).map_err(|source| StateError::new("read", path, source))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::new("read", path, source)),
    }
}

/// Replaces a file: readers see the old text or the new, also after a crash.
pub fn replace(path: &Path, text: &str) -> Result<(), StateError> {
    let beside = beside(path);
    let write = || {
        let options = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).clone();
        let mut file = options.clone().custom_flags(O_NOFOLLOW).open(&beside)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|source| StateError::new("write", path, source))
}

/// Where a file is written before it takes its place. No file of state is called so: an interface may be called `wg.new`.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Puts a secret into a file for its owner alone; one that holds another secret stays as it is, and is an error.
pub fn put_secret(path: &Path, secret: &str) -> Result<(), StateError> {
    match read(path)? {
        Some(held) if held.trim() == secret => Ok(()),
        Some(_) => {
            let other = io::Error::new(io::ErrorKind::AlreadyExists, "it holds another key: move it away");
            Err(StateError::new("write", path, other))
        }
        None => {
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), make_directory)?;
            replace(path, &Zeroizing::new(format!("{secret}\n")))
        }
    }
}

/// Refuses a file that others can write to.
pub(super) fn require_own(path: &Path, file: &File) -> io::Result<()> {
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    let complaint = format!("others can write to it (mode {mode:04o}): chmod go-w {}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, complaint))
}

fn read_to_end(mut file: File) -> io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}
