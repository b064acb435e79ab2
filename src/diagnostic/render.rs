//! Draws a diagnostic as rustc(1) draws its own.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str};

use super::{Diagnostic, Place, Severity};

/// Whether to colour: terminals without NO_COLOR only (no-color.org).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Text only.
    Plain,
    /// With the escape sequences of a terminal.
    Coloured,
}

/// One diagnostic of a file of this name and text, without a line break at its end.
pub(super) fn one(diagnostic: &Diagnostic, file: &str, text: &str, paint: Paint) -> String {
    let title = level(diagnostic.severity).primary_title(diagnostic.message.as_str());
    let report = match diagnostic.place {
        Some(place) => with_help(title.element(snippet(diagnostic, place, file, text)), diagnostic),
        None => {
            with_help(Group::with_title(title).element(annotate_snippets::Origin::path(file)), diagnostic)
        }
    };
    renderer(paint).render(&[report])
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    }
}

fn renderer(paint: Paint) -> Renderer {
    match paint {
        Paint::Plain => Renderer::plain(),
        Paint::Coloured => Renderer::styled(),
    }
}

fn snippet<'a>(
    diagnostic: &'a Diagnostic,
    place: Place,
    file: &'a str,
    text: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let places = diagnostic.related.iter().map(|related| related.place).chain([place]);
    let (lines, number) = lines_of(places, text);
    let at = |place| {
        let Range { start, end } = within(place, text);
        start - lines.start..end - lines.start
    };
    let here = AnnotationKind::Primary.span(at(place)).label(diagnostic.label.as_deref());
    let related = diagnostic.related.iter();
    let there = related.map(|r| AnnotationKind::Context.span(at(r.place)).label(r.label.as_str()));
    Snippet::source(&text[lines.clone()]).line_start(number).path(file).annotation(here).annotations(there)
}

/// The whole lines that have all of these places, and the number of the first: all that is told of is drawn from the
/// lines that it shows, however many others there are.
fn lines_of(places: impl Iterator<Item = Place> + Clone, text: &str) -> (Range<usize>, usize) {
    let first = places.clone().min_by_key(|place| place.start);
    let start = first.map_or(0, |first| within(first, text).start);
    let end = places.map(|place| within(place, text).end).max().unwrap_or(start);
    let from = text[..start].rfind('\n').map_or(0, |before| before + 1);
    let to = text[end..].find('\n').map_or(text.len(), |after| end + after + 1);
    (from..to, first.map_or(1, |first| first.line))
}

fn with_help<'a>(group: Group<'a>, diagnostic: &Diagnostic) -> Group<'a> {
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
        None => group,
    }
}

/// The place as bytes of this text, at character boundaries, whatever text it was made for.
fn within(place: Place, text: &str) -> Range<usize> {
    let start = text.floor_char_boundary(place.start.min(text.len()));
    start..text.floor_char_boundary(place.end.clamp(start, text.len()))
}
