//! Tunnels as files of wg-quick(8), which knows one namespace and no link but the tunnel itself.

mod read;
mod write;

pub use read::{Imported, SecretFile, read};
pub use write::{Secrets, Unwritable, configurations};
