//! A program becomes a citizen of a domain: same process, terminal, signals and status, as with `route -T N exec`.
//!
//! How that is done is the system's matter: the modules of Linux are named below, on OpenBSD route(8) does it.

#[cfg(target_os = "linux")]
mod bpf;
#[cfg(target_os = "linux")]
pub mod group;
#[cfg(target_os = "linux")]
mod lookups;
#[cfg(target_os = "linux")]
pub mod ping;
#[cfg(target_os = "linux")]
mod place;
#[cfg(target_os = "linux")]
mod programs;
#[cfg(target_os = "linux")]
mod user;

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::unistd::execvp;
use thiserror::Error;

use crate::diagnostic::Unsupported;
use crate::model::{DomainId, NetworkName};
#[cfg(target_os = "linux")]
pub use lookups::Lookups;
#[cfg(target_os = "linux")]
pub use place::{Place, enter, replace};
#[cfg(target_os = "linux")]
pub use programs::{is_here, named};
#[cfg(target_os = "linux")]
pub use user::{become_user, user};

/// Why a program did not become one.
#[derive(Debug, Error)]
pub enum ExecError {
    /// No such program.
    #[error("{}: {}", program.display(), errno.desc())]
    NotFound {
        /// What was looked for.
        program: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A program that cannot be run.
    #[error("{}: {}", program.display(), errno.desc())]
    NotRunnable {
        /// What was found.
        program: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// The domain could not be entered.
    #[error("cannot enter domain {domain}: {action}: {}", errno.desc())]
    Entry {
        /// The domain.
        domain: String,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The domain cannot be entered here.
    #[error("cannot enter domain {domain}: {source}")]
    Unsupported {
        /// The domain.
        domain: String,
        /// What is missing.
        source: Unsupported,
    },
}

impl ExecError {
    /// The exit status that route(8) has for it: 127, 126 or 1; 4 for what is not permitted or not supported here.
    pub fn exit_status(&self) -> u8 {
        match self {
            ExecError::NotFound { .. } => 127,
            ExecError::NotRunnable { .. } => 126,
            ExecError::Entry { .. } => 1,
            ExecError::Unsupported { .. } => 4,
        }
    }

    /// What would make it possible, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            ExecError::Unsupported { source, .. } => Some(&source.remedy),
            ExecError::NotFound { .. } | ExecError::NotRunnable { .. } | ExecError::Entry { .. } => None,
        }
    }
}

/// What tells a program where it is, by its environment.
pub fn variables(network: &NetworkName, domain: DomainId, name: &str) -> [(&'static str, String); 3] {
    [
        ("RDOM_NETWORK", network.to_string()),
        ("RDOM_DOMAIN", domain.to_string()),
        ("RDOM_DOMAIN_NAME", name.to_owned()),
    ]
}

/// Tells the program that this process is about to become where it is. The process must have one thread.
pub fn announce(network: &NetworkName, domain: DomainId, name: &str) {
    for (variable, value) in variables(network, domain, name) {
        // Of this process only, which has one thread and is about to become the command.
        unsafe { std::env::set_var(variable, value) };
    }
}

/// Turns this process into `program`, looked for in PATH, where it is. Returns only if that failed.
pub fn become_program(program: &OsStr, arguments: &[OsString]) -> Result<Infallible, ExecError> {
    let missing = || ExecError::NotFound { program: program.into(), errno: Errno::ENOENT };
    let path = CString::new(program.as_bytes()).map_err(|_| missing())?;
    let words = std::iter::once(program).chain(arguments.iter().map(OsString::as_os_str));
    let words = words.map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>();
    match execvp(&path, &words.map_err(|_| missing())?) {
        Ok(never) => Ok(never),
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => {
            Err(ExecError::NotFound { program: program.into(), errno })
        }
        Err(errno) => Err(ExecError::NotRunnable { program: program.into(), errno }),
    }
}

/// How a child ended, as a shell tells it: its status, or 128 + n if signal n ended it.
pub fn status_of(child: ExitStatus) -> u8 {
    let code = child.code().or_else(|| child.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
