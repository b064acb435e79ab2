//! Decides what to do to a kernel, and does it whole or not at all.

mod transaction;

pub use transaction::{Cause, Failure, Outcome, converge};
