//! Why a network did not come up, or does not go down.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Clash, KeptError, Misplaced};
use crate::backend::BackendError;
use crate::model::{NetworkName, ServiceName};
use crate::probe::{Need, Unsupported};
use crate::state::StateError;
use crate::transaction::Failure;

/// Why a network did not come up.
#[derive(Debug, Error)]
pub enum UpError {
    /// Another process has it.
    #[error("network {network} is up already{}", pid.map_or(String::new(), |pid| format!(": process {pid}")))]
    Taken {
        /// The network.
        network: NetworkName,
        /// Who holds its lock.
        pid: Option<i32>,
    },
    /// Not permitted or not supported here.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Something that the network needs is missing here.
    #[error("{}", lacks.first().map_or_else(String::new, |(need, lack)| format!("{}: {lack}", need.object)))]
    Lacking {
        /// All that is missing, and what needs it.
        lacks: Vec<(Need, Unsupported)>,
    },
    /// Something that a service needs is missing here.
    #[error("service {name}: {lack}")]
    ServiceLacks {
        /// The service.
        name: ServiceName,
        /// What is missing.
        lack: Unsupported,
    },
    /// Keys, ports or the lock could not be read or kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel could not be opened.
    #[error("{0}")]
    Backend(#[from] BackendError),
    /// A step failed; what was there before has been restored.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// Another network has a number of it.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// Somebody lives in what is to go.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// Every step was taken, but a socket is not where it belongs.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// Privileges that a supervisor does not need could not be given up.
    #[error("cannot give up privileges")]
    Privileges(#[source] io::Error),
    /// What keeps services could not be started, or does not answer.
    #[error("cannot run services")]
    Services(#[source] io::Error),
    /// Services of a private copy are not what they shall be.
    #[error("{}", .0.join("\n"))]
    Unwell(Vec<String>),
    /// The control socket could not be made.
    #[error("cannot listen at {}", path.display())]
    Control {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a network that was to end is not down.
#[derive(Debug, Error)]
pub enum DownError {
    /// Somebody lives there: it is left as it is.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A step failed.
    #[error(transparent)]
    Failed(#[from] Box<Failure>),
}
