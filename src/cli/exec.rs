//! `rdom exec [-T] DOMAIN [--] COMMAND...`, and `ping` for machines that have none.

use std::ffi::OsString;

use clap::Args;

use super::live::{Live, place_in};
use super::trouble::Trouble;
use super::{Common, Ended, Which, ping};
use crate::exec::{self, ExecError};

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

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let (domain, command) = match (&words.rtable, words.words.split_first()) {
        (Some(domain), _) => (domain.clone(), words.words.as_slice()),
        (None, Some((first, rest))) => {
            let first = first.to_string_lossy();
            (first.strip_prefix("-T").unwrap_or(&first).to_owned(), rest)
        }
        (None, None) => return Err(no_command()),
    };
    let command = command.strip_prefix(&[OsString::from("--")]).unwrap_or(command);
    become_citizen(&domain, command, common)
}

/// Turns this process into the command in that domain. The domain is looked at first: without it no command is.
/// What fails before there is a command ends with 1, as with route(8).
pub(super) fn become_citizen(domain: &str, command: &[OsString], common: &Common) -> Ended {
    replaced(domain, command, common).map_err(|trouble| match trouble {
        Trouble::Exec(_) | Trouble::Said(_) => trouble,
        own => {
            own.tell();
            Trouble::Said(1)
        }
    })
}

fn replaced(domain: &str, command: &[OsString], common: &Common) -> Ended {
    let live = Live::find(common)?;
    let survey = live.survey()?;
    let (id, which) = live.rtable(&survey, domain)?;
    let (program, arguments) = command.split_first().ok_or_else(no_command)?;
    let place = place_in(&live, survey, id, which)?;
    // Of this process only, which has one thread and is about to become the command.
    unsafe {
        std::env::set_var("RDOM_NETWORK", live.name.as_str());
        std::env::set_var("RDOM_DOMAIN", id.to_string());
        std::env::set_var("RDOM_DOMAIN_NAME", &place.name);
    }
    match exec::replace(&place, program, arguments) {
        Ok(never) => match never {},
        Err(ExecError::NotFound { .. }) if program == "ping" => ping::run(arguments),
        Err(error) => Err(error.into()),
    }
}

fn no_command() -> Trouble {
    Trouble::failed("no command: rdom exec DOMAIN -- COMMAND")
}
