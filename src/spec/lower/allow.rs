//! Who may enter which domain.

use std::collections::BTreeMap;

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::Allow;
use crate::spec::Named;
use crate::spec::report::Report;
use crate::spec::words::Domain;

pub(super) fn lower(words: &Domain) -> Allow {
    let mut allow = Allow::default();
    for named in &words.allow {
        match named.value.clone() {
            Named::User(name) => allow.users.insert(name),
            Named::Group(name) => allow.groups.insert(name),
        };
    }
    allow
}

/// Everybody whom the file names, once.
pub(super) fn accounts(scope: &Scope<'_>) -> BTreeMap<Named, Place> {
    let named = scope.domains.iter().flat_map(|(_, domain)| &domain.allow).rev();
    named.map(|named| (named.value.clone(), named.place)).collect()
}

/// Reports where nobody needs to be allowed.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let default = scope.domains.iter().find(|(id, _)| id.is_default());
    if let Some(place) = default.and_then(|(_, domain)| domain.allow_place) {
        report.push(
            Diagnostic::error(place, "nobody enters the default domain")
                .label("everybody starts in it")
                .help("write `allow` in the domain that they shall enter"),
        );
    }
}
