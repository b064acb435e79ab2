//! What went wrong with a change, as a diagnostic at the line of the file that it is about.

use super::{Cause, Failure};
use crate::backend::help_of;
use crate::diagnostic::{Diagnostic, Diagnostics, chain};
use crate::spec::Document;

/// A failed step at the place of its object in the file, with the kernel's words and what became of the others.
pub fn explain(failure: &Failure, document: &Document) -> Diagnostics {
    let place = failure.step.as_ref().and_then(|step| document.lowered.origins.place(&step.object()));
    let message = match (&failure.cause, &failure.step) {
        (Cause::Backend(error), _) => chain(error),
        (cause @ (Cause::Interrupted | Cause::Unsettled(_)), Some(step)) => format!("cannot {step}: {cause}"),
        (cause @ (Cause::Interrupted | Cause::Unsettled(_)), None) => cause.to_string(),
    };
    let diagnostic = match place {
        Some(place) => Diagnostic::error(place, message).label(failure.restored.to_string()),
        None => Diagnostic::error_of_file(format!("{message}; {}", failure.restored)),
    };
    let diagnostic = match help_of(failure) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    };
    let source = &document.source;
    Diagnostics::new(&source.file, &source.text, vec![diagnostic])
}
