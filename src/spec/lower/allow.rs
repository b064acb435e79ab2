//! Who may enter which domain.

use std::collections::BTreeMap;

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Allow, Control};
use crate::spec::Named;
use crate::spec::report::{Placed, Report};
use crate::spec::words;

pub(super) fn lower(named: &[Placed<Named>]) -> Allow {
    let mut allow = Allow::default();
    for named in named {
        match named.value.clone() {
            Named::User(name) => allow.users.insert(name),
            Named::Group(name) => allow.groups.insert(name),
        };
    }
    allow
}

/// Who may ask the supervisor for something.
pub(super) fn control(words: &words::Control) -> Control {
    let group = words.group.as_ref().map(|group| group.value.clone());
    Control { group, change: lower(&words.change) }
}

/// Everybody whom the file names, once.
pub(super) fn accounts(control: &words::Control, scope: &Scope<'_>) -> BTreeMap<Named, Place> {
    let group = control.group.iter().map(|group| (Named::Group(group.value.clone()), group.place));
    let entering = scope.domains.iter().flat_map(|(_, domain)| &domain.allow).rev();
    let named = control.change.iter().rev().chain(entering);
    named.map(|named| (named.value.clone(), named.place)).chain(group).collect()
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
