//! Why a network did not come about, as a diagnostic at the line of the file that it is about.

use super::{Misplaced, UpError};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, chain};
use crate::model::Object;
use crate::spec::Document;
use crate::transaction::explain;

/// Any reason why the document's network did not come about.
pub fn explain_all(error: &UpError, document: &Document) -> Diagnostics {
    let place = |object: &Object| document.lowered.origins.place(object);
    match error {
        UpError::Failed(failure) => explain(failure, document),
        UpError::Misplaced(Misplaced::Missing { at, .. } | Misplaced::Astray { at, .. }) => {
            of(document, at_place(place(&Object::Interface(at.clone())), error))
        }
        UpError::ServiceLacks { name, lack } => {
            let place = document.lowered.services.get(name).map(|(_, place)| *place);
            of(document, at_place(place, error).help(&lack.remedy))
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

fn at_place(place: Option<Place>, error: &UpError) -> Diagnostic {
    let message = error.to_string();
    match place {
        Some(place) => Diagnostic::error(place, message),
        None => Diagnostic::error_of_file(message),
    }
}

fn of(document: &Document, diagnostic: Diagnostic) -> Diagnostics {
    let source = &document.source;
    Diagnostics::new(&source.file, &source.text, vec![diagnostic])
}
