//! What each system cannot do of a file, at the place in the file.

use clap::ValueEnum;

use super::file::Document;
use super::say::complain;
use super::trouble::{Trouble, paint};
use crate::backend::openbsd;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::spec::{Lowered, Source};

/// A kind of kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    Linux,
    Openbsd,
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
        Diagnostics::new(&source.file, &source.text, told.collect())
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
