//! Interfaces of the host that are lent to a domain: each from the default domain to one other.

use std::collections::BTreeMap;

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, InterfaceName, Isolation};
use crate::spec::report::{Placed, Report};
use crate::spec::words;

/// What a lent interface is called at home: the same as here unless the file says otherwise.
pub(super) fn home(end: &End, word: Option<&Placed<InterfaceName>>) -> InterfaceName {
    word.map_or_else(|| end.interface.clone(), |word| word.value.clone())
}

/// Every lent interface: where it is lent to, what it is called at home, and where the file says so.
fn all<'s>(scope: &'s Scope<'_>) -> impl Iterator<Item = (&'s End, InterfaceName, Place)> {
    scope.interfaces.iter().filter_map(|(end, words)| {
        let kind = words.kind.as_ref()?;
        let words::Kind::Physical { home: word } = &kind.value else { return None };
        let place = word.as_ref().map_or(kind.place, |word| word.place);
        Some((end, home(end, word.as_ref()), place))
    })
}

/// Reports what cannot be lent: to the default domain, to one without a namespace, twice, or what is in use at home.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut lent: BTreeMap<InterfaceName, (&End, Place)> = BTreeMap::new();
    for (end, home, place) in all(scope) {
        if end.domain.is_default() {
            let message = format!("`{home}` is in the default domain already");
            let help = "leave `physical` out, or list the interface in the domain that it shall be lent to";
            report.push(Diagnostic::error(place, message).help(help));
            continue;
        }
        if scope.isolation(end.domain) == Isolation::Vrf {
            let word = scope.names.word(end.domain);
            let message =
                format!("`{home}` cannot be lent to domain {word}, which has no namespace of its own");
            let help = "give the domain a namespace: `isolation: netns+vrf` or `netns`";
            report.push(Diagnostic::error(place, message).help(help));
        }
        let at_home = End { domain: DomainId::DEFAULT, interface: home.clone() };
        if let Some(&listed) = scope.ends.get(&at_home) {
            let message = format!("`{home}` is in the default domain and lent to another one");
            report.push(
                Diagnostic::error(place, message)
                    .label("lent here")
                    .related(listed, "in the default domain")
                    .help("keep one of the two"),
            );
        }
        match lent.get(&home) {
            Some(&(other, first)) => report.push(
                Diagnostic::error(place, format!("`{home}` is lent twice"))
                    .label("again here")
                    .related(first, format!("to `{}`", scope.names.end(other)))
                    .help("lend it to one domain, and join the other one by a link"),
            ),
            None => drop(lent.insert(home, (end, place))),
        }
    }
}

/// Reports the use of an interface of the default domain that is lent to another one.
pub(super) fn check_at_home(at: &End, place: Place, scope: &Scope<'_>, report: &mut Report) {
    if !at.domain.is_default() {
        return;
    }
    let Some((end, home, lent)) = all(scope).find(|(_, home, _)| *home == at.interface) else { return };
    report.push(
        Diagnostic::error(place, format!("`{home}` is not in the default domain while it is lent"))
            .related(lent, "lent here")
            .help(format!("it is `{}` then", scope.names.end(end))),
    );
}
