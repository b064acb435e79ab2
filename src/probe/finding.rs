//! What was found out about one ability of this system, and what follows from it.

use super::Unsupported;

/// One ability, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `tun`, `vrf`, `user namespaces`, ...
    pub item: &'static str,
    /// Whether it is there.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What is used because of it.
    pub used: &'static str,
    /// The one command, or the change, that would provide it; empty if it is there.
    pub remedy: String,
}

/// Whether an ability is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Available,
    /// It is, but not as one would expect.
    Limited,
    /// It is not.
    Missing,
}

impl Finding {
    pub(super) fn available(item: &'static str, seen: impl Into<String>, used: &'static str) -> Self {
        Self { item, state: State::Available, seen: seen.into(), used, remedy: String::new() }
    }

    pub(super) fn missing(item: &'static str, lack: Unsupported, used: &'static str) -> Self {
        Self { item, state: State::Missing, seen: lack.missing, used, remedy: lack.remedy }
    }

    pub(super) fn limited(item: &'static str, lack: Unsupported, used: &'static str) -> Self {
        Self { state: State::Limited, ..Self::missing(item, lack, used) }
    }

    /// From an attempt: what is used if it succeeded, and if not.
    pub fn of(item: &'static str, tried: Result<String, Unsupported>, used: [&'static str; 2]) -> Self {
        match tried {
            Ok(seen) => Self::available(item, seen, used[0]),
            Err(lack) => Self::missing(item, lack, used[1]),
        }
    }
}
