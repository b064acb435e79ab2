//! Users and groups that a file lets into domains, held against those of this system.

use nix::unistd::{Gid, Group, Uid, User};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::spec::{Lowered, Named, Source};

/// A warning for each that this system does not know; another system may.
pub(super) fn unknown(lowered: &Lowered, source: &Source) -> Diagnostics {
    let unknown = lowered.accounts.iter().filter(|(named, _)| !is_known(named));
    let warnings = unknown.map(|(named, &place)| {
        let (what, word, database) = match named {
            Named::User(word) => ("user", word, "passwd"),
            Named::Group(word) => ("group", word, "group"),
        };
        Diagnostic::warning(place, format!("this system has no {what} `{word}`"))
            .label("lets nobody in here")
            .help(format!("see which there are: getent {database}"))
    });
    Diagnostics::new(&source.file, &source.text, warnings.collect())
}

/// Whether the system has this account; one that cannot be looked up is not called unknown.
fn is_known(named: &Named) -> bool {
    match named {
        Named::User(word) => match word.parse() {
            Ok(number) => !matches!(User::from_uid(Uid::from_raw(number)), Ok(None)),
            Err(_) => !matches!(User::from_name(word), Ok(None)),
        },
        Named::Group(word) => match word.parse() {
            Ok(number) => !matches!(Group::from_gid(Gid::from_raw(number)), Ok(None)),
            Err(_) => !matches!(Group::from_name(word), Ok(None)),
        },
    }
}
