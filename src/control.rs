//! Requests to a living supervisor and its answers: HTTP over a Unix socket, so that `curl --unix-socket` will do.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | 200 and a status document |
//! | `POST /v1/apply`, a JSON body with `network`, `file`, `directory` and `text` | 200 and the steps that were taken; 409 and why nothing has changed |
//! | `POST /v1/apply?confirm=60s` | the same; it goes back by itself unless it is confirmed in time |
//! | `POST /v1/impair`, a JSON body with `interface` and `impairment`, as `{"loss": "5%"}` or null | 200 and the ends of the link that do this from now on; 409 and why nothing has changed |
//! | `POST /v1/confirm` | 200: it stays; 409 if nothing waits for it |
//! | `POST /v1/apply?residents=kill` | the same; processes that live in domains which it deletes are ended |
//! | `GET /v1/events` | 200 and, as it happens, a line of JSON for each event, until the supervisor ends |
//! | `GET /metrics` | 200 and the same in the text format of OpenMetrics |
//! | `POST /v1/down` | 200 once everything is taken down, 409 and the reason if it could not be, as that processes live there |
//! | `POST /v1/down?residents=kill` | the same; those processes are ended |
//!
//! The socket is 0600 in a directory that is 0700; or, where the file names a group, 0660 and that group's, in a directory
//! that others may pass through. Every caller's credentials are asked of the kernel (SO_PEERCRED, unix(7)): root and the
//! supervisor's own user may ask for everything, others for what the file says. Async lives here and nowhere else; requests reach the supervisor through a bounded queue and are answered by it in turn.

mod caller;
mod client;
mod connections;
pub mod enter;
mod events;
mod rights;
mod server;

pub use client::{Client, ClientError};
pub use server::{Answer, Impair, Request, Residents, Server, Terms, Wanted, serve};

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::model::Control;
use crate::state::Directories;

/// Where a network's supervisor listens.
pub fn socket(directories: &Directories) -> PathBuf {
    directories.runtime.join("control.sock")
}

/// Makes the socket, for its owner alone.
pub fn listen(directories: &Directories) -> io::Result<UnixListener> {
    let path = socket(directories);
    if path.exists() {
        fs::remove_file(&path)?;
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Lets those connect whom the file names; on an error only the owner can.
pub fn give(directories: &Directories, control: &Control) -> io::Result<()> {
    rights::give(&socket(directories), control)?;
    if control.group.is_some() { make_passable(directories) } else { Ok(()) }
}

/// Others may look which networks there are, and pass through to a socket of this one that is theirs, and no further.
fn make_passable(directories: &Directories) -> io::Result<()> {
    add_rights(&directories.runtime, 0o011)?;
    directories.runtime.parent().map_or(Ok(()), |all| add_rights(all, 0o055))
}

/// Adds these rights to a directory of our own; nobody else's is changed.
fn add_rights(directory: &Path, rights: u32) -> io::Result<()> {
    let metadata = fs::metadata(directory)?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if owner != geteuid().as_raw() || mode & rights == rights {
        return Ok(());
    }
    fs::set_permissions(directory, Permissions::from_mode(mode | rights))
}
