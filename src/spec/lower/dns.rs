//! How names are looked up in which domain.

use super::scope::Scope;
use crate::diagnostic::Diagnostic;
use crate::model::DomainId;
use crate::spec::report::Report;

/// Reports `dns` where it can have no effect.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    if let Some(place) = scope.domain(DomainId::DEFAULT).and_then(|domain| domain.dns_place) {
        report.push(
            Diagnostic::error(place, "names of the default domain are looked up as the host does")
                .label("every program starts in it")
                .help("write `dns` in the domain whose programs shall ask somebody else"),
        );
    }
}
