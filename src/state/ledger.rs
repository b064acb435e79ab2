//! What was made, and what was there before: one small file a domain, beside the namespaces.
//!
//! It marks namespaces as ours, and remembers what a kernel cannot tell: the underlay of a tunnel, the endpoint
//! that the file gave (a kernel knows where a peer roamed to), the values that sysctls had before, what interfaces
//! were before they were lent, and on kernels without marks on addresses which of them are ours. In a namespace that
//! several domains or networks share it also tells whose routes and rules are whose, and whose the addresses on
//! interfaces that were there before.
//! Each file is replaced whole by rename(2), so a process that dies in between leaves the old one. Nothing is
//! synced to disk: what it speaks of ends with the boot, and records of an earlier boot do not count.

mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::directories::Directories;
use crate::model::{DomainId, Isolation};

/// What is remembered of one domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRecord {
    /// The name of its namespace; that of the domain where it has none of its own.
    pub namespace: String,
    /// What it was made of.
    #[serde(default = "netns", with = "IsolationWord")]
    pub isolation: Isolation,
    /// Device and inode of the namespace (nsfs); `None` between the note that it will be made and its making.
    pub identity: Option<(u64, u64)>,
    /// The value of each sysctl before the first change.
    pub sysctls: BTreeMap<String, String>,
    /// The addresses of ours that a mark does not tell from others', by the index of their link.
    #[serde(default)]
    pub addresses: BTreeMap<u32, BTreeSet<String>>,
    /// Of the default domain: what its interfaces were that are lent to others, by their names at home.
    #[serde(default)]
    pub lent: BTreeMap<String, InterfaceRecord>,
    /// Its tunnels, by interface name.
    pub tunnels: BTreeMap<String, TunnelRecord>,
    /// Its routes, as `TABLE PREFIX METRIC`, where others may have some in the same namespace.
    #[serde(default)]
    pub routes: BTreeSet<String>,
    /// Its policy rules, as they are printed, where others may have some in the same namespace.
    #[serde(default)]
    pub rules: BTreeSet<String>,
}

impl Default for DomainRecord {
    fn default() -> Self {
        Self {
            namespace: String::new(),
            isolation: netns(),
            identity: None,
            sysctls: BTreeMap::new(),
            addresses: BTreeMap::new(),
            lent: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            routes: BTreeSet::new(),
            rules: BTreeSet::new(),
        }
    }
}

fn netns() -> Isolation {
    Isolation::Netns
}

/// How an isolation is written down.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Isolation")]
enum IsolationWord {
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "netns")]
    Netns,
    #[serde(rename = "netns+vrf")]
    NetnsVrf,
    #[serde(rename = "vrf")]
    Vrf,
}

/// What is remembered of one tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelRecord {
    /// The number of its underlay.
    pub underlay: u32,
    /// `host:port` as the file gave it, by the peer's public key in base64; empty where the file gave none.
    pub endpoints: BTreeMap<String, String>,
}

/// What an interface was before it was lent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRecord {
    /// Its alias; none where this is empty.
    pub alias: String,
    /// Its index; 0 where that is not known.
    #[serde(default)]
    pub index: u32,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// Its sysctls that may not have been as a new interface has them, by their place below /proc/sys/net less its name:
    /// `ipv4/conf/rp_filter`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// Whether it was administratively up.
    pub up: bool,
    /// What it was a port or member of.
    pub controller: Option<String>,
    /// Its addresses: each the kernel's own message of it (`RTM_NEWADDR`), in base64, for no other form says all.
    pub addresses: Vec<String>,
    /// The routes by it that somebody had set, likewise (`RTM_NEWROUTE`).
    pub routes: Vec<String>,
}

/// A file of the ledger that could not be read or written.
#[derive(Debug, Error)]
#[error("{}", path.display())]
pub struct LedgerError {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The records of one network, below its runtime directory. One process at a time writes them.
#[derive(Clone, Debug)]
pub struct Ledger {
    directory: PathBuf,
    boot: String,
}

/// A file of the ledger.
#[derive(Serialize, Deserialize)]
struct Page {
    boot: String,
    domain: DomainRecord,
}

impl Ledger {
    /// The ledger in these directories. Nothing is read or made before it is needed.
    pub fn of(directories: &Directories) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { directory: directories.runtime.join("domains"), boot: boot.trim_end().to_owned() }
    }

