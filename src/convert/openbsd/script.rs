//! A shell script that sets an OpenBSD up, as far as one is a list of commands: the form of the manual pages.
//!
//! Variables and quotes are sh(1)'s. Of command substitutions it knows those that a key comes from: made by
//! openssl(1), read from a file by cat(1), asked back from an interface. What such a key is nobody knows before the
//! script runs, so a stand-in takes its place ([`Unknown`]); control flow is none of its words.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// The commands of a script, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Each of them.
    pub commands: Vec<Line>,
    unknown: Vec<Unknown>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its line, from 1.
    pub number: usize,
    /// Its words, the program's name first.
    pub words: Vec<String>,
}

/// Where a key comes from that is not in the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is made anew.
    Made,
    /// It is in this file.
    File(String),
    /// It is the public key of this interface.
    PublicKeyOf(String),
}

/// What the script says that this does not understand.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct NotUnderstood {
    /// Its line, from 1.
    pub line: usize,
    /// What it is.
    pub message: String,
}

/// Words that begin or join something else than a plain command.
const CONTROL: [&str; 13] =
    ["if", "then", "else", "fi", "for", "while", "do", "done", "case", "esac", "function", "until", "{"];

/// How the 32 bytes begin that stand for an unknown key.
const STAND_IN: &[u8; 28] = b"a key that is not known yet\0";

impl Script {
    /// Reads a script; an error is everything in it that is not understood.
    pub fn read(text: &str) -> Result<Self, Vec<NotUnderstood>> {
        let mut script = Self::default();
        let mut variables = BTreeMap::new();
        let mut errors = Vec::new();
        for (number, line) in joined(text) {
            let mut reader =
                Reader { rest: line.as_str(), variables: &variables, unknown: &mut script.unknown };
            match reader.statements() {
                Err(message) => errors.push(NotUnderstood { line: number, message }),
                Ok(statements) => {
                    for words in statements {
                        match assignment(&words) {
                            Some((name, value)) => drop(variables.insert(name, value)),
                            None => script.commands.push(Line { number, words }),
                        }
                    }
                }
            }
        }
        if errors.is_empty() { Ok(script) } else { Err(errors) }
    }

    /// Where a key comes from, if it is a stand-in for one that is not in the script.
    pub fn unknown(&self, key: &[u8; 32]) -> Option<&Unknown> {
        let number = key.strip_prefix(STAND_IN)?;
        self.unknown.get(u32::from_be_bytes(number.try_into().ok()?) as usize)
    }
}

/// Lines with their numbers, those that end with a backslash joined to the next.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match lines.last_mut() {
            Some((_, last)) if goes_on => last.push_str(part),
            Some(_) | None => lines.push((number + 1, part.to_owned())),
        }
        goes_on = more;
    }
    lines
}

fn assignment(words: &[String]) -> Option<(String, String)> {
    let [word] = words else { return None };
    let (name, value) = word.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named =
        !name.is_empty() && name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| (name.to_owned(), value.to_owned()))
}

/// Reads one line.
struct Reader<'a> {
    rest: &'a str,
    variables: &'a BTreeMap<String, String>,
    unknown: &'a mut Vec<Unknown>,
}

