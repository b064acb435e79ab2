//! The OpenBSD backend on a simulator of OpenBSD's tools: no kernel of OpenBSD is part of any of this.

mod golden;
mod import;
mod laws;
mod machine;
mod migrate;
#[path = "../networks.rs"]
mod networks;
mod order;
mod portable;
mod programs;
mod runner;
mod simulator;
mod verbs;
mod verify;
