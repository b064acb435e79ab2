//! YAML as a tree in which everything knows its place.
//!
//! Scalars stay text: `010`, `1.0` and `no` are what the user wrote, and only who expects a number or a truth
//! decides what they mean. Duplicate keys are reported, the first one wins. Anchors and aliases are resolved, the
//! copies counted against a budget; tags mean nothing here. See YAML 1.2.2, chapters 3 and 7.

use std::collections::{BTreeMap, btree_map};

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, options};

use super::report::{Placed, Report};
use crate::diagnostic::{Diagnostic, Place};

/// Nodes that aliases may copy, in all.
const COPIES: usize = 10_000;
/// How deep a file may nest; this language needs 8.
const DEPTH: usize = 64;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where: a collection's first line only.
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What YAML can say.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing after the colon, `~` or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: Placed<String>,
    pub(super) value: Node,
}

impl Node {
    /// What it is, for "expected .., found ..".
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Text(_) => 0,
            Value::List(list) => list.iter().map(Node::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }
}

/// The tree of a text; `None` if there is none, or if the syntax is wrong, which is reported.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let events = Parser::new_from_str_with_options(text, limits());
    let mut builder = Builder { text, events, report, anchors: BTreeMap::new(), copies: COPIES };
    match builder.document() {
        Ok(node) => node,
        Err(diagnostic) => {
            builder.report.push(*diagnostic);
            None
        }
    }
}

/// The text that the outermost mapping has for a key. What comes behind it is not read.
pub(super) fn outermost(text: &str, key: &str) -> Option<String> {
    let mut events = Parser::new_from_str_with_options(text, limits());
    let (mut depth, mut is_key, mut is_found) = (0, true, false);
    loop {
        let (event, _) = events.next_event()?.ok()?;
        match &event {
            Event::Scalar(text, ..) if depth == 1 && is_found => return Some(text.to_string()),
            Event::Scalar(text, ..) if depth == 1 => is_found = is_key && text == key,
            Event::MappingStart(..) | Event::SequenceStart(..) => (depth, is_found) = (depth + 1, false),
            Event::MappingEnd | Event::SequenceEnd => depth -= 1,
            _ => is_found = false,
        }
        if depth == 1 && !matches!(event, Event::MappingStart(..) | Event::SequenceStart(..)) {
            is_key = !is_key;
        }
    }
}

fn limits() -> Options {
    options! { emit_comments: false, flow_nesting_limit: DEPTH, block_nesting_limit: DEPTH }
}

/// What makes the rest of the text unreadable.
type Stop = Box<Diagnostic>;

struct Builder<'a, 'r> {
    text: &'a str,
    events: Parser<'a, StrInput<'a>>,
    report: &'r mut Report,
    /// The anchored nodes that are complete.
    anchors: BTreeMap<usize, Node>,
    copies: usize,
}

