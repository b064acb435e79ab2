//! Where a network keeps its files.

use std::path::{Path, PathBuf};

use crate::model::NetworkName;

/// The directories of one network.
#[derive(Clone, Debug)]
pub struct Directories {
    /// Survives a reboot: `/var/lib/rdom/NETWORK`, or below XDG_STATE_HOME for an ordinary user.
    pub state: PathBuf,
    /// Does not: `/run/rdom/NETWORK`, or below XDG_RUNTIME_DIR.
    pub runtime: PathBuf,
}

impl Directories {
    /// Those of this network below two roots.
    pub fn below(state_root: &Path, runtime_root: &Path, network: &NetworkName) -> Self {
        Self { state: state_root.join(network.as_str()), runtime: runtime_root.join(network.as_str()) }
    }
}
