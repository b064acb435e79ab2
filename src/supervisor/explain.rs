//! Why a network did not come about, as a diagnostic at the line of the file that it is about.

use super::{Misplaced, UpError};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, chain};
use crate::model::Object;
use crate::probe::{Need, Unsupported};
use crate::spec::Document;
use crate::transaction::explain;

/// How many places are shown, besides the first, that want what is missing.
const SHOWN: usize = 8;

/// Any reason why the document's network did not come about.
pub fn explain_all(error: &UpError, document: &Document) -> Diagnostics {
    let place = |object: &Object| document.lowered.origins.place(object);
    match error {
        UpError::Failed(failure) => explain(failure, document),
        UpError::Misplaced(Misplaced::Missing { at, .. } | Misplaced::Astray { at, .. }) => {
            let message = error.to_string();
            let place = place(&Object::Interface(at.clone()));
            of(document, vec![placed(place, &message)])
        }
        UpError::ServiceLacks { name, lack } => {
            let place = document.lowered.services.get(name).map(|(_, place)| *place);
            of(document, vec![placed(place, &error.to_string()).help(&lack.remedy)])
        }
        UpError::Lacking { lacks } => explain_lacks(lacks, document),
        UpError::Unsupported(unsupported) => {
            of(document, vec![Diagnostic::error_of_file(chain(error)).help(&unsupported.remedy)])
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
        | UpError::Control { .. } => of(document, vec![Diagnostic::error_of_file(chain(error))]),
    }
}

/// What this system lacks for the document: one diagnostic for each thing, at all that needs it.
pub fn explain_lacks(lacks: &[(Need, Unsupported)], document: &Document) -> Diagnostics {
    let mut left: Vec<_> = lacks.iter().collect();
    let mut list = Vec::new();
    while let Some(&(_, lack)) = left.first() {
        let (alike, others) = left.into_iter().partition(|(_, other)| other == lack);
        left = others;
        list.push(explain_lack(lack, alike, document));
    }
    of(document, list)
}

fn explain_lack(lack: &Unsupported, needs: Vec<&(Need, Unsupported)>, document: &Document) -> Diagnostic {
    let origins = &document.lowered.origins;
    let mut objects: Vec<_> =
        needs.into_iter().map(|(need, _)| (origins.place(&need.object), &need.object)).collect();
    objects.sort();
    objects.dedup_by_key(|(place, _)| *place);
    let mut objects = objects.into_iter();
    let Some((place, first)) = objects.next() else { return Diagnostic::error_of_file(&lack.missing) };
    let diagnostic = placed(place, &format!("{first}: {}", lack.missing)).help(&lack.remedy);
    let others: Vec<_> = objects.filter_map(|(place, object)| Some((place?, object))).collect();
    let diagnostic = match others.len().saturating_sub(SHOWN) {
        0 => diagnostic,
        more => diagnostic.label(format!("and {more} more")),
    };
    let shown = others.into_iter().take(SHOWN);
    shown.fold(diagnostic, |diagnostic, (place, object)| diagnostic.related(place, format!("{object} too")))
}

fn placed(place: Option<Place>, message: &str) -> Diagnostic {
    place.map_or_else(|| Diagnostic::error_of_file(message), |place| Diagnostic::error(place, message))
}

fn of(document: &Document, list: Vec<Diagnostic>) -> Diagnostics {
    let source = &document.source;
    Diagnostics::new(&source.file, &source.text, list)
}
