//! What each system cannot do of a file, at the place in the file.

use clap::ValueEnum;

use super::file::Document;
use super::say::complain;
use super::trouble::{Trouble, paint};
use crate::backend::openbsd;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::model::Service;
use crate::spec::{Lowered, Source};

/// A kind of kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    Linux,
    Openbsd,
}

/// rc.d(8) has services there, and starts each in an rtable (rc.conf.local(8)).
fn service_by_hand((service, place): &(Service, Place)) -> Diagnostic {
    let message = format!("openbsd: service {} is not started there", service.name);
    let help = format!("make it one of rc.d(8): rcctl set {} rtable {}", service.name, service.domain);
    Diagnostic::warning(*place, message).help(help)
}

impl System {
    pub(super) const ALL: [System; 2] = [System::Linux, System::Openbsd];

    /// What it cannot do is an error, what has to be done by hand there a warning. Whatever a file can say is there on
    /// some Linux: what this one lacks, `rdom doctor` says.
    pub(super) fn limits(self, source: &Source, lowered: &Lowered) -> Diagnostics {
        let list = match self {
            System::Linux => Vec::new(),
            System::Openbsd => openbsd::limits(&lowered.network),
        };
        let told = list.into_iter().map(|limit| {
            let message = format!("openbsd: {}", limit.message);
            let diagnostic = match (lowered.origins.place(&limit.object), limit.optional) {
                (Some(place), false) => Diagnostic::error(place, message),
                (Some(place), true) => Diagnostic::warning(place, message),
                (None, _) => Diagnostic::error_of_file(message),
            };
            diagnostic.help(limit.help)
        });
        let services = lowered.services.values().filter(|_| self == System::Openbsd).map(service_by_hand);
        Diagnostics::new(&source.file, &source.text, told.chain(services).collect())
    }

    /// What it cannot do ends a verb with status 4; what has to be done by hand is said.
    pub(super) fn require(self, document: &Document) -> Result<(), Trouble> {
        let limits = self.limits(&document.source, &document.lowered);
        if limits.errors() > 0 {
            return Err(Trouble::Diagnostics(Box::new(limits), 4));
        }
        if !limits.is_empty() {
            complain(limits.render(paint()));
        }
        Ok(())
    }

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            System::Linux => "linux",
            System::Openbsd => "openbsd",
        }
    }
}
