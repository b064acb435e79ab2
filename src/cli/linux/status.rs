//! `rdom status`: from the supervisor if it lives, else straight from the kernel.

mod screen;
mod watch;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Args;

use super::live::Live;
use super::say::{answer, complain};
use super::trouble::Trouble;
use super::{Common, Ended, Which};
use crate::backend::linux::Linux;
use crate::control::Client;
use crate::state::KeyRing;
use crate::status::{Glance, StatusView, Tint};
use crate::supervisor::{self, NoEngines};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// Go on: redraw on a terminal, print what has changed into a pipe
    #[arg(short, long)]
    watch: bool,
    /// End with 3 unless all is as it was asked for
    #[arg(long, conflicts_with = "watch")]
    check: bool,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let live = Live::find_to_ask(common)?;
    let view = seen(&live)?;
    if view.supervisor.is_none() {
        complain(format_args!(
            "warning: network {name} has no supervisor any more, so nothing repairs it\n\
             help: `rdom up` makes it whole again, `rdom down -n {name}` removes what is left",
            name = live.name
        ));
    }
    if words.watch {
        return watch::run(&live, view, common);
    }
    answer(shown(&view, common)?)?;
    match words.check && !view.is_as_asked() {
        true => Ok(ExitCode::from(3)),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// What the supervisor sees, or without one what the kernel says.
pub(super) fn seen(live: &Live) -> Result<StatusView, Trouble> {
    match live.ask(Client::status)? {
        Some(json) => serde_json::from_str(&json).map_err(Trouble::failed),
        None => from_kernel(live),
    }
}

/// A document as JSON, or as people read it, with colours if there is a terminal.
fn shown(view: &StatusView, common: &Common) -> Result<String, Trouble> {
    if common.json {
        let json = serde_json::to_string_pretty(view).map_err(Trouble::failed)?;
        return Ok(format!("{json}\n"));
    }
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let tint = if plain || !io::stdout().is_terminal() { Tint::Plain } else { Tint::Coloured };
    Ok(Glance::new(view, tint).to_string())
}

fn from_kernel(live: &Live) -> Result<StatusView, Trouble> {
    let engines = Box::new(NoEngines);
    let opened = Linux::open(live.name.clone(), &live.directories, KeyRing::default(), engines);
    let view = opened.and_then(|mut backend| supervisor::status(&mut backend, &live.directories, None));
    view.map_err(Trouble::failed)
}
