//! Files with secrets in them that a verb writes: what is there already stays as it is.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::say::say;
use super::trouble::Trouble;
use crate::convert::SecretText;

/// Writes these files with this mode, root's if root does it, and names those that are new. One that is there stays if it
/// says the same, and is in the way of all if not.
pub(super) fn put_new(files: &BTreeMap<PathBuf, SecretText>, mode: u32) -> Result<(), Trouble> {
    let others =
        files.iter().filter(|(path, text)| fs::read_to_string(path).is_ok_and(|held| held != ***text));
    let others: Vec<String> = others.map(|(path, _)| path.display().to_string()).collect();
    if !others.is_empty() {
        return Err(Trouble::Usage {
            message: format!("it would change {}", others.join(", ")),
            help: Some("write into an empty directory, and compare the two: diff -ru".into()),
        });
    }
    for (path, text) in files {
        let failed = |error| Trouble::failed(format!("cannot write {}: {error}", path.display()));
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        if put(path, text, mode).map_err(failed)? {
            say(path.display());
        }
    }
    Ok(())
}

/// Writes a file that is not there yet; whether it was not.
fn put(path: &Path, text: &str, mode: u32) -> io::Result<bool> {
    let mut file: File = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        opened => opened?,
    };
    file.write_all(text.as_bytes())?;
    if geteuid().is_root() {
        chown(path, Some(0), Some(0))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    Ok(true)
}
