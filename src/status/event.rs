//! What a supervisor does, as it happens: `GET /v1/events`, a line of JSON each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that has happened to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// When, in milliseconds since 1970.
    pub unix_millis: u64,
    /// What.
    #[serde(flatten)]
    pub what: Occurrence,
}

/// What may happen to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Occurrence {
    /// It has become what a file says.
    Applied {
        /// The steps that were taken.
        steps: Vec<String>,
        /// How long that may be confirmed before it goes back by itself, if it does.
        goes_back_in_secs: Option<u64>,
    },
    /// It was to become what a file says, and nothing has changed.
    Refused {
        /// Why.
        why: String,
    },
    /// What was applied last stays.
    Confirmed,
    /// Nobody has confirmed what was applied last, and it is gone again.
    GoneBack {
        /// The steps that were taken.
        steps: Vec<String>,
    },
    /// Somebody else has changed something.
    Drift {
        /// What.
        what: String,
        /// What became of it.
        fate: String,
    },
    /// A process with userspace engines has ended.
    EngineEnded,
    /// What went with an engine is there again.
    Repaired {
        /// The steps that were taken.
        steps: Vec<String>,
    },
    /// It is down.
    Down,
    /// Whoever listens was too slow, and has missed some.
    Missed {
        /// How many.
        count: u64,
    },
}
