//! `rdom route`: the habits of route(8).

use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::live::Live;
use super::say::answer;
use super::trouble::Trouble;
use super::{Common, Ended, exec, print};
use crate::status::{Family, not_in_table};

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The domain, by number or name
    #[arg(short = 'T', value_name = "DOMAIN", default_value = "0", global = true)]
    rtable: String,
    /// Numbers, not names: always so here
    #[arg(short, global = true)]
    numeric: bool,
    #[command(subcommand)]
    habit: Habit,
}

#[derive(Debug, Subcommand)]
enum Habit {
    /// Run a program in the domain
    Exec {
        /// The command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show the domain's routes
    Show {
        /// `-inet` or `-inet6`: of one family only
        #[arg(allow_hyphen_values = true, value_parser = family, value_name = "-inet|-inet6")]
        family: Option<Family>,
    },
    /// Show the route that a packet to ADDRESS would take
    Get {
        /// Where to
        address: IpAddr,
    },
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    match &words.habit {
        Habit::Exec { command } => exec::become_citizen(&words.rtable, command, common),
        Habit::Show { family } => show(&words.rtable, *family, common),
        Habit::Get { address } => get(&words.rtable, *address, common),
    }
}

/// Prints the routes of a domain.
pub(super) fn show(domain: &str, family: Option<Family>, common: &Common) -> Ended {
    let live = Live::find(common)?;
    let survey = live.view(domain)?;
    let (domain, which) = live.rtable(&survey, domain)?;
    let table = survey.route_table(domain, which).map_err(Trouble::failed)?;
    print(&family.into_iter().fold(table, |table, family| table.only(family)), common)
}

fn get(domain: &str, address: IpAddr, common: &Common) -> Ended {
    let live = Live::find(common)?;
    let survey = live.view(domain)?;
    let (domain, which) = live.rtable(&survey, domain)?;
    match survey.route_get(domain, which, address).map_err(Trouble::failed)? {
        Some(found) => print(&found, common),
        None => {
            answer(not_in_table(address))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn family(text: &str) -> Result<Family, String> {
    match text {
        "-inet" => Ok(Family::Inet),
        "-inet6" => Ok(Family::Inet6),
        _ => Err("-inet or -inet6".into()),
    }
}
