//! Where networks keep their files.

use std::env;
use std::path::PathBuf;

use nix::unistd::{geteuid, getuid};

use crate::model::NetworkName;

/// What survives a reboot, and what does not, of a network that is root's: file-hierarchy(7); hier(7) of the BSDs,
/// where /var/run is emptied at boot.
const PLACES: (&str, &str) = if cfg!(target_os = "linux") {
    ("/var/lib/rdom", "/run/rdom")
} else {
    ("/var/db/rdom", "/var/run/rdom")
};

/// The directories that all networks of one user are below.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Survives a reboot.
    pub state: PathBuf,
    /// Does not.
    pub runtime: PathBuf,
}

impl Roots {
    /// `RDOM_STATE_DIR` and `RDOM_RUNTIME_DIR` where they are set; else /var/lib/rdom and /run/rdom for root, /var/db/rdom and
    /// /var/run/rdom on the BSDs, and the directories of the XDG base directory specification for everybody else.
    pub fn of_environment() -> Self {
        let root = geteuid().is_root();
        let state =
            variable("RDOM_STATE_DIR").unwrap_or_else(|| if root { PLACES.0.into() } else { user_state() });
        let runtime = variable("RDOM_RUNTIME_DIR")
            .unwrap_or_else(|| if root { PLACES.1.into() } else { user_runtime() });
        Self { state, runtime }
    }

    /// Root's.
    pub fn of_root() -> Self {
        Self { state: PLACES.0.into(), runtime: PLACES.1.into() }
    }

    /// Those of a private copy, which has a /run of its own that goes with it.
    pub fn private() -> Self {
        Self { state: "/run/rdom.state".into(), runtime: "/run/rdom".into() }
    }

    /// The directories of one network.
    pub fn of(&self, network: &NetworkName) -> Directories {
        Directories { state: self.state.join(network.as_str()), runtime: self.runtime.join(network.as_str()) }
    }

    /// The networks that something is left of, alive or not.
    pub fn networks(&self) -> Vec<NetworkName> {
        let Ok(entries) = self.runtime.read_dir() else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter_map(|name| NetworkName::new(name).ok()).collect();
        names.sort();
        names
    }
}

/// The directories of one network.
#[derive(Clone, Debug)]
pub struct Directories {
    /// Survives a reboot: keys and ports.
    pub state: PathBuf,
    /// Does not: the ledger, the lock, the control socket, the log.
    pub runtime: PathBuf,
}

impl Directories {
    /// Where generated private keys are, a file `DOMAIN-IF` each.
    pub fn keys(&self) -> PathBuf {
        self.state.join("keys")
    }
}

fn user_state() -> PathBuf {
    let home = || variable("HOME").unwrap_or_else(|| "/".into()).join(".local/state");
    variable("XDG_STATE_HOME").unwrap_or_else(home).join("rdom")
}

fn user_runtime() -> PathBuf {
    match variable("XDG_RUNTIME_DIR") {
        Some(directory) => directory.join("rdom"),
        None => format!("/tmp/rdom-{}", getuid()).into(),
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
