//! Other people's words: what a network looks like to tools that know nothing of this one, and the way back.
//!
//! Pure: text in, values out. What comes in becomes a [`crate::model::Network`], which `spec` writes as a file; what
//! goes out is made of the steps of a plan. What goes out names the files of secrets; those that come in are values to
//! be put into files.

pub mod openbsd;
mod secrets;
mod shell;
mod wg_quick;

pub use secrets::{KeyFiles, SecretText};
pub use shell::script;
pub use wg_quick::{Imported, SecretFile, Secrets, Unwritable, configurations, read as read_wg_quick};
