//! Routing domains as one thing: a file describes them, a plan is the difference to what a kernel holds.
//!
//! ```text
//! domains.yaml -> spec -> model::Network -> plan::bind -> desired
//! kernel -> backend.observe() -> observed
//! plan(desired, observed) -> [Step] -> backend.apply(step) -> kernel
//! ```
//!
//! ARCHITECTURE.md has the map and the invariants. Rooms of Linux alone are marked here; what of another room is
//! Linux's is marked at that room's head.

pub mod backend;
#[cfg(target_os = "linux")]
pub mod capture;
pub mod cli;
#[cfg(target_os = "linux")]
pub mod control;
pub mod convert;
pub mod diagnostic;
#[cfg(target_os = "linux")]
pub mod engine;
#[cfg(target_os = "linux")]
pub mod enter;
pub mod exec;
#[cfg(target_os = "linux")]
pub mod lab;
pub mod model;
pub mod plan;
#[cfg(target_os = "linux")]
pub mod probe;
#[cfg(target_os = "linux")]
pub mod sandbox;
#[cfg(target_os = "linux")]
pub mod service;
pub mod spec;
pub mod state;
pub mod status;
#[cfg(target_os = "linux")]
pub mod suite;
#[cfg(target_os = "linux")]
pub mod supervisor;
pub mod transaction;
pub mod wireguard;
