//! The command line on Linux: its verbs, those that every system has among them.

mod apply;
mod capture;
mod confirm;
mod demo;
mod doctor;
mod down;
mod engine;
mod exec;
mod ifconfig;
mod impair;
mod lending;
mod live;
mod logs;
mod netstat;
mod ping;
mod plan;
mod resolve;
mod route;
mod run;
mod services;
mod status;
mod substitute;
mod test;
mod unit;
mod up;
mod wg;
mod wireguard;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::Serialize;

use super::{
    Common, Ended, NETWORK, Which, accounts, check, citizen, completions, export, file, import, man, openbsd,
    portability, print_json, say, schema, start_log, trouble, unused,
};
use crate::diagnostic::Paint;
use crate::memory;
use crate::model::NetworkName;

/// What the list of verbs does not say.
const AFTER_HELP: &str = "\
Without FILE, ./domains.yaml and then /etc/rdom/domains.yaml is read. RDOM_NETWORK is as good as \
--network, RDOM_LOG sets levels of the log by module.

Exit status: 0 done; 1 failed; 2 bad usage or file; 3 `plan` or `status --check` found a difference; 4 not permitted \
or not supported here. `exec` has that of the command, 127 or 126 if it was not found or cannot be run, 1 for all else; \
`run` has that of the command, and 125 for all else but bad usage; 130 of `up` and `test`: interrupted before they were \
done.";

