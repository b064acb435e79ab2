//! The words of `rdom exec [-T] DOMAIN [--] COMMAND...`, which every system has.

use std::ffi::OsString;

use clap::Args;

use super::trouble::Trouble;
use super::{Which, unused};

#[derive(Debug, Args)]
#[command(override_usage = "rdom exec [OPTIONS] [-T] DOMAIN [--] COMMAND...")]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The domain, by number or name
    #[arg(short = 'T', value_name = "DOMAIN")]
    rtable: Option<String>,
    /// The command and its arguments; before it the domain, unless given by -T
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "COMMAND")]
    words: Vec<OsString>,
}

impl Words {
    /// `exec DOMAIN COMMAND...` without an option, which is read without a description of options: a seventh of the pages
    /// that `exec` touches are for that.
    #[cfg(target_os = "linux")]
    pub(super) fn plain(words: &[OsString]) -> Option<Self> {
        let (verb, words) = words.split_first()?;
        let is_plain = verb == "exec" && !words.first()?.as_encoded_bytes().starts_with(b"-");
        is_plain.then(|| Self { which: Which::default(), rtable: None, words: words.to_vec() })
    }

    /// The domain and the command, which may be empty.
    pub(super) fn parted(&self) -> Result<(String, &[OsString]), Trouble> {
        let (domain, command) = match (&self.rtable, self.words.split_first()) {
            (Some(domain), _) => (domain.clone(), self.words.as_slice()),
            (None, Some((first, rest))) => {
                let first = first.to_string_lossy();
                (first.strip_prefix("-T").unwrap_or(&first).to_owned(), rest)
            }
            (None, None) => return Err(no_command()),
        };
        Ok((domain, command.strip_prefix(&[OsString::from("--")]).unwrap_or(command)))
    }
}

/// What fails before there is a command ends with 1, as with route(8).
pub(super) fn status_of_route(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Exec(_) | Trouble::Said(_) => trouble,
        own => {
            own.tell();
            Trouble::Said(1)
        }
    }
}

pub(super) fn no_command() -> Trouble {
    Trouble::failed("no command: rdom exec DOMAIN -- COMMAND")
}
