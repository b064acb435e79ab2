//! Programs that a file wants to run in domains. They stand beside a network and are no part of it: processes, not
//! what a kernel holds of a network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{DomainId, ServiceName};

/// A program that is kept running in a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What it is called, once in a network.
    pub name: ServiceName,
    /// Where it runs.
    pub domain: DomainId,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// What it finds in its environment besides what the supervisor has there.
    pub env: BTreeMap<String, String>,
    /// Whose process it is, by name or number; the supervisor's user without one.
    pub user: Option<String>,
    /// Where it starts: an absolute path, or below the directory that the supervisor was started in.
    pub directory: PathBuf,
    /// When others may count on it; without one, as soon as the program runs.
    pub ready: Option<Ready>,
    /// Who must be ready before it is started, or, without a `ready` of their own, have ended with status 0.
    pub depends_on: BTreeSet<ServiceName>,
    /// What becomes of it when it ends.
    pub restart: Restart,
}

/// When a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// By what one sees it.
    pub sign: Sign,
    /// How long that may take.
    pub within: Duration,
}

/// By what one sees that a service is ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// Somebody in its domain listens on this port of TCP.
    Tcp(u16),
    /// Somebody in its domain has this port of UDP.
    Udp(u16),
    /// This command, run as the service is, ends with status 0.
    Exec(Vec<String>),
    /// It has written this.
    Log(String),
}

/// What becomes of a service that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Nothing.
    #[default]
    No,
    /// It is started again unless its status was 0.
    OnFailure,
    /// It is started again.
    Always,
}
