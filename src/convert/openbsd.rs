//! The words of OpenBSD's tools.
//!
//! [`ifconfig`] and [`route`] read argument lists, with the messages that ifconfig(8) and route(8) have for bad ones;
//! [`listing`], [`table`] and [`rdomains`] read what they print; [`import`] makes a network of either. [`mark`] says
//! how an object there is known to be ours.

pub mod arguments;
pub mod ifconfig;
pub mod import;
pub mod listing;
pub mod mark;
pub mod rdomains;
pub mod route;
pub mod script;
pub mod table;
