//! What becomes of differences that nobody asked for.

use serde::{Deserialize, Serialize};

/// What to do when a kernel no longer holds what the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// Put it back, and say what it was.
    #[default]
    Repair,
    /// Say what it is.
    Report,
    /// Do not look.
    Off,
}

impl Drift {
    /// The word for it in a file.
    pub fn word(self) -> &'static str {
        match self {
            Drift::Repair => "repair",
            Drift::Report => "report",
            Drift::Off => "off",
        }
    }
}
