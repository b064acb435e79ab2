//! `rdom exec [-T] DOMAIN [--] COMMAND...`, and `ping` for machines that have none.

use std::ffi::OsString;

use clap::Args;

use super::live::{Live, place_in};
use super::trouble::Trouble;
use super::{Common, Ended, Which, ping};
use crate::exec::{self, ExecError};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The domain, by number or name
    #[arg(short = 'T', value_name = "DOMAIN")]
    rtable: Option<String>,
    /// The domain, unless given by -T, and the command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "DOMAIN [--] COMMAND"
    )]
    words: Vec<OsString>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut rest = words.words.as_slice();
    let domain = match &words.rtable {
        Some(domain) => domain.clone(),
        None => {
            let (first, after) = rest.split_first().ok_or_else(|| Trouble::usage("no domain"))?;
            rest = after;
            first.to_string_lossy().into_owned()
        }
    };
    if rest.first().is_some_and(|word| word == "--") {
        rest = &rest[1..];
    }
    become_citizen(&domain, rest, common)
}

/// Turns this process into the command in that domain. The domain is looked at first: without it no command is.
pub(super) fn become_citizen(domain: &str, command: &[OsString], common: &Common) -> Ended {
    let live = Live::find(common)?;
    let survey = live.survey()?;
    let id = live.domain(&survey, domain)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(Trouble::Usage {
            message: "no command".into(),
            help: Some("rdom exec DOMAIN -- COMMAND".into()),
        });
    };
    let place = place_in(survey, id)?;
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
