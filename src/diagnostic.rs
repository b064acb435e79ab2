//! Says what is wrong, where, and what to type instead.
//!
//! A [`Diagnostic`] is a value: who finds something makes one and goes on, so that one run tells everything.
//! [`Diagnostics`] are those of one file, in the order of the file, with its text to point into. Text that could
//! be a private key is masked before it gets there, so that neither a message nor a source line can show one.

mod mask;
mod render;
mod unsupported;

use std::error::Error;
use std::fmt;

use serde::Serialize;

pub use render::Paint;
pub use unsupported::Unsupported;

/// A stretch of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Byte at which it starts.
    pub start: usize,
    /// Byte before which it ends; equal to `start` where something is missing.
    pub end: usize,
    /// Line of its start, from 1.
    pub line: usize,
    /// Column of its start in characters, from 1.
    pub column: usize,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// It can, but hardly means what it says.
    Warning,
    /// It can, and means it; what follows from it is not plain to see.
    Note,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, the object named: lower case, no full stop.
    pub message: String,
    /// Where; `None` is the file as a whole.
    pub place: Option<Place>,
    /// What to say at the place itself.
    pub label: Option<String>,
    /// Other places that have to do with it.
    pub related: Vec<Related>,
    /// What to type instead.
    pub help: Option<String>,
}

/// Another place that has to do with a diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// Where.
    pub place: Place,
    /// What is there.
    pub label: String,
}

impl Diagnostic {
    /// An error at this place.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(place), message.into())
    }

    /// An error of the file as a whole.
    pub fn error_of_file(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message.into())
    }

    /// A warning at this place.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(place), message.into())
    }

    /// A note at this place.
    pub fn note(place: Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, Some(place), message.into())
    }

    fn new(severity: Severity, place: Option<Place>, message: String) -> Self {
        Self { severity, message, place, label: None, related: Vec::new(), help: None }
    }

    /// The same, with this said at the place.
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// The same, with what to type instead.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same, with another place that has to do with it.
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related.push(Related { place, label: label.into() });
        self
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn masked(self) -> Self {
        let related = self.related.into_iter();
        Self {
            message: mask::keys(&self.message),
            label: self.label.as_deref().map(mask::keys),
            related: related.map(|r| Related { label: mask::keys(&r.label), ..r }).collect(),
            help: self.help.as_deref().map(mask::keys),
            ..self
        }
    }
}

/// Everything that is wrong with one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    /// The file's name, as the user wrote it.
    pub file: String,
    #[serde(skip)]
    text: String,
    #[serde(rename = "diagnostics")]
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// The diagnostics of a file of this name and text.
    pub fn new(file: &str, text: &str, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| diagnostic.place);
        let list = list.into_iter().map(Diagnostic::masked).collect();
        Self { file: file.to_owned(), text: mask::keys(text), list }
    }

    /// These and those, of one file.
    pub fn and(mut self, others: Diagnostics) -> Self {
        self.list.extend(others.list);
        self.list.sort_by_key(|diagnostic| diagnostic.place);
        self
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many of them are errors.
    pub fn errors(&self) -> usize {
        self.iter().filter(|diagnostic| diagnostic.is_error()).count()
    }

    /// All of them as a user reads them: `file:line:column`, the source line, a caret, `help:`.
    pub fn render(&self, paint: Paint) -> String {
        let each = self.iter().map(|diagnostic| render::one(diagnostic, &self.file, &self.text, paint));
        each.collect::<Vec<_>>().join("\n\n")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Paint::Plain))
    }
}

impl Error for Diagnostics {}

/// An error and everything behind it in one line; a cause that says nothing new is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    fn place() -> Place {
        Place { start: 4, end: 7, line: 1, column: 5 }
    }

    #[test]
    fn a_rendered_diagnostic_has_place_line_caret_and_help() {
        let list = vec![Diagnostic::error(place(), "no port `abc`").help("write a number")];
        let text = Diagnostics::new("x.yaml", "a: [abc]\n", list).to_string();
        for part in ["error: no port `abc`", "x.yaml:1:5", "a: [abc]", "^^^", "help: write a number"] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let source = format!("a: bcd\nprivate_key: {KEY}\npublic_key: {KEY}\n");
        let two_lines = Place { start: 4, end: 20, line: 1, column: 5 };
        let list = vec![Diagnostic::error(two_lines, format!("no {KEY}")).help(KEY).label(KEY)];
        let diagnostics = Diagnostics::new("x.yaml", &source, list);
        let json = serde_json::to_string(&diagnostics).unwrap();
        assert!(!diagnostics.to_string().contains("yAnz5") && !json.contains("yAnz5"), "{diagnostics}");
    }

    #[test]
    fn places_of_another_text_do_not_break_rendering() {
        let far = Place { start: 90, end: 99, line: 9, column: 9 };
        let inside_a_character = Place { start: 1, end: 2, line: 1, column: 1 };
        let list = vec![Diagnostic::error(far, "far"), Diagnostic::error(inside_a_character, "odd")];
        assert!(Diagnostics::new("x", "ä", list).to_string().contains("far"));
    }
}
