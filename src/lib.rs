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
pub mod memory;
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

/// Lets a test program of an ordinary user bring labs up. To be written once in it, outside of functions.
///
/// It becomes root of a user namespace at its start, which it and its children then seem to be everywhere
/// (user_namespaces(7)): files stay the user's, those of others are nobody's, and setgroups(2) is denied. Where it may
/// make namespaces without that, as root, nothing changes. Where user namespaces are forbidden nothing changes either,
/// and [`Blueprint::up`](crate::lab::Blueprint::up) says by what.
///
/// A lab with `services:` takes it in any case: what keeps them is this program, started again by another name.
#[cfg(target_os = "linux")]
#[macro_export]
macro_rules! rootless {
    () => {
        const _: () = {
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEFORE_MAIN: extern "C" fn() = before_main;
            extern "C" fn before_main() {
                $crate::lab::rootless::before_main($crate::cli::main);
            }
        };
    };
}
