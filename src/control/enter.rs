//! The door of a network: how a user without privileges gets into a domain that `allow` opens to them.
//!
//! `rdom-enter` says which domain, in one line; the supervisor answers with a line of JSON and, where the domain has a
//! network namespace, a descriptor of it (SCM_RIGHTS, unix(7)). Everybody may knock: the socket is 0666, in directories that others
//! may pass through and not write to. Who knocks is asked of the kernel, never of the caller, and whoever answers
//! must be root's: else anybody's socket could hand out anybody's domain.
//!
//! A network's door is there while a domain of it has `allow`, and somebody stands behind it.

mod client;
mod server;

pub use super::caller::Caller;
pub use client::{Door, EnterError, doors};
pub use server::{Ask, Opened, open};

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::{DomainId, DomainName};
use crate::state::Directories;

/// The longest question, and the longest answer, in bytes.
const LONGEST_LINE: usize = 4096;

/// What somebody who may enter is given.
#[derive(Debug)]
pub struct Admission {
    /// The domain's number.
    pub domain: DomainId,
    /// Its name.
    pub name: DomainName,
    /// Its network namespace, if it has one of its own.
    pub namespace: Option<OwnedFd>,
}

/// Why somebody may not enter.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[error("{message}")]
pub struct Refusal {
    /// Why not.
    pub message: String,
    /// What to do instead, where that is known.
    pub help: Option<String>,
}

impl Refusal {
    /// For this reason.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    /// With what to do instead.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// An answer as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Admitted(Ticket),
    Refused(Refusal),
}

/// What comes with the descriptor of the namespace, if there is one.
#[derive(Debug, Serialize, Deserialize)]
struct Ticket {
    domain: u32,
    name: String,
}

/// Where one knocks.
fn socket(runtime: &Path) -> PathBuf {
    runtime.join("enter.sock")
}

/// Makes the socket, and the way to it passable for others: they may look which networks there are, and no further.
pub fn listen(directories: &Directories) -> io::Result<UnixListener> {
    let path = socket(&directories.runtime);
    close(directories);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    super::make_passable(directories)?;
    Ok(listener)
}

/// Removes the socket, if there is one.
pub fn close(directories: &Directories) {
    let _ = fs::remove_file(socket(&directories.runtime));
}
