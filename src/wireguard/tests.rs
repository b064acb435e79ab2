//! Cores joined by a simulated wire with loss, delay and reordering; no sleeps.
//!
//! Without `mock-clock` boringtun reads the real clock, so these tests stay within moments; what takes minutes is in
//! `timeline`, with a clock that jumps.

#[cfg(not(feature = "mock-clock"))]
mod concurrent;
mod handling;
#[cfg(feature = "mock-clock")]
mod timeline;
mod world;
