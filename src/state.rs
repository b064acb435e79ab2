//! What outlives a process: keys, generated ports, the ledger of what was made, and the network's lock.
//!
//! Two trees: `state` survives a reboot (keys, ports), `runtime` does not (the ledger, the lock, sockets), because
//! what it speaks of does not either.

mod directories;
mod keys;
mod ledger;

pub use directories::Directories;
pub use keys::{KeyRing, Secret};
pub use ledger::{DomainRecord, Ledger, LedgerError, TunnelRecord};
