//! What supervisor and keeper say to each other: a line of JSON, and a line of JSON in answer.

use serde::{Deserialize, Serialize};

use crate::model::{Service, ServiceName};
use crate::status::ServiceView;

/// What a keeper is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
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
    /// What each of them does now.
    Services(Vec<ServiceView>),
    /// It cannot do that.
    Refused(String),
}
