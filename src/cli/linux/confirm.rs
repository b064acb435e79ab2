//! `rdom confirm`: what was applied with `--confirm` stays.

use std::process::ExitCode;

use clap::Args;

use super::live::Live;
use super::say::say;
use super::{Common, Ended, Which, unused};
use crate::control::Client;

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
}

pub(super) fn run(_: &Words, common: &Common) -> Ended {
    let live = Live::find_to_ask(common)?;
    match live.ask(Client::confirm)? {
        Some(()) => {
            say(format_args!("network {} stays as it is", live.name));
            Ok(ExitCode::SUCCESS)
        }
        None => Err(live.has_no_supervisor()),
    }
}
