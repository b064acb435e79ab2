//! Numbers of rtables: each is one domain's, and a domain's own one has the number of the domain.

use std::collections::BTreeMap;

use super::names::Names;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, RtableId};
use crate::spec::report::{Placed, Report};
use crate::spec::words::Domain;

/// Whose each rtable is, and where the file says its number.
pub(super) type Owners = BTreeMap<RtableId, (DomainId, Option<Place>)>;

/// The owners of all rtables of a file; a number that is used twice is reported.
pub(super) fn owners(names: &Names, domains: &[(DomainId, &Domain)], report: &mut Report) -> Owners {
    let mut owners = Owners::from([(DomainId::DEFAULT.into(), (DomainId::DEFAULT, None))]);
    owners.extend(domains.iter().map(|&(id, words)| (id.into(), (id, Some(words.word.place)))));
    for &(id, words) in domains {
        for rtable in &words.rtables {
            match owners.get(&rtable.number.value) {
                Some(&owner) => report.push(twice(&rtable.number, id, owner, names)),
                None => {
                    owners.insert(rtable.number.value, (id, Some(rtable.number.place)));
                }
            }
        }
    }
    owners
}

fn twice(
    number: &Placed<RtableId>,
    id: DomainId,
    (owner, first): (DomainId, Option<Place>),
    names: &Names,
) -> Diagnostic {
    let rtable = number.value;
    if rtable == id.into() {
        return Diagnostic::error(number.place, format!("rtable {rtable} is the domain's own one"))
            .help("write its routes under `routes:`");
    }
    let diagnostic = Diagnostic::error(number.place, format!("rtable number {rtable} is used twice"))
        .label("again here")
        .help("numbers of domains and rtables are unique in a network; take another one");
    let own = rtable == owner.into();
    match first {
        Some(first) if own => diagnostic.related(first, "a domain, whose own rtable has its number"),
        Some(first) => diagnostic.related(first, format!("first here, in domain {}", names.word(owner))),
        None => diagnostic.label("the default domain's own rtable"),
    }
}