#[derive(Debug, Parser)]
#[command(
    name = "rdom",
    version,
    about = "Routing domains: isolated L3 worlds with their own WireGuard, links, addresses and routes"
)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Rdom {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs that are in a hurry alone: to describe every verb takes a fifth of the time that it takes to put a program into
/// a domain.
#[derive(Debug, Parser)]
struct Brief {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: BriefVerb,
}

#[derive(Debug, Subcommand)]
enum BriefVerb {
    Exec(citizen::Words),
    Up(up::Words),
}

impl From<BriefVerb> for Verb {
    fn from(verb: BriefVerb) -> Self {
        match verb {
            BriefVerb::Exec(words) => Self::Exec(words),
            BriefVerb::Up(words) => Self::Up(words),
        }
    }
}

impl Rdom {
    /// What these words say. Those that are not plainly one of those verbs' are for the whole description to judge.
    fn of(words: &[OsString]) -> Self {
        if env::var_os(NETWORK).is_none()
            && let Some(words) = words.get(1..).and_then(citizen::Words::plain)
        {
            return Self { common: Common::default(), verb: Verb::Exec(words) };
        }
        let verb = words.get(1).and_then(|verb| verb.to_str());
        if verb.is_some_and(BriefVerb::has_subcommand)
            && let Ok(Brief { common, verb }) = Brief::try_parse_from(words)
        {
            return Self { common, verb: verb.into() };
        }
        Self::parse_from(words)
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The wg(4) manual page's example, proven, in a private copy that leaves nothing behind
    Demo(demo::Words),
    /// Say everything that is wrong with a file; touches nothing
    Check(check::Words),
    /// Print what `up` would change; exit status 3 if there is something
    Plan(plan::Words),
    /// Make it so, and keep it until Ctrl-C, or with -d until `rdom down`
    Up(up::Words),
    /// Make a network that is up what a file says by now, by the smallest change
    Apply(apply::Words),
    /// Keep what was applied with --confirm
    Confirm(confirm::Words),
    /// Take a network down, alive or left behind
    Down(down::Words),
    /// What this system can do, and what FILE or the network that is up makes of it
    Doctor(doctor::Words),
    /// Write a file's network in other people's words: a shell script, files of wg-quick(8)
    Export(export::Words),
    /// Write a `domains.yaml` from other people's files: those of wg-quick(8), or an OpenBSD's script
    Import(import::Words),
    /// Show domains, interfaces, tunnels and peers
    Status(status::Words),
    /// Print what the supervisor of a network has logged, or what a service has written; -f goes on
    Logs(logs::Words),
    /// Record packets of interfaces, several at once, as pcapng
    Capture(capture::Words),
    /// Have a link lose, delay or hold back packets, until the next `apply`
    Impair(impair::Words),
    /// Run a program in a domain: it becomes the program, as `route -T N exec` does
    Exec(citizen::Words),
    /// Run a program in a private, throw-away copy of a network; needs no root
    Run(run::Words),
    /// Run and check the `tests:` of files, each in a private copy
    Test(test::Words),
    /// route(8)'s habits: `route -T1 exec COMMAND`, `route -T1 show`, `route -T1 get ADDRESS`
    Route(route::Words),
    /// ifconfig(8)'s view of the interfaces of all domains
    Ifconfig(ifconfig::Words),
    /// netstat(1)'s views: `-ln` sockets of a domain, `-R` domains and their tables
    Netstat(netstat::Words),
    /// A drop-in that puts a service of systemd's into a domain
    Unit(unit::Words),
    /// wg(8) over all domains: `wg show`, `wg show all dump`, `wg set DOMAIN/IF ...`
    Wg(wg::Words),
    /// Print the JSON Schema of what `--json` prints
    Schema(schema::Words),
    /// Print the manual page, or write one of every verb into a directory
    Man(man::Words),
    /// Print what a shell wants to complete this command line
    Completions(completions::Words),
    /// The addresses of a name as programs in this domain get them: for tests
    #[command(hide = true)]
    Resolve(resolve::Words),
    /// The userspace WireGuard engine alone, as `wireguard-go IFNAME`
    Wireguard(wireguard::Words),
    /// The userspace engine's process, as a supervisor starts it
    #[command(hide = true)]
    Engine,
    /// The process that keeps services, likewise
    #[command(hide = true)]
    Services(services::Words),
    /// What a service is before it becomes its program
    #[command(hide = true)]
    Become(services::BecomeWords),
}

impl Verb {
    /// What was said with `-n`.
    fn network(&self) -> Option<&NetworkName> {
        let which = match self {
            Verb::Plan(words) => &words.which,
            Verb::Up(words) => &words.which,
            Verb::Apply(words) => &words.which,
            Verb::Confirm(words) => &words.which,
            Verb::Down(words) => &words.which,
            Verb::Doctor(words) => &words.which,
            Verb::Status(words) => &words.which,
            Verb::Logs(words) => &words.which,
            Verb::Capture(words) => &words.which,
            Verb::Impair(words) => &words.which,
            Verb::Exec(words) => &words.which,
            Verb::Export(words) => &words.which,
            Verb::Unit(words) => &words.which,
            Verb::Services(words) => &words.which,
            Verb::Become(words) => &words.which,
            Verb::Demo(_)
            | Verb::Check(_)
            | Verb::Import(_)
            | Verb::Run(_)
            | Verb::Test(_)
            | Verb::Resolve(_)
            | Verb::Route(_)
            | Verb::Ifconfig(_)
            | Verb::Netstat(_)
            | Verb::Wireguard(_)
            | Verb::Engine
            | Verb::Wg(_)
            | Verb::Completions(_)
            | Verb::Man(_)
            | Verb::Schema(_) => return None,
        };
        which.name.as_ref()
    }
}

/// Runs the command line that this process was started with.
pub(super) fn main() -> ExitCode {
    memory::keep_one_heap();
    let Rdom { mut common, verb } = Rdom::of(&words());
    common.network = verb.network().cloned().or(common.network);
    let colour = match &verb {
        Verb::Up(words) if words.detach => Paint::Plain,
        _ => trouble::paint(),
    };
    start_log(usual_level(&common, &verb), colour);
    heed_broken_pipes(&verb);
    let ended = match verb {
        Verb::Demo(words) => demo::run(&words),
        Verb::Check(words) => check::run(&words, &common),
        Verb::Plan(words) => plan::run(&words, &common),
        Verb::Up(words) => up::run(&words, &common),
        Verb::Apply(words) => apply::run(&words, &common),
        Verb::Confirm(words) => confirm::run(&words, &common),
        Verb::Down(words) => down::run(&words, &common),
        Verb::Doctor(words) => doctor::run(&words, &common),
        Verb::Status(words) => status::run(&words, &common),
        Verb::Logs(words) => logs::run(&words, &common),
        Verb::Capture(words) => capture::run(&words, &common),
        Verb::Impair(words) => impair::run(&words, &common),
        Verb::Exec(words) => exec::run(&words, &common),
        Verb::Export(words) => export::run(&words, &common),
        Verb::Import(words) => import::run(&words, &common),
        Verb::Run(words) => run::run(&words),
        Verb::Test(words) => test::run(&words, &common),
        Verb::Route(words) => route::run(&words, &common),
        Verb::Ifconfig(words) => ifconfig::run(&words, &common),
        Verb::Netstat(words) => netstat::run(&words, &common),
        Verb::Unit(words) => unit::run(&words, &common),
        Verb::Wg(words) => wg::run(&words, &common),
        Verb::Schema(words) => schema::run(&words),
        Verb::Man(words) => man::run(&words, Rdom::command()),
        Verb::Completions(words) => completions::run(&words, Rdom::command()),
        Verb::Resolve(words) => resolve::run(&words),
        Verb::Wireguard(words) => wireguard::run(&words),
        Verb::Engine => engine::run(),
        Verb::Services(_) => services::run(&common),
        Verb::Become(words) => services::become_service(&words, &common),
    };
    ended.unwrap_or_else(|trouble| ExitCode::from(trouble.tell()))
}

/// What was typed. Called by one of these names the program is its verb `wireguard`: wg-quick(8) takes one word as
/// WG_QUICK_USERSPACE_IMPLEMENTATION.
fn words() -> Vec<OsString> {
    let mut words: Vec<_> = env::args_os().collect();
    let name = words.first().and_then(|path| Path::new(path).file_name());
    if name.is_some_and(|name| name == "rdom-wireguard" || name == "wireguard-go") {
        words.splice(..1, ["rdom", "wireguard"].map(OsString::from));
    }
    words
}

/// What is logged unless something else is asked for.
fn usual_level(common: &Common, verb: &Verb) -> &'static str {
    match (common.verbose, verb) {
        (0, Verb::Up(_)) => "info",
        (0, Verb::Wireguard(_)) => wireguard::log_level().unwrap_or("warn"),
        (0, _) => "warn",
        (1, _) => "info",
        (2, _) => "debug",
        (_, _) => "trace",
    }
}

/// Verbs that only show something end when nobody reads on, as everything else in a pipe does, and a command that
/// this process becomes starts with signals as usual; Rust begins with SIGPIPE ignored (signal(7)).
fn heed_broken_pipes(verb: &Verb) {
    match verb {
        Verb::Check(_) | Verb::Plan(_) | Verb::Doctor(_) | Verb::Status(_) | Verb::Exec(_) => {}
        Verb::Become(_) => {}
        Verb::Logs(_) | Verb::Wg(_) | Verb::Completions(_) | Verb::Man(_) | Verb::Schema(_) => {}
        Verb::Export(_) | Verb::Import(_) | Verb::Resolve(_) => {}
        Verb::Route(_) | Verb::Ifconfig(_) | Verb::Netstat(_) | Verb::Unit(_) => {}
        Verb::Demo(_)
        | Verb::Up(_)
        | Verb::Apply(_)
        | Verb::Confirm(_)
        | Verb::Down(_)
        | Verb::Run(_)
        | Verb::Test(_)
        | Verb::Capture(_)
        | Verb::Impair(_)
        | Verb::Wireguard(_)
        | Verb::Services(_)
        | Verb::Engine => return,
    }
    // The default action runs no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

/// The file of this path, to be written anew.
fn create(path: &Path) -> Result<File, trouble::Trouble> {
    File::create(path)
        .map_err(|error| trouble::Trouble::usage(format!("cannot write {}: {error}", path.display())))
}

/// Prints a view: as text, or as JSON if that was asked for.
fn print<V: fmt::Display + Serialize>(view: &V, common: &Common) -> Ended {
    if common.json {
        return print_json(view);
    }
    say::answer(view)?;
    Ok(ExitCode::SUCCESS)
}
