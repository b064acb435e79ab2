//! `rdom exec [-T] DOMAIN [--] COMMAND...`: becomes `route -TN exec COMMAND`.

use std::ffi::OsString;

use clap::Args;

use super::host::{Host, all, programs};
use super::trouble::Trouble;
use super::{Common, Ended, Which};
use crate::exec;
use crate::model::{DomainId, NetworkName};

#[derive(Debug, Args)]
#[command(override_usage = "rdom exec [OPTIONS] [-T] DOMAIN [--] COMMAND...")]
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

/// What fails before there is a command ends with 1, as with route(8).
pub(super) fn run(words: &Words, common: &Common) -> Ended {
    replaced(words, common).map_err(|trouble| match trouble {
        Trouble::Exec(_) => trouble,
        own => {
            own.tell();
            Trouble::Said(1)
        }
    })
}

fn replaced(words: &Words, common: &Common) -> Ended {
    let (domain, command) = match (&words.rtable, words.words.split_first()) {
        (Some(domain), _) => (domain.clone(), words.words.as_slice()),
        (None, Some((first, rest))) => {
            let first = first.to_string_lossy();
            (first.strip_prefix("-T").unwrap_or(&first).to_owned(), rest)
        }
        (None, None) => (String::new(), words.words.as_slice()),
    };
    let command = command.strip_prefix(&[OsString::from("--")]).unwrap_or(command);
    if command.is_empty() {
        return Err(Trouble::failed("no command: rdom exec DOMAIN -- COMMAND"));
    }
    let programs = programs()?;
    let rtable = rtable(&domain, common)?;
    let arguments =
        [[format!("-T{rtable}"), "exec".to_owned()].map(OsString::from).as_slice(), command].concat();
    match exec::become_program(programs.path("route").as_os_str(), &arguments) {
        Ok(never) => match never {},
        Err(error) => Err(error.into()),
    }
}

/// The rtable of a number, of which route(8) knows whether it is there, or of a domain's name.
fn rtable(word: &str, common: &Common) -> Result<u32, Trouble> {
    if let Ok(number) = word.parse() {
        return Ok(number);
    }
    let mut found: Vec<(NetworkName, DomainId)> = Vec::new();
    let asked = |name: &NetworkName| common.network.as_ref().is_none_or(|named| named == name);
    for name in all()?.into_iter().filter(asked) {
        let observed = Host::of(&name)?.observe()?;
        let called = observed.domains.iter().find(|(_, domain)| domain.name.as_str() == word);
        found.extend(called.map(|(id, _)| (name, *id)));
    }
    match found.as_slice() {
        [(_, id)] => Ok(id.number()),
        [] => Err(Trouble::Failed(
            format!("there is no domain {word}: `rdom status` shows those there are").into(),
        )),
        [(one, _), (other, _), ..] => Err(Trouble::Usage {
            message: format!("networks {one} and {other} both have a domain {word}"),
            help: Some("say which: -n NETWORK".into()),
        }),
    }
}