impl<'a> Builder<'a, '_> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let second = Diagnostic::error(self.place(span), "a second document in one file");
                    return Err(second.help("remove the line `---` and what follows it").into());
                }
                Event::DocumentStart(..) => {}
                node => root = Some(self.node(node, span, 0)?),
            }
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Stop> {
        self.events.next_event().transpose().map_err(|error| self.syntax(&error))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = self.place(span);
        if depth > DEPTH {
            return Err(Diagnostic::error(place, "nested too deep").into());
        }
        if let Some(tag) = event.tag().and(span.tag_span()) {
            let tag = Diagnostic::error(self.place(tag), "a tag means nothing here");
            self.report.push(tag.help("remove the `!` and its word"));
        }
        let anchor = event.anchor_id();
        let node = match event {
            Event::Scalar(text, style, ..) => Node { place, value: scalar(&text, style) },
            Event::SequenceStart(..) => self.list(place, depth)?,
            Event::MappingStart(..) => self.map(place, depth)?,
            Event::Alias(id) => self.copy(id, place)?,
            other => return Err(Diagnostic::error(place, format!("unexpected YAML: {other:?}")).into()),
        };
        if let Some(id) = anchor.filter(|&id| id != 0) {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, open: Place, depth: usize) -> Result<Node, Stop> {
        let mut list = Vec::new();
        loop {
            let (event, span) =
                self.next()?.ok_or_else(|| Box::new(Diagnostic::error(open, "unfinished list")))?;
            if event == Event::SequenceEnd {
                let place = self.first_line(open, span);
                return Ok(Node { place, value: Value::List(list) });
            }
            list.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, open: Place, depth: usize) -> Result<Node, Stop> {
        let (mut entries, mut first) = (Vec::new(), BTreeMap::new());
        let unfinished = || Box::new(Diagnostic::error(open, "unfinished mapping"));
        loop {
            let (event, span) = self.next()?.ok_or_else(unfinished)?;
            if event == Event::MappingEnd {
                let place = self.first_line(open, span);
                return Ok(Node { place, value: Value::Map(entries) });
            }
            let key = key_text(&event);
            let place = self.node(event, span, depth + 1)?.place;
            let (event, span) = self.next()?.ok_or_else(unfinished)?;
            let value = self.node(event, span, depth + 1)?;
            let Some(key) = key.map(|key| Placed::new(key, place)) else {
                self.report.push(Diagnostic::error(place, "a key must be text"));
                continue;
            };
            if self.is_first(&mut first, &key) {
                entries.push(Entry { key, value });
            }
        }
    }

    fn is_first(&mut self, first: &mut BTreeMap<String, Place>, key: &Placed<String>) -> bool {
        let before = match first.entry(key.value.clone()) {
            btree_map::Entry::Vacant(none) => {
                none.insert(key.place);
                return true;
            }
            btree_map::Entry::Occupied(before) => *before.get(),
        };
        self.report.push(
            Diagnostic::error(key.place, format!("duplicate key `{}`", key.value))
                .label("again here")
                .related(before, "first here")
                .help("remove one of the two"),
        );
        false
    }

    fn copy(&mut self, id: usize, place: Place) -> Result<Node, Stop> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(Diagnostic::error(place, "an alias inside of what it stands for").into());
        };
        match self.copies.checked_sub(node.size()) {
            Some(left) => self.copies = left,
            None => {
                return Err(
                    Diagnostic::error(place, format!("aliases copy more than {COPIES} values")).into()
                );
            }
        }
        Ok(node.clone())
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let mark = *error.marker();
        let place = self.place(Span::new(mark, mark));
        let wrong = Diagnostic::error(place, format!("not YAML: {}", error.info()));
        if error.info().contains("tabs") { wrong.help("indent with spaces").into() } else { wrong.into() }
    }

    fn place(&self, span: Span) -> Place {
        let start = span.start.byte_offset().unwrap_or_default();
        let end = span.end.byte_offset().unwrap_or(start);
        self.clipped(Place { start, end, line: span.start.line(), column: span.start.col() + 1 })
    }

    fn first_line(&self, open: Place, close: Span) -> Place {
        let end = close.end.byte_offset().unwrap_or(open.end);
        self.clipped(Place { end, ..open })
    }

    /// The part of the place that is on its first line, without white space at the end.
    fn clipped(&self, place: Place) -> Place {
        let whole = self.text.get(place.start..place.end).unwrap_or_default();
        let line = whole.lines().next().unwrap_or_default().trim_end();
        Place { end: place.start + line.len(), ..place }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let null = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    if null { Value::Null } else { Value::Text(text.to_owned()) }
}

/// A key is text whatever it looks like; an empty plain one is none.
fn key_text(event: &Event<'_>) -> Option<String> {
    let (text, style) = event.scalar()?;
    let missing = text.is_empty() && style == ScalarStyle::Plain;
    (!missing).then(|| text.to_owned())
}
