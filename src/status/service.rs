//! Services: the programs that are kept running in a network's domains.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A service as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// The number of its domain.
    pub domain: u32,
    /// What it does.
    pub state: ServiceState,
    /// Its process, if it has one.
    pub pid: Option<u32>,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// How it ended the last time: its status, or 128 + n if signal n ended it.
    pub status: Option<u8>,
}

/// What a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// It is started when those are ready that it depends on.
    Waiting,
    /// It runs, and is not ready yet.
    Starting,
    /// It runs, and is ready, as far as the file says how to see that.
    Ready,
    /// It runs, and was not ready in time.
    Late,
    /// It has ended, and is started again soon.
    Restarting,
    /// It has been told to end.
    Stopping,
    /// It has ended with status 0, and that was that.
    Done,
    /// It has ended otherwise, and is not started again.
    Failed,
    /// It was killed on purpose.
    Killed,
}

impl ServiceState {
    /// Every state.
    pub(super) const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Starting,
        Self::Ready,
        Self::Late,
        Self::Restarting,
        Self::Stopping,
        Self::Done,
        Self::Failed,
        Self::Killed,
    ];

    /// Its one word, as JSON has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Late => "late",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Killed => "killed",
        }
    }
}

impl ServiceView {
    /// Whether it is what it shall be, for now or for good.
    pub fn is_well(&self) -> bool {
        matches!(self.state, ServiceState::Ready | ServiceState::Done)
    }

    /// What it does, as a sentence has it.
    pub fn text(&self) -> String {
        let Self { name, state, status, .. } = self;
        match (state, status) {
            (ServiceState::Failed | ServiceState::Restarting, Some(status)) => {
                format!("service {name}: {state}, it ended with status {status}")
            }
            _ => format!("service {name}: {state}"),
        }
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ServiceState::Waiting => "waiting for others",
            ServiceState::Starting => "starting",
            ServiceState::Ready => "ready",
            ServiceState::Late => "not ready in time",
            ServiceState::Restarting => "restarting",
            ServiceState::Stopping => "stopping",
            ServiceState::Done => "done",
            ServiceState::Failed => "failed",
            ServiceState::Killed => "killed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_the_word_of_json() {
        for state in ServiceState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
    }
}
