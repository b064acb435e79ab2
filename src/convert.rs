//! Other people's words: what a network looks like to tools that know nothing of this one, and the way back.
//!
//! Pure: text in, values out. What comes in becomes a [`crate::model::Network`], which `spec` writes as a file; what
//! goes out is made of the steps of a plan. What goes out names the files of secrets; those that come in are values to
//! be put into files.
//!
//! Of OpenBSD, [`ifconfig`] and [`route`] read argument lists with the messages that ifconfig(8) and route(8) have for
//! bad ones; [`listing`], [`table`] and [`rdomains`] read what they print; [`import`] reads a script of such lines.

pub mod arguments;
pub mod ifconfig;
pub mod import;
pub mod listing;
pub mod rdomains;
pub mod route;
pub mod script;
mod secrets;
mod shell;
pub mod table;
mod wg_quick;

pub use secrets::KeyFiles;
pub use shell::script;
pub use wg_quick::{Imported, SecretFile, Unwritable, configurations, read as read_wg_quick};
