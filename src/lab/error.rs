//! Why a lab does not do what a test asked of it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;
use thiserror::Error;

use crate::backend::{BackendError, help_of};
use crate::diagnostic::{Diagnostics, chain};
use crate::exec::ExecError;
use crate::model::{End, ServiceName};
use crate::probe::Unsupported;
use crate::sandbox::SandboxError;
use crate::spec::Document;
use crate::supervisor::UpError;
use crate::transaction::explain;

/// Why something did not come about. `Debug`, which is what a failed test shows, is the whole of it, with help.
#[derive(Error)]
pub enum LabError {
    /// The file could not be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is wrong with the file, or the kernel refuses what it asks for there.
    #[error("{0}")]
    File(Box<Diagnostics>),
    /// Not permitted or not supported here.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A tunnel has a peer whose endpoint is a name.
    #[error("{0} has a peer with a name as its endpoint, which a lab does not look up")]
    EndpointByName(End),
    /// A service, in a program that cannot keep it.
    #[error("the file has a service, `{0}`, and this program cannot keep one")]
    Service(ServiceName),
    /// There is no private copy.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The network did not come up.
    #[error(transparent)]
    Up(Box<UpError>),
    /// No thread could be had.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A thread could not enter the lab.
    #[error("cannot enter the lab")]
    Home(#[source] Errno),
    /// There is no such domain, or it cannot be seen.
    #[error(transparent)]
    Domain(BackendError),
    /// A thread could not enter a domain.
    #[error(transparent)]
    Enter(#[from] ExecError),
    /// A program did not start.
    #[error("{}", program.display())]
    Program {
        /// The program.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// No words to run.
    #[error("no program")]
    NoProgram,
    /// No such domain in the file.
    #[error("there is no domain {word}: the file has {}", known.join(", "))]
    NoSuchDomain {
        /// What was asked for.
        word: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No such interface.
    #[error("there is no {word}: the lab has {}", known.join(", "))]
    NoSuchEnd {
        /// What was asked for.
        word: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Something could not be done to the network.
    #[error("{0}")]
    NotDone(String),
}

impl LabError {
    /// Why a document's network did not come up; a step that failed is shown at its place in the document.
    pub(super) fn of(error: UpError, document: &Document) -> Self {
        match error {
            UpError::Failed(failure) => Self::File(Box::new(explain(&failure, document))),
            UpError::Unsupported(unsupported) => unsupported.into(),
            UpError::Lacking { mut lacks } if !lacks.is_empty() => {
                let (need, lack) = lacks.swap_remove(0);
                Unsupported { missing: format!("{}: {}", need.object, lack.missing), ..lack }.into()
            }
            other => Self::Up(Box::new(other)),
        }
    }

    /// What to do or write instead, where that is known.
    pub fn help(&self) -> Option<&str> {
        match self {
            LabError::Unsupported(lack) | LabError::Sandbox(SandboxError::Unsupported(lack)) => {
                Some(&lack.remedy)
            }
            LabError::EndpointByName(_) => Some("write an address"),
            LabError::Service(_) => {
                Some("write `rdomain::rootless!();` in the test program, outside of functions")
            }
            LabError::Enter(error) => error.help(),
            LabError::Domain(error) => error.help.as_deref(),
            LabError::Up(error) => help_of(&**error),
            LabError::File(_)
            | LabError::Unreadable { .. }
            | LabError::Sandbox(SandboxError::Call { .. }) => None,
            LabError::Thread(_) | LabError::Home(_) | LabError::Program { .. } | LabError::NoProgram => None,
            LabError::NoSuchDomain { .. } | LabError::NoSuchEnd { .. } | LabError::NotDone(_) => None,
        }
    }
}

impl fmt::Debug for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))?;
        self.help().map_or(Ok(()), |help| write!(f, "\nhelp: {help}"))
    }
}
