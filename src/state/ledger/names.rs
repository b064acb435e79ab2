//! Domains by name: a link a name, which says the number.
//!
//! A link is there before the record that it leads to and goes after it, and what it says counts only if that record
//! says so too. Where it does not, or where there is none, every record is read.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::PathBuf;

use super::{DomainRecord, Ledger, LedgerError};
use crate::model::{DomainId, DomainName};

impl Ledger {
    /// The domain of this boot that has this name.
    pub fn named(&self, name: &DomainName) -> Result<Option<DomainId>, LedgerError> {
        if let Some(id) = self.linked(name)
            && self.domain(id)?.is_some_and(|record| record.namespace == name.as_str())
        {
            return Ok(Some(id));
        }
        let mut records = self.domains()?.into_iter();
        Ok(records.find(|(_, record)| record.namespace == name.as_str()).map(|(id, _)| id))
    }

    /// The domain that probably has this name: its record was not read.
    pub fn linked(&self, name: &DomainName) -> Option<DomainId> {
        self.link_of(name.as_str())
    }

    /// Writes the first record of a domain, which has its name in it.
    pub fn begin(&self, id: DomainId, record: &DomainRecord) -> Result<(), LedgerError> {
        let link = self.link(&record.namespace);
        self.write_link(id, &record.namespace).map_err(|source| self.failed(&link, source))?;
        self.record(id, record)
    }

    fn write_link(&self, id: DomainId, name: &str) -> io::Result<()> {
        if self.link_of(name) == Some(id) {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(self.links())?;
        match fs::remove_file(self.link(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => symlink(id.to_string(), self.link(name)),
        }
    }

    /// Removes the link of this name, unless another domain has it by now.
    pub(super) fn forget_name(&self, id: DomainId, name: &str) -> Result<(), LedgerError> {
        let link = self.link(name);
        match self.link_of(name) == Some(id) {
            true => fs::remove_file(&link).map_err(|source| self.failed(&link, source)),
            false => Ok(()),
        }
    }

    fn link_of(&self, name: &str) -> Option<DomainId> {
        fs::read_link(self.link(name)).ok()?.to_str()?.parse().ok()
    }

    fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    fn links(&self) -> PathBuf {
        self.directory.join("names")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::ledger::tests::ledger;

    fn id(number: u32) -> DomainId {
        DomainId::new(number).unwrap()
    }

    fn name(name: &str) -> DomainName {
        DomainName::new(name).unwrap()
    }

    fn called(name: &str) -> DomainRecord {
        DomainRecord { namespace: name.into(), ..DomainRecord::default() }
    }

    #[test]
    fn a_name_is_found_without_reading_what_others_have() {
        let root = tempfile::tempdir().unwrap();
        let ledger = ledger(root.path());
        ledger.begin(id(1), &called("blue")).unwrap();
        ledger.begin(id(2), &called("red")).unwrap();
        fs::write(ledger.path(id(2)), "{").unwrap();
        assert_eq!(ledger.named(&name("blue")).unwrap(), Some(id(1)));
        assert!(ledger.named(&name("green")).is_err(), "all of them are read for a name that has no link");
    }

    #[test]
    fn a_link_that_is_wrong_or_missing_does_not_matter() {
        let root = tempfile::tempdir().unwrap();
        let ledger = ledger(root.path());
        ledger.record(id(1), &called("blue")).unwrap();
        assert_eq!(ledger.named(&name("blue")).unwrap(), Some(id(1)), "no link");
        ledger.begin(id(2), &called("red")).unwrap();
        ledger.record(id(2), &called("green")).unwrap();
        assert_eq!(ledger.named(&name("red")).unwrap(), None, "the record has another name");
        ledger.begin(id(3), &called("red")).unwrap();
        assert_eq!(ledger.named(&name("red")).unwrap(), Some(id(3)), "the name has gone to another domain");
    }

    #[test]
    fn a_name_goes_with_its_domain_and_not_with_one_that_had_it_before() {
        let root = tempfile::tempdir().unwrap();
        let ledger = ledger(root.path());
        ledger.begin(id(1), &called("blue")).unwrap();
        ledger.begin(id(2), &called("blue")).unwrap();
        ledger.forget(id(1), "blue").unwrap();
        assert_eq!(ledger.named(&name("blue")).unwrap(), Some(id(2)));
        ledger.forget(id(2), "blue").unwrap();
        assert_eq!(ledger.named(&name("blue")).unwrap(), None);
        assert_eq!(ledger.links().read_dir().unwrap().count(), 0);
    }
}
