//! Links: each joins two ends, each end is joined once.

use std::collections::BTreeMap;

use super::names::Names;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{End, Impairment};
use crate::spec::report::{Placed, Report};
use crate::spec::words::{EndWord, File, Link, LinkEnd};

/// What an end of a link is joined to.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) peer: End,
    /// Where the file names the end itself.
    pub(super) place: Place,
    pub(super) impairment: Impairment,
}

/// Both ends of every link.
pub(super) fn join(file: &File, names: &Names, report: &mut Report) -> BTreeMap<End, Joined> {
    let mut joined = BTreeMap::new();
    for link in &file.links {
        join_one(link, names, &mut joined, report);
    }
    joined
}

fn join_one(link: &Link, names: &Names, joined: &mut BTreeMap<End, Joined>, report: &mut Report) {
    let [LinkEnd { at: one, impairment: near }, LinkEnd { at: other, impairment: far }] = &link.ends;
    let (Some(a), Some(b)) = (end(one, names, report), end(other, names, report)) else { return };
    if a == b {
        report.push(
            Diagnostic::error(other.place, format!("a link from `{}` to itself", names.end(&a)))
                .related(one.place, "the same end")
                .help("a link joins two interfaces; give one of them another name"),
        );
        return;
    }
    for (this, peer, place, impairment) in [(&a, &b, one.place, near), (&b, &a, other.place, far)] {
        match joined.get(this) {
            Some(first) => report.push(
                Diagnostic::error(place, format!("`{}` is an end of two links", names.end(this)))
                    .label("again here")
                    .related(first.place, "first here")
                    .help("join several links with a bridge, or name another interface"),
            ),
            None => {
                joined.insert(this.clone(), Joined { peer: peer.clone(), place, impairment: *impairment });
            }
        }
    }
}

fn end(word: &Placed<EndWord>, names: &Names, report: &mut Report) -> Option<End> {
    let domain = names.domain(&Placed::new(word.value.domain.clone(), word.place), report)?;
    Some(End { domain, interface: word.value.interface.clone() })
}
