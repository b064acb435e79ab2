//! `rdom netstat -ln`, `-R` and `-rn`: the habits of netstat(1).

use std::process::ExitCode;

use clap::{ArgGroup, Args};

use super::live::Live;
use super::say::answer;
use super::trouble::Trouble;
use super::{Common, Ended, print, print_json, route};
use crate::status::render_rdomains;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("view").required(true).args(["listening", "rdomains", "routes"])))]
pub(super) struct Words {
    /// Sockets that wait for somebody
    #[arg(short)]
    listening: bool,
    /// Numbers, not names: always so here
    #[arg(short)]
    numeric: bool,
    /// Domains, their interfaces and rtables
    #[arg(short = 'R')]
    rdomains: bool,
    /// The same as `route show`
    #[arg(short)]
    routes: bool,
    /// The domain, by number or name
    #[arg(short = 'T', value_name = "DOMAIN", default_value = "0")]
    rtable: String,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    if words.routes {
        return route::show(&words.rtable, None, common);
    }
    let live = Live::find(common)?;
    if words.listening {
        let survey = live.view(&words.rtable)?;
        let (domain, _) = live.rtable(&survey, &words.rtable)?;
        return print(&survey.socket_table(domain).map_err(Trouble::failed)?, common);
    }
    let rdomains = live.survey()?.rdomains().map_err(Trouble::failed)?;
    if common.json {
        return print_json(&rdomains);
    }
    answer(render_rdomains(&rdomains))?;
    Ok(ExitCode::SUCCESS)
}
