//! `rdom ifconfig [IF]`: interfaces of all domains, as ifconfig(8) shows them.

use std::process::ExitCode;

use clap::Args;

use super::live::Live;
use super::say::{answer, complain};
use super::trouble::Trouble;
use super::{Common, Ended, print_json};
use crate::status::{Detail, render_interfaces, select};

#[derive(Debug, Args)]
pub(super) struct Words {
    /// An interface, in whichever domains have it, or DOMAIN/IF; all without it
    interface: Option<String>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let live = Live::find(common)?;
    let survey = live.survey()?;
    let mut views = survey.interfaces().map_err(Trouble::failed)?;
    let detail = match &words.interface {
        None => Detail::Brief,
        Some(word) => {
            views = match select(views, word) {
                Ok(views) => views,
                Err(missing) => {
                    complain(missing);
                    return Err(Trouble::Said(1));
                }
            };
            Detail::Whole
        }
    };
    if common.json {
        return print_json(&views);
    }
    answer(render_interfaces(&views, detail))?;
    Ok(ExitCode::SUCCESS)
}
