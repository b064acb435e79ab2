//! What an OpenBSD's tools printed, in a directory: `ifconfig-A`, `netstat-R`, and `route-TN` of each rtable N.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::trouble::Trouble;
use crate::backend::openbsd::Captured;

/// Whether a directory is one of these.
pub(super) fn is_in(directory: &Path) -> bool {
    directory.join("ifconfig-A").exists()
}

/// Reads it.
pub(super) fn read(directory: &Path) -> Result<Captured, Trouble> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path)
            .map_err(|error| Trouble::usage(format!("cannot read {}: {error}", path.display())))
    };
    let mut captured = Captured {
        ifconfig: read(directory.join("ifconfig-A"))?,
        netstat: read(directory.join("netstat-R"))?,
        routes: BTreeMap::new(),
    };
    for table in 0..=u8::MAX {
        let path = directory.join(format!("route-T{table}"));
        if path.exists() {
            captured.routes.insert(table, read(path)?);
        }
    }
    Ok(captured)
}
