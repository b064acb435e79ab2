//! What went wrong with a change, as a diagnostic at the line of the file that it is about.

use super::transaction::{Cause, Failure};
use super::{Misplaced, UpError};
use crate::backend::help_of;
use crate::diagnostic::{Diagnostic, Diagnostics, chain};
use crate::model::Object;
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
    of(document, diagnostic)
}

/// Any reason why the document's network did not come about.
pub(super) fn explain_all(error: &UpError, document: &Document) -> Diagnostics {
    let place = |object: &Object| document.lowered.origins.place(object);
    match error {
        UpError::Failed(failure) => explain(failure, document),
        UpError::Misplaced(Misplaced::Missing { at, .. } | Misplaced::Astray { at, .. }) => {
            let message = error.to_string();
            let place = place(&Object::Interface(at.clone()));
            of(
                document,
                place.map_or_else(
                    || Diagnostic::error_of_file(&message),
                    |place| Diagnostic::error(place, &message),
                ),
            )
        }
        UpError::Unsupported(unsupported) | UpError::Lacking { lack: unsupported, .. } => {
            of(document, Diagnostic::error_of_file(chain(error)).help(&unsupported.remedy))
        }
        UpError::Taken { .. }
        | UpError::State(_)
        | UpError::Backend(_)
        | UpError::Misplaced(Misplaced::Backend(_))
        | UpError::Privileges(_)
        | UpError::Control { .. } => of(document, Diagnostic::error_of_file(chain(error))),
    }
}

fn of(document: &Document, diagnostic: Diagnostic) -> Diagnostics {
    let source = &document.source;
    Diagnostics::new(&source.file, &source.text, vec![diagnostic])
}
