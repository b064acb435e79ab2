//! What is wrong with the system rather than with the file.

use thiserror::Error;

/// Something that is not permitted or not supported here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{missing}")]
pub struct Unsupported {
    /// What is missing, and where that was seen.
    pub missing: String,
    /// What would provide it.
    pub remedy: String,
}
