//! What was made, and what was there before: one small file a domain, beside the namespaces.
//!
//! It marks namespaces as ours, and remembers what a kernel cannot tell: the underlay of a tunnel, the endpoint
//! that the file gave (a kernel knows where a peer roamed to), and the values that sysctls had before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is remembered of one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRecord {
    /// The name of its namespace.
    pub namespace: String,
    /// Device and inode of the namespace (nsfs); `None` between the note that it will be made and its making.
    pub identity: Option<(u64, u64)>,
    /// The value of each sysctl before the first change.
    pub sysctls: BTreeMap<String, String>,
    /// Its tunnels, by interface name.
    pub tunnels: BTreeMap<String, TunnelRecord>,
}

/// What is remembered of one tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRecord {
    /// The number of its underlay.
    pub underlay: u32,
    /// `host:port` as the file gave it, by the peer's public key in base64.
    pub endpoints: BTreeMap<String, String>,
}

/// The records of one network, below its runtime directory.
#[derive(Clone, Debug)]
pub struct Ledger {}
