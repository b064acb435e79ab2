//! `rdom impair DOMAIN/IF`: what a link of a network that is up does to packets, until the next `apply`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;

use super::live::Live;
use super::say::say;
use super::trouble::Trouble;
use super::{Common, Ended, Which, print_json};
use crate::control::{ClientError, Impair};
use crate::{probe, spec};

#[derive(Debug, Args)]
#[command(after_help = "\
What is said replaces all that the link does, both ways unless --one-way; it holds until `apply` or `down`.
More than a rate takes a kernel with netem.
  rdom impair 1/eth0 --delay 20ms --loss 5%
  rdom impair 1/eth0 --delay 200ms --one-way
  rdom impair 1/eth0 --clear")]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// An end of the link
    #[arg(value_name = "DOMAIN/IF")]
    interface: String,
    #[command(flatten)]
    wanted: Wanted,
    /// Leave alone what comes the other way: only packets that leave by this end are meant
    #[arg(long)]
    one_way: bool,
    /// Do again what the file says
    #[arg(long, conflicts_with_all = ["delay", "jitter", "loss", "reorder", "rate"])]
    clear: bool,
}

#[derive(Debug, Args)]
struct Wanted {
    /// How much later packets arrive
    #[arg(long, value_name = "TIME")]
    delay: Option<String>,
    /// By how much that varies
    #[arg(long, value_name = "TIME")]
    jitter: Option<String>,
    /// How many packets are lost, as `5%`; `0%` alone leaves packets alone
    #[arg(long, value_name = "SHARE")]
    loss: Option<String>,
    /// How many packets overtake others
    #[arg(long, value_name = "SHARE")]
    reorder: Option<String>,
    /// How much passes, as `10mbit`
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
}

impl Wanted {
    /// What was said, by the keys of a file.
    fn words(&self) -> BTreeMap<String, String> {
        let Self { delay, jitter, loss, reorder, rate } = self;
        let all =
            [("delay", delay), ("jitter", jitter), ("loss", loss), ("reorder", reorder), ("rate", rate)];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect()
    }
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let said = words.wanted.words();
    if said.is_empty() && !words.clear {
        let message = format!("what shall {} do to packets?", words.interface);
        let help = Some(format!("rdom impair {} --loss 5%, or --clear", words.interface));
        return Err(Trouble::Usage { message, help });
    }
    let wanted = spec::impairment(said.iter().map(|(key, text)| (key.as_str(), text.as_str())));
    let wanted = wanted.map_err(|trouble| Trouble::usage(trouble.to_string()))?;
    let live = Live::find(common)?;
    probe::impairable(&wanted)?;
    let impair = Impair {
        interface: words.interface.clone(),
        impairment: (!words.clear).then_some(said),
        one_way: words.one_way,
    };
    let answer = live.ask(|client| match client.impair(&impair) {
        Err(ClientError::Refused(why)) => Ok(Err(why)),
        answer => answer.map(Ok),
    })?;
    match answer {
        None => Err(live.has_no_supervisor()),
        Some(Err(why)) => Err(Trouble::failed(why)),
        Some(Ok(ends)) if common.json => print_json(&ends),
        Some(Ok(ends)) => {
            ends.iter().for_each(|end| say(format_args!("impaired {end}")));
            Ok(ExitCode::SUCCESS)
        }
    }
}
