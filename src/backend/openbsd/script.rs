//! A plan as a shell script that takes it: what an operator would type, and could.
//!
//! Secrets are read from their files when the script runs. A key that is still to be made is made by openssl(1) and
//! asked back from the interface, as the manual page of wg(4) does it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::command::{Command, Word};
use crate::model::{End, Fingerprint, Key, Preshared, PublicKey};

/// Where secrets are kept.
#[derive(Clone, Debug, Default)]
pub struct SecretFiles {
    /// Of private keys, by the public one.
    pub private: BTreeMap<PublicKey, PathBuf>,
    /// Of preshared keys.
    pub preshared: BTreeMap<Fingerprint, PathBuf>,
}

/// The commands as lines of sh(1).
pub fn script(commands: &[Command], files: &SecretFiles) -> String {
    let mut lines = String::new();
    let mut asked = BTreeSet::new();
    for command in commands {
        for end in command.words.iter().filter_map(unknown_public_key) {
            if asked.insert(end.clone()) {
                let (variable, name) = (variable(end), &end.interface);
                lines += &format!("{variable}=\"`ifconfig {name} | grep 'wgpubkey' | cut -d ' ' -f 2`\"\n");
            }
        }
        let words: Vec<String> = command.words.iter().map(|word| spelled(word, files)).collect();
        lines += &words.join(" ");
        lines.push('\n');
    }
    lines
}

fn unknown_public_key(word: &Word) -> Option<&End> {
    match word {
        Word::PublicKey(Key::Of(end)) => Some(end),
        Word::PublicKey(Key::Public(_)) | Word::Text(_) | Word::PrivateKey(_) | Word::Preshared(_) => None,
    }
}

fn variable(end: &End) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = end.interface.as_str().chars().map(plain).collect();
    format!("PUB_{name}")
}

fn spelled(word: &Word, files: &SecretFiles) -> String {
    let made = || "`openssl rand -base64 32`".to_owned();
    let read = |path: &PathBuf| format!("\"`cat {}`\"", quoted(&path.display().to_string()));
    match word {
        Word::Text(text) => quoted(text),
        Word::PublicKey(Key::Public(key)) => key.to_string(),
        Word::PublicKey(Key::Of(end)) => format!("${}", variable(end)),
        Word::PrivateKey(Key::Public(key)) => files.private.get(key).map_or_else(made, read),
        Word::PrivateKey(Key::Of(_)) => made(),
        Word::Preshared(Preshared::Known(known)) => files.preshared.get(known).map_or_else(made, read),
        Word::Preshared(Preshared::Of(_)) => made(),
    }
}

/// As sh(1) takes it for one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:%@+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
