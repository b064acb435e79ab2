//! What supervisor and keeper say to each other: a line of JSON, and a line of JSON in answer.

use serde::{Deserialize, Serialize};

use crate::model::{Service, ServiceName};
use crate::status::ServiceView;

/// Counts changes of what is said here, and of what is in it. Whatever the number, `Status` has names and `End` ends.
pub(super) const PROTOCOL: u32 = 1;

/// What a keeper is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// To say which protocol it speaks.
    Hello,
    /// These services are wanted, and no others.
    Keep(Vec<Service>),
    /// To say what each of them does.
    Status,
    /// To kill one, and leave it so.
    Kill(ServiceName),
    /// To start one that is not running.
    Start(ServiceName),
    /// To end them all, and itself.
    End,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Its [`PROTOCOL`].
    Hello(u32),
    /// What each of them does now.
    Services(Vec<ServiceView>),
    /// It cannot do that.
    Refused(String),
}
