//! Takes nodes apart: mappings by their keys, lists by their items, text by what it must mean.
//!
//! Whatever does not fit is reported where it stands and left out, so that the rest can still be read. A key that
//! is not known is reported with the nearest one that is.

use super::node::{Entry, Node, Value};
use super::report::{Placed, Report};
use super::values::Trouble;
use super::words::DOMAIN;
use crate::diagnostic::{Diagnostic, Place};

/// The keys that one kind of mapping has.
#[derive(Debug)]
pub(super) struct Shape {
    /// What the mapping describes, with its article: `an interface`.
    pub(super) what: &'static str,
    pub(super) keys: &'static [&'static str],
}

/// A mapping, taken apart by its keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The fields of a mapping; what is no mapping, and every unknown key, is reported.
    pub(super) fn of(node: &'a Node, shape: &Shape, report: &mut Report) -> Option<Self> {
        let entries = entries(node, shape.what, report)?;
        for entry in entries.iter().filter(|entry| !shape.keys.contains(&entry.key.value.as_str())) {
            report.push(unknown(&entry.key, shape));
        }
        Some(Self { place: node.place, entries })
    }

    /// The value of this key.
    pub(super) fn value(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The key itself, as the file has it, and its value.
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key.value == key)
    }

    /// The text of this key's value, if it is there and means something.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, Trouble>,
        report: &mut Report,
    ) -> Option<Placed<T>> {
        parsed(self.value(key)?, expected, parse, report)
    }
}

/// The entries of a mapping; nothing at all is an empty one.
pub(super) fn entries<'a>(node: &'a Node, what: &str, report: &mut Report) -> Option<&'a [Entry]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Null => Some(&[]),
        Value::Text(_) | Value::List(_) => {
            let message = format!("{what} is a mapping, found {}", node.kind());
            report.push(Diagnostic::error(node.place, message).help("write `key: value` pairs"));
            None
        }
    }
}

/// The items of a list.
pub(super) fn items<'a>(node: &'a Node, expected: &str, report: &mut Report) -> Option<&'a [Node]> {
    let Value::List(list) = &node.value else {
        let found =
            Diagnostic::error(node.place, format!("expected a list of {expected}, found {}", node.kind()));
        report.push(match &node.value {
            Value::Text(text) => found.help(format!("write `[{}]`", as_list(text))),
            Value::Null | Value::List(_) | Value::Map(_) => found.help("write `[first, second]`"),
        });
        return None;
    };
    Some(list)
}

fn as_list(text: &str) -> String {
    text.split([' ', ',']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The text of a node, if it means something.
pub(super) fn parsed<T>(
    node: &Node,
    expected: &str,
    parse: impl FnOnce(&str) -> Result<T, Trouble>,
    report: &mut Report,
) -> Option<Placed<T>> {
    let Value::Text(text) = &node.value else {
        report.push(Diagnostic::error(node.place, format!("expected {expected}, found {}", node.kind())));
        return None;
    };
    parsed_text(&Placed::new(text.as_str(), node.place), parse, report)
}

/// What a text means, if it means something.
pub(super) fn parsed_text<T>(
    text: &Placed<&str>,
    parse: impl FnOnce(&str) -> Result<T, Trouble>,
    report: &mut Report,
) -> Option<Placed<T>> {
    match parse(text.value) {
        Ok(value) => Some(Placed::new(value, text.place)),
        Err(trouble) => {
            report.push(trouble.at(text.place));
            None
        }
    }
}

/// The text of every item of a list that means something.
pub(super) fn each_parsed<T>(
    node: &Node,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, Trouble>,
    report: &mut Report,
) -> Vec<Placed<T>> {
    let list = items(node, expected, report).unwrap_or_default();
    list.iter().filter_map(|item| parsed(item, expected, &parse, report)).collect()
}

/// The known word that the user most likely meant.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase());
    let ranked = known.into_iter().map(|other| (distance(other), other));
    let (distance, other) = ranked.min()?;
    let limit = (word.chars().count().max(other.chars().count()) / 3).max(1);
    (distance <= limit && other != word).then_some(other)
}

fn unknown(key: &Placed<String>, shape: &Shape) -> Diagnostic {
    let (word, what) = (key.value.as_str(), shape.what);
    let diagnostic =
        Diagnostic::error(key.place, format!("unknown key `{word}`")).label(format!("not a key of {what}"));
    diagnostic.help(match (instead(word), nearest(word, shape.keys.iter().copied())) {
        (Some(advice), _) => advice.to_owned(),
        (None, Some(near)) => format!("write `{near}`"),
        (None, None) => format!("{what} has {}", listed(shape.keys)),
    })
}

/// Words of other tools, and those that stand elsewhere in this file.
fn instead(word: &str) -> Option<&'static str> {
    match word {
        "private_key" => Some("keep the key in a file of mode 0600 and write `private_key_file: PATH`"),
        "preshared_key" => Some("keep the key in a file of mode 0600 and write `preshared_key_file: PATH`"),
        "port" => Some("write `listen_port`"),
        "address" | "inet" | "inet6" => Some("write `addresses: [ADDRESS/LENGTH]`"),
        "gateway" => Some("write `via`"),
        "<<" => Some("merge keys are not part of YAML 1.2; repeat the keys"),
        _ if DOMAIN.keys.contains(&word) => {
            Some("it is a key of a domain: write it below the domain's name in `domains`")
        }
        _ => None,
    }
}

/// Words as a sentence has them: `a`, `b` and `c`.
pub(super) fn listed<T: std::fmt::Display>(words: &[T]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_domain_is_told_where_it_belongs() {
        for key in DOMAIN.keys {
            let advice = instead(key).unwrap_or_default();
            assert!(advice.starts_with("it is a key of a domain"), "{key}: {advice}");
        }
    }

    #[test]
    fn nearest_is_near_or_nothing() {
        assert_eq!(nearest("adresses", ["addresses", "mtu"]), Some("addresses"));
        assert_eq!(nearest("wg2", ["wg1", "eth0"]), Some("wg1"));
        assert_eq!(nearest("zebra", ["addresses", "mtu"]), None);
    }
}
