//! Whether an interface that a route or a rule names is one of its own domain.

use super::lent;
use super::scope::Scope;
use crate::diagnostic::Diagnostic;
use crate::model::{DomainId, End, InterfaceName, Isolation};
use crate::spec::fields::nearest;
use crate::spec::report::{Placed, Report};

/// Reports an interface that this domain does not have. The default domain has some that the file does not know.
pub(super) fn check(id: DomainId, dev: &Placed<InterfaceName>, scope: &Scope<'_>, report: &mut Report) {
    let (name, word) = (dev.value.as_str(), scope.names.word(id));
    let end = End { domain: id, interface: dev.value.clone() };
    lent::check_at_home(&end, dev.place, scope, report);
    if has(id, &dev.value, scope) || !scope.is_named(id) {
        return;
    }
    let mut others = scope.ends.keys().filter(|end| end.interface == dev.value);
    let other = match id.is_default() {
        true => others.find(|end| scope.isolation(end.domain) == Isolation::Vrf),
        false => others.next(),
    };
    let diagnostic = match (nearest(name, of(id, scope)), other) {
        (_, Some(other)) => stranger(dev, &scope.names.word(other.domain), &word),
        (_, None) if id.is_default() => return,
        (Some(near), None) => missing(dev, &word).help(format!("write `{near}`")),
        (None, None) => {
            missing(dev, &word).help(format!("add `{name}` to its `interfaces:`, or name it in `links:`"))
        }
    };
    report.push(diagnostic);
}

/// Whether the file has a domain's interface of this name.
pub(super) fn has(id: DomainId, name: &InterfaceName, scope: &Scope<'_>) -> bool {
    *name == InterfaceName::loopback()
        || scope.ends.contains_key(&End { domain: id, interface: name.clone() })
}

/// The names of a domain's interfaces, as far as the file has them.
pub(super) fn of<'s>(id: DomainId, scope: &'s Scope<'_>) -> impl Iterator<Item = &'s str> {
    let named = scope.ends.keys().filter(move |end| end.domain == id);
    named.map(|end| end.interface.as_str()).chain(["lo"])
}

fn missing(dev: &Placed<InterfaceName>, word: &str) -> Diagnostic {
    Diagnostic::error(dev.place, format!("no interface `{}` in domain {word}", dev.value))
}

fn stranger(dev: &Placed<InterfaceName>, other: &str, word: &str) -> Diagnostic {
    Diagnostic::error(dev.place, format!("interface `{}` is in domain {other}, not in {word}", dev.value))
        .help("a domain is closed: join the two with a link")
}
