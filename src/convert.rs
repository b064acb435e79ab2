//! Other people's words for what a `domains.yaml` says: the command lines and outputs of OpenBSD's tools.
//!
//! Pure: text in, values out. [`ifconfig`] and [`route`] read argument lists with the messages that ifconfig(8) and
//! route(8) have for bad ones; [`listing`], [`table`] and [`rdomains`] read what they print. [`import`] reads a script of
//! such lines, [`yaml`] writes what it leaves behind as a `domains.yaml`.

pub mod arguments;
pub mod ifconfig;
pub mod import;
pub mod listing;
pub mod rdomains;
pub mod route;
pub mod script;
pub mod table;
pub mod yaml;
