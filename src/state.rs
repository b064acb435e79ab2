//! What outlives a process: keys, generated ports, the ledger of what was made, and the network's lock.
//!
//! Two trees: `state` survives a reboot (keys, ports), `runtime` does not (the ledger, the lock, sockets), because
//! what it speaks of does not either.

mod directories;
mod file;
mod keys;
mod ledger;
mod lock;
#[cfg(target_os = "linux")]
mod lookups;
mod store;
mod unconfirmed;

pub use directories::{Directories, Roots};
pub use file::{StateError, is_everybodys, make_private_directory, put_secret, read, replace};
pub use keys::{KeyRing, Secret};
pub use ledger::{DomainRecord, InterfaceRecord, Ledger, LedgerError, TunnelRecord};
pub use lock::{Lock, LockError};
#[cfg(target_os = "linux")]
pub use lookups::{lookups, write_lookups};
pub use store::{Missing, Store, Stored};
pub use unconfirmed::{KeptFile, Unconfirmed};
