//! What domains are called: by number always, by name if they have one.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, DomainName, End};
use crate::spec::fields::nearest;
use crate::spec::report::{Placed, Report};
use crate::spec::words::{Domain, File};

/// The words for domains.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: BTreeMap<String, DomainId>,
    words: BTreeMap<DomainId, Placed<String>>,
    /// Words of domains that have no good number or name; that has been reported.
    broken: BTreeSet<String>,
}

impl Names {
    /// The names in a file, and the domains that are called properly; the others are reported.
    pub(super) fn of<'a>(file: &'a File, report: &mut Report) -> (Self, Vec<(DomainId, &'a Domain)>) {
        let mut names = Self::default();
        let mut domains = Vec::new();
        for domain in &file.domains {
            match names.enter(domain, report) {
                Some(id) => domains.push((id, domain)),
                None => names.broken.extend([domain.word.value.clone()]),
            }
        }
        names.check_namespaces(&domains, report);
        (names, domains)
    }

    fn enter(&mut self, domain: &Domain, report: &mut Report) -> Option<DomainId> {
        let identity = domain.identity.as_ref()?;
        let (id, place) = (identity.number.value, identity.number.place);
        if let Some(first) = self.words.get(&id) {
            report.push(
                Diagnostic::error(place, format!("domain number {id} is used twice"))
                    .label(format!("again, for `{}`", domain.word.value))
                    .related(first.place, format!("first, for `{}`", first.value))
                    .help("take another number"),
            );
            return None;
        }
        self.words.insert(id, domain.word.clone());
        if let Some(name) = &identity.name {
            self.by_name.insert(name.to_string(), id);
        }
        Some(id)
    }

    /// A domain without a name has the namespace `rdomN`, which another one may not have for a name.
    fn check_namespaces(&self, domains: &[(DomainId, &Domain)], report: &mut Report) {
        let named: BTreeSet<_> = self.by_name.values().collect();
        for (id, unnamed) in domains.iter().filter(|(id, _)| !named.contains(id)) {
            let namespace = DomainName::of_number(*id);
            let taken = self.by_name.get(namespace.as_str()).and_then(|other| self.words.get(other));
            let Some(other) = taken else { continue };
            report.push(
                Diagnostic::error(other.place, format!("domain name `{namespace}` is used twice"))
                    .related(unnamed.word.place, "the name of this one, which gives none")
                    .help("take another name"),
            );
        }
    }

    /// The domain that a word means; one that means none is reported.
    pub(super) fn domain(&self, word: &Placed<String>, report: &mut Report) -> Option<DomainId> {
        let found = self.known(&word.value);
        if found.is_none() && !self.broken.contains(&word.value) {
            report.push(self.unknown(&word.value, word.place));
        }
        found
    }

    /// The domain that a word means.
    pub(super) fn known(&self, word: &str) -> Option<DomainId> {
        let number =
            word.parse().ok().filter(|&id: &DomainId| id.is_default() || self.words.contains_key(&id));
        number.or_else(|| self.by_name.get(word).copied())
    }

    /// Whether the word is one of a domain that has been reported already.
    pub(super) fn is_broken(&self, word: &str) -> bool {
        self.broken.contains(word)
    }

    /// Whether every domain has a good number and name.
    pub(super) fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    pub(super) fn unknown(&self, word: &str, place: Place) -> Diagnostic {
        let is_number = word.starts_with(|c: char| c.is_ascii_digit());
        let known = self.words.values().map(|word| word.value.as_str()).filter(|_| !is_number);
        let diagnostic = Diagnostic::error(place, format!("no domain `{word}`"));
        match nearest(word, known) {
            Some(near) => diagnostic.help(format!("write `{near}`")),
            None => diagnostic.help(format!("add `{word}` to `domains:`")),
        }
    }

    /// A domain as the user calls it.
    pub(super) fn word(&self, id: DomainId) -> String {
        self.words.get(&id).map_or_else(|| id.to_string(), |word| word.value.clone())
    }

    /// An interface as the user calls it.
    pub(super) fn end(&self, end: &End) -> String {
        format!("{}/{}", self.word(end.domain), end.interface)
    }
}
