//! Routing domains as one thing: a file describes them, a plan is the difference to what a kernel holds.
//!
//! ```text
//! domains.yaml -> spec -> model::Network -> plan::bind -> desired
//! kernel -> backend.observe() -> observed
//! plan(desired, observed) -> [Step] -> backend.apply(step) -> kernel
//! ```
//!
//! ARCHITECTURE.md has the map and the invariants.

pub mod backend;
pub mod cli;
pub mod control;
pub mod convert;
pub mod diagnostic;
pub mod engine;
pub mod enter;
pub mod exec;
pub mod model;
pub mod plan;
pub mod probe;
pub mod sandbox;
pub mod spec;
pub mod state;
pub mod status;
pub mod suite;
pub mod supervisor;
pub mod transaction;
pub mod wireguard;
