//! The userspace engine as a process of its own: one an underlay, with the devices of all tunnels that use it.
//!
//! It lives in the underlay's network namespace, so that it opens UDP sockets there without a privilege, and is handed
//! all else: TUN devices, sockets for wg(8), subscriptions to link events, and UDP sockets where opening them takes a
//! privilege. Before the first of them arrives it has given up every capability, every file and most system calls.
//!
//! Supervisor and engine find each other by a socket in the network's runtime directory, so either may die: an engine
//! without a supervisor goes on, a new supervisor takes it over. It ends when it has neither a device nor anybody who
//! might give it one.

mod confine;
mod connection;
mod message;
mod pidfd;
mod process;

pub use confine::{give_up_but, keep_capabilities};
pub use connection::{Connection, Handed, News};
pub use pidfd::Process;
pub use process::run;
