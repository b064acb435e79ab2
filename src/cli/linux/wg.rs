//! `rdom wg`: wg(8) over all domains. `show` is told by rdom, with the file's names of peers; everything else, `dump`
//! and the other words after an interface of `show` among it, is the user's own `wg`, run in the interface's domain.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use clap::Args;

use super::exec::become_citizen;
use super::live::Live;
use super::say::answer;
use super::trouble::Trouble;
use super::{Common, Ended, print_json, status};
use crate::status::WgShow;

#[derive(Debug, Args)]
#[command(override_usage = "rdom wg [show [all | DOMAIN/IF] [dump | peers | ...]]
       rdom wg [--domains] show all {dump | peers | ...}
       rdom wg {set | setconf | addconf | syncconf | showconf} DOMAIN/IF ...")]
pub(super) struct Words {
    /// Begin each line of `show all dump` and its like with the number of the domain
    #[arg(long)]
    domains: bool,
    /// wg(8)'s own words, with DOMAIN/IF for an interface
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    words: Vec<OsString>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let told: Vec<_> = words.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    // Of what is shown here; wg(8) has no such word.
    if let ["show", "--json"] | ["show", _, "--json"] = told.as_slice() {
        let words = Words { domains: words.domains, words: words.words[..told.len() - 1].to_vec() };
        return run(&words, &Common { json: true, network: common.network.clone(), verbose: common.verbose });
    }
    match told.as_slice() {
        [] | ["show"] | ["show", "all"] => show(None, common),
        ["show", "all", ..] => each(&words.words[2..], words.domains, common),
        ["show", "interfaces"] => interfaces(common),
        ["show", one] => show(Some(parsed(one)?), common),
        ["show" | "set" | "setconf" | "addconf" | "syncconf" | "showconf", one, ..] => {
            let (domain, interface) = parsed(one)?;
            let command = [OsString::from("wg"), words.words[0].clone(), interface.into()];
            become_citizen(domain, &[command.as_slice(), &words.words[2..]].concat(), common)
        }
        [verb @ ("set" | "setconf" | "addconf" | "syncconf" | "showconf")] => Err(Trouble::Usage {
            message: format!("wg {verb} of what?"),
            help: Some(format!("rdom wg {verb} DOMAIN/IF; `rdom wg show interfaces` lists them")),
        }),
        [other, ..] => Err(Trouble::Usage {
            message: format!("wg has no `{other}` that needs a domain"),
            help: Some("keys are the same in all of them: wg genkey, wg genpsk, wg pubkey".into()),
        }),
    }
}

fn show(only: Option<(&str, &str)>, common: &Common) -> Ended {
    let live = Live::find(common)?;
    let view = status::seen(&live)?;
    let shown = WgShow::of(&view, only);
    if let (Some((domain, interface)), true) = (only, shown.is_empty()) {
        return Err(none_such(domain, interface, &WgShow::of(&view, None)));
    }
    if common.json {
        return print_json(&shown);
    }
    answer(shown)?;
    Ok(ExitCode::SUCCESS)
}

fn interfaces(common: &Common) -> Ended {
    let view = status::seen(&Live::find(common)?)?;
    WgShow::of(&view, None).names().try_for_each(|name| answer(format_args!("{name}\n")))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `wg show IF WORDS` for every interface; its lines begin with the interface, as those of `wg show all` do.
fn each(words: &[OsString], with_domain: bool, common: &Common) -> Ended {
    let live = Live::find(common)?;
    let view = status::seen(&live)?;
    let program = env::current_exe().map_err(Trouble::failed)?;
    for name in WgShow::of(&view, None).names() {
        let (domain, interface) = parsed(name)?;
        let mut command = Command::new(&program);
        command.args(["--network", live.name.as_str(), "exec", domain, "wg", "show", interface]).args(words);
        let output = command.output().map_err(Trouble::failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Trouble::failed(format!("{name}: {}", said.trim_end())));
        }
        let prefix = if with_domain { format!("{domain}\t{interface}") } else { interface.to_owned() };
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().try_for_each(|line| answer(format_args!("{prefix}\t{line}\n")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn parsed(word: &str) -> Result<(&str, &str), Trouble> {
    word.split_once('/').ok_or_else(|| Trouble::Usage {
        message: format!("`{word}` is not an interface of a domain"),
        help: Some(format!("DOMAIN/IF, as `1/{word}`; `rdom wg show interfaces` lists them")),
    })
}

fn none_such(domain: &str, interface: &str, all: &WgShow<'_>) -> Trouble {
    let known: Vec<_> = all.names().collect();
    Trouble::failed(format!("{domain}/{interface}: no such tunnel (there are {})", known.join(", ")))
}