impl Reader<'_> {
    fn statements(&mut self) -> Result<Vec<Vec<String>>, String> {
        let mut statements = vec![Vec::new()];
        let mut word: Option<String> = None;
        while let Some(c) = self.next() {
            match c {
                '#' if word.is_none() => break,
                ' ' | '\t' | ';' => {
                    if let (Some(word), Some(words)) = (word.take(), statements.last_mut()) {
                        words.push(word);
                    }
                    if c == ';' {
                        statements.push(Vec::new());
                    }
                }
                '|' | '&' | '<' | '>' | '(' | ')' => return Err(format!("`{c}` is no plain command")),
                '\'' => {
                    let (inside, rest) = self.rest.split_once('\'').ok_or("a quote that does not end")?;
                    self.rest = rest;
                    word.get_or_insert_default().push_str(inside);
                }
                '"' => {
                    let inside = self.double_quoted()?;
                    word.get_or_insert_default().push_str(&inside);
                }
                '`' | '$' | '\\' => {
                    let inside = self.expanded(c)?;
                    word.get_or_insert_default().push_str(&inside);
                }
                c => word.get_or_insert_default().push(c),
            }
        }
        if let (Some(word), Some(words)) = (word, statements.last_mut()) {
            words.push(word);
        }
        statements.retain(|words| !words.is_empty());
        match statements.iter().find(|words| CONTROL.contains(&words[0].as_str())) {
            Some(words) => Err(format!("`{}` is no plain command", words[0])),
            None => Ok(statements),
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        loop {
            match self.next().ok_or("a quote that does not end")? {
                '"' => return Ok(text),
                c @ ('`' | '$' | '\\') => text += &self.expanded(c)?,
                c => text.push(c),
            }
        }
    }

    /// What `$NAME`, `${NAME}`, `$(COMMAND)`, a command in backquotes or an escaped character stands for.
    fn expanded(&mut self, c: char) -> Result<String, String> {
        match c {
            '\\' => Ok(self.next().map(String::from).unwrap_or_default()),
            '`' => {
                let inside = self.take('`')?;
                self.substituted(&inside)
            }
            _ if self.rest.starts_with('(') => {
                let inside = self.take(')')?;
                self.substituted(&inside[1..])
            }
            _ if self.rest.starts_with('{') => {
                let inside = self.take('}')?;
                self.value(&inside[1..])
            }
            _ => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = self.rest.find(|c| !plain(c)).unwrap_or(self.rest.len());
                let (name, rest) = self.rest.split_at(end);
                self.rest = rest;
                self.value(name)
            }
        }
    }

    /// What comes before this character, which goes too.
    fn take(&mut self, end: char) -> Result<String, String> {
        let (inside, rest) = self.rest.split_once(end).ok_or_else(|| format!("no `{end}` ends this"))?;
        self.rest = rest;
        Ok(inside.to_owned())
    }

    fn value(&self, name: &str) -> Result<String, String> {
        self.variables.get(name).cloned().ok_or_else(|| format!("${name} has not been set"))
    }

    /// The stand-in for the key that a command prints.
    fn substituted(&mut self, command: &str) -> Result<String, String> {
        let words: Vec<&str> =
            command.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        let unknown = match words.as_slice() {
            ["openssl", "rand", "-base64", "32"] => Unknown::Made,
            ["cat", file] => Unknown::File((*file).to_owned()),
            ["ifconfig", interface, "|", "grep", "wgpubkey", "|", "cut", ..] => {
                Unknown::PublicKeyOf((*interface).to_owned())
            }
            _ => return Err(format!("what `{}` prints is not known", command.trim())),
        };
        let mut bytes = [0; 32];
        bytes[..28].copy_from_slice(STAND_IN);
        bytes[28..].copy_from_slice(&(self.unknown.len() as u32).to_be_bytes());
        self.unknown.push(unknown);
        Ok(STANDARD.encode(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        Script::read(text).unwrap().commands.into_iter().map(|line| line.words).collect()
    }

    #[test]
    fn quotes_variables_and_comments_are_the_shells() {
        let text = "#!/bin/sh\nA=wg1 # one\nB=\"$A x\"\necho ${A}'$A' \"a b\"; \\\n  echo $B \\$ \"\"\n";
        assert_eq!(words(text), [vec!["echo", "wg1$A", "a b"], vec!["echo", "wg1 x", "$", ""]]);
    }

    #[test]
    fn keys_that_are_not_there_are_known_by_where_they_come_from() {
        let text = "ifconfig wg1 wgkey `openssl rand -base64 32`\nP=\"`ifconfig wg1 | grep 'wgpubkey' | cut -d ' ' -f 2`\"\nx $P $(cat /etc/k)\n";
        let script = Script::read(text).unwrap();
        let origin =
            |word: &str| script.unknown(&STANDARD.decode(word).unwrap().try_into().unwrap()).cloned();
        assert_eq!(origin(&script.commands[0].words[3]), Some(Unknown::Made));
        assert_eq!(origin(&script.commands[1].words[1]), Some(Unknown::PublicKeyOf("wg1".into())));
        assert_eq!(origin(&script.commands[1].words[2]), Some(Unknown::File("/etc/k".into())));
        assert_eq!(script.unknown(&[7; 32]), None);
    }

    #[test]
    fn what_is_no_list_of_commands_is_told_by_line() {
        let errors = Script::read("a\nif x\nb | c\nd $E\ne `date`\nf 'g\n").unwrap_err();
        let told: Vec<String> = errors.iter().map(|error| format!("{}: {error}", error.line)).collect();
        assert_eq!(
            told,
            [
                "2: `if` is no plain command",
                "3: `|` is no plain command",
                "4: $E has not been set",
                "5: what `date` prints is not known",
                "6: a quote that does not end",
            ]
        );
    }
}
