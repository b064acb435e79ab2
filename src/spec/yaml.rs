//! YAML as people write it: blocks that are indented, and short things in one line.

use std::fmt::{self, Display};

/// A part of a file.
#[derive(Clone, Debug)]
pub(super) enum Words {
    /// A scalar, ready to be written.
    Text(String),
    /// `[a, b]`.
    Flow(Vec<Words>),
    /// `{a: b, c: d}`.
    Inline(Vec<(String, Words)>),
    /// A mapping with one entry a line.
    Block(Vec<(String, Words)>),
    /// A list with one item a line.
    Lines(Vec<Words>),
}

impl Words {
    /// A scalar, quoted where YAML would read something else.
    pub(super) fn text(text: impl Display) -> Self {
        Self::Text(quoted(&text.to_string()))
    }

    /// A list in one line.
    pub(super) fn list<'a, T: Display + 'a>(items: impl IntoIterator<Item = &'a T>) -> Self {
        Self::Flow(items.into_iter().map(Self::text).collect())
    }

    /// A mapping in one line.
    pub(super) fn flow<K: Display>(entries: impl IntoIterator<Item = (K, Words)>) -> Self {
        Self::Inline(keyed(entries))
    }

    /// A mapping with one entry a line, or `{}`.
    pub(super) fn block<K: Display>(entries: impl IntoIterator<Item = (K, Words)>) -> Self {
        let entries = keyed(entries);
        if entries.is_empty() { Self::Inline(entries) } else { Self::Block(entries) }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, indent: usize) -> fmt::Result {
        match self {
            Words::Text(text) => write!(f, " {text}"),
            Words::Flow(_) | Words::Inline(_) => write!(f, " {}", OneLine(self)),
            Words::Block(entries) => entries.iter().try_for_each(|(key, value)| {
                write!(f, "\n{:indent$}{key}:", "")?;
                value.write(f, indent + 2)
            }),
            Words::Lines(items) => items.iter().try_for_each(|item| {
                write!(f, "\n{:indent$}-", "")?;
                item.write(f, indent + 2)
            }),
        }
    }
}

impl Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Words::Block(entries) = self else { return writeln!(f, "{}", OneLine(self)) };
        entries.iter().try_for_each(|(key, value)| {
            write!(f, "{key}:")?;
            value.write(f, 2)?;
            writeln!(f)
        })
    }
}

struct OneLine<'w>(&'w Words);

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separated = |f: &mut fmt::Formatter<'_>, number| f.write_str(if number == 0 { "" } else { ", " });
        match self.0 {
            Words::Text(text) => f.write_str(text),
            Words::Flow(items) | Words::Lines(items) => {
                f.write_str("[")?;
                for (number, item) in items.iter().enumerate() {
                    separated(f, number)?;
                    OneLine(item).fmt(f)?;
                }
                f.write_str("]")
            }
            Words::Inline(entries) | Words::Block(entries) => {
                f.write_str("{")?;
                for (number, (key, value)) in entries.iter().enumerate() {
                    separated(f, number)?;
                    write!(f, "{key}: {}", OneLine(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

fn keyed<K: Display>(entries: impl IntoIterator<Item = (K, Words)>) -> Vec<(String, Words)> {
    entries.into_iter().map(|(key, value)| (quoted(&key.to_string()), value)).collect()
}

/// As it is where that is plain in every YAML and every place; else in double quotes, which take every text.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '+' | '=' | '%');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    let word = matches!(text, "null" | "yes" | "no" | "on" | "off" | "y" | "n" | "Y" | "N");
    if begins && !word && text.chars().all(plain) {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_indented_and_short_things_stand_in_a_line() {
        let wg1 = Words::block([
            ("addresses", Words::list(&["192.168.5.1/24", "fd00::1/64"])),
            ("up", Words::text(false)),
        ]);
        let file = Words::block([
            ("domains", Words::block([("1", Words::block([("wg1", wg1)]))])),
            ("links", Words::Lines(vec![Words::flow([("ends", Words::list(&["1/a", "0/b"]))])])),
        ]);
        let expected = "\
domains:
  1:
    wg1:
      addresses: [192.168.5.1/24, \"fd00::1/64\"]
      up: false
links:
  - {ends: [1/a, 0/b]}
";
        assert_eq!(file.to_string(), expected);
    }

    #[test]
    fn what_yaml_would_read_otherwise_is_quoted() {
        for text in ["", "a b", "a: b", "#x", "%x", "[1]", "null", "off", "-x", "*a", "\"", "tab\there"] {
            assert!(quoted(text).starts_with('"'), "{text:?}");
        }
        for text in ["wg0", "10.0.0.1/24", "/etc/key", "VhhxC1ks=", "default", "1%"] {
            assert_eq!(quoted(text), text);
        }
    }
}