    /// Every record of this boot, by the number of its domain.
    pub fn domains(&self) -> Result<BTreeMap<DomainId, DomainRecord>, LedgerError> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            result => result.map_err(|source| self.failed(&self.directory, source))?,
        };
        let mut records = BTreeMap::new();
        for entry in entries {
            let name = entry.map_err(|source| self.failed(&self.directory, source))?.file_name();
            let Some(id) = name.to_str().and_then(number_of) else { continue };
            records.extend(self.domain(id)?.map(|record| (id, record)));
        }
        Ok(records)
    }

    /// The record of this domain, if there is one of this boot.
    pub fn domain(&self, id: DomainId) -> Result<Option<DomainRecord>, LedgerError> {
        let path = self.path(id);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(|source| self.failed(&path, source))?,
        };
        let page: Page = serde_json::from_slice(&text).map_err(|error| self.failed(&path, error.into()))?;
        Ok((page.boot == self.boot).then_some(page.domain))
    }

    /// Writes the record of this domain in place of the one before.
    pub fn record(&self, id: DomainId, record: &DomainRecord) -> Result<(), LedgerError> {
        let page = Page { boot: self.boot.clone(), domain: record.clone() };
        let path = self.path(id);
        let fresh = path.with_extension("new");
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            fs::write(&fresh, serde_json::to_vec_pretty(&page)?)?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|source| self.failed(&path, source))
    }

    /// Changes the record of this domain; one that is not there yet starts from its default.
    pub fn change(&self, id: DomainId, change: impl FnOnce(&mut DomainRecord)) -> Result<(), LedgerError> {
        let before = self.domain(id)?.unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        match after == before {
            true => Ok(()),
            false => self.record(id, &after),
        }
    }

    /// Removes the record of this domain, if there is one, which has this name.
    pub fn forget(&self, id: DomainId, name: &str) -> Result<(), LedgerError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|source| self.failed(&path, source))?,
        }
        self.forget_name(id, name)
    }

    fn path(&self, id: DomainId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn failed(&self, path: &Path, source: io::Error) -> LedgerError {
        LedgerError { path: path.to_owned(), source }
    }
}

fn number_of(file_name: &str) -> Option<DomainId> {
    file_name.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NetworkName;
    use crate::state::Roots;

    pub(super) fn ledger(root: &Path) -> Ledger {
        let network = NetworkName::new("test").unwrap();
        let roots = Roots { state: root.join("state"), runtime: root.join("run") };
        Ledger::of(&roots.of(&network))
    }

    fn one() -> DomainId {
        DomainId::new(1).unwrap()
    }

    #[test]
    fn records_are_read_back_and_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let ledger = ledger(root.path());
        assert_eq!(ledger.domains().unwrap(), BTreeMap::new());
        ledger.change(one(), |record| record.namespace = "blue".into()).unwrap();
        ledger.change(one(), |record| record.identity = Some((4, 5))).unwrap();
        let record = DomainRecord { namespace: "blue".into(), identity: Some((4, 5)), ..Default::default() };
        assert_eq!(ledger.domains().unwrap(), BTreeMap::from([(one(), record)]));
        ledger.forget(one(), "blue").unwrap();
        ledger.forget(one(), "blue").unwrap();
        assert_eq!(ledger.domain(one()).unwrap(), None);
    }

    #[test]
    fn records_of_an_earlier_boot_do_not_count() {
        let root = tempfile::tempdir().unwrap();
        let now = ledger(root.path());
        let before = Ledger { boot: "another".into(), ..now.clone() };
        before.record(one(), &DomainRecord::default()).unwrap();
        assert_eq!(now.domains().unwrap(), BTreeMap::new());
    }

    #[test]
    fn a_broken_record_is_an_error_that_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        let ledger = ledger(root.path());
        ledger.record(one(), &DomainRecord::default()).unwrap();
        fs::write(ledger.path(one()), "{").unwrap();
        let error = ledger.domains().unwrap_err();
        assert!(error.to_string().ends_with("run/test/domains/1.json"), "{error}");
    }
}
