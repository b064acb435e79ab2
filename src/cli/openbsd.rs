//! The command line on OpenBSD, and on other systems with stand-ins for its tools.
//!
//! Its kernel keeps everything that a network is of, so there is no supervisor: a verb looks at what the tools print,
//! and makes a change under the network's lock. `RDOM_OPENBSD_TOOLS=DIRECTORY` takes ifconfig, route and netstat from
//! there: so the tests run these very verbs against a simulator.

mod apply;
mod down;
mod exec;
mod host;
mod plan;
mod status;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use super::{
    Common, Ended, Which, captured, check, citizen, completions, export, file, hostname_if, import, man,
    portability, print_json, say, schema, start_log, trouble, unused,
};
use crate::model::NetworkName;
#[cfg(target_os = "linux")]
pub(super) use host::is_stood_in_for;
#[cfg(target_os = "linux")]
pub(super) use plan::{Planned, run as plan};

/// What the list of verbs does not say.
const AFTER_HELP: &str = "\
Without FILE, ./domains.yaml and then /etc/rdom/domains.yaml is read. RDOM_NETWORK is as good as \
--network, RDOM_LOG sets levels of the log by module.

Exit status: 0 done; 1 failed; 2 bad usage or file; 3 `plan` found a difference; 4 not permitted or not supported \
here. `exec` has that of route(8) and of the command; 130 of `up` and `apply`: interrupted.";

#[derive(Debug, Parser)]
#[command(
    name = "rdom",
    version,
    about = "Routing domains with their own WireGuard, links, addresses and routes, from one file"
)]
#[command(after_help = AFTER_HELP)]
struct Rdom {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say everything that is wrong with a file; touches nothing
    Check(check::Words),
    /// Print the command lines that `up` would run; exit status 3 if there are any
    Plan(plan::Words),
    /// Make it so, until Ctrl-C, or with -d until `rdom down`
    Up(up::Words),
    /// Make a network that is up what the file says by now
    Apply(apply::Words),
    /// Take a network down
    Down(down::Words),
    /// Show what there is of networks, as ifconfig(8) does
    Status(status::Words),
    /// Run a program in a domain: it becomes the program, by route(8)
    Exec(citizen::Words),
    /// Write a file's network in other people's words: files of hostname.if(5) or wg-quick(8), a shell script
    Export(export::Words),
    /// Write a `domains.yaml` from other people's files
    Import(import::Words),
    /// Print the JSON Schema of what `--json` prints
    Schema(schema::Words),
    /// Print the manual page, or write one of every verb into a directory
    Man(man::Words),
    /// Print what a shell wants to complete this command line
    Completions(completions::Words),
}

impl Verb {
    /// What was said with `-n`.
    fn network(&self) -> Option<&NetworkName> {
        let which = match self {
            Verb::Plan(words) => &words.which,
            Verb::Up(words) => &words.which,
            Verb::Apply(words) => &words.which,
            Verb::Down(words) => &words.which,
            Verb::Status(words) => &words.which,
            Verb::Exec(words) => &words.which,
            Verb::Export(words) => &words.which,
            Verb::Check(_) | Verb::Import(_) => return None,
            Verb::Schema(_) | Verb::Man(_) | Verb::Completions(_) => return None,
        };
        which.name.as_ref()
    }
}

/// Runs the command line that this process was started with.
pub(super) fn main() -> ExitCode {
    let Rdom { mut common, verb } = Rdom::parse();
    common.network = verb.network().cloned().or(common.network);
    start_log(["warn", "info", "debug", "trace"][usize::from(common.verbose.min(3))], trouble::paint());
    let ended = match verb {
        Verb::Check(words) => check::run(&words, &common),
        Verb::Plan(words) => plan::here(&words, &common),
        Verb::Up(words) => up::run(&words, &common),
        Verb::Apply(words) => apply::run(&words, &common),
        Verb::Down(words) => down::run(&words, &common),
        Verb::Status(words) => status::run(&words, &common),
        Verb::Exec(words) => exec::run(&words, &common),
        Verb::Export(words) => export::run(&words, &common),
        Verb::Import(words) => import::run(&words, &common),
        Verb::Schema(words) => schema::run(&words),
        Verb::Man(words) => man::run(&words, Rdom::command()),
        Verb::Completions(words) => completions::run(&words, Rdom::command()),
    };
    ended.unwrap_or_else(|trouble| ExitCode::from(trouble.tell()))
}
