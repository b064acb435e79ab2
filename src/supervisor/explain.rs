//! Why a network did not come about, as a diagnostic at the line of the file that it is about.

use super::{Misplaced, UpError};
use crate::diagnostic::{Diagnostic, Diagnostics, chain};
use crate::model::Object;
use crate::spec::Document;
use crate::transaction::explain;

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
        | UpError::Clash(_)
        | UpError::Kept(_)
        | UpError::Backend(_)
        | UpError::Misplaced(Misplaced::Backend(_))
        | UpError::Privileges(_)
        | UpError::Services(_)
        | UpError::Unwell(_)
        | UpError::Control { .. } => of(document, Diagnostic::error_of_file(chain(error))),
    }
}

fn of(document: &Document, diagnostic: Diagnostic) -> Diagnostics {
    let source = &document.source;
    Diagnostics::new(&source.file, &source.text, vec![diagnostic])
}
