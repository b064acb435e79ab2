//! The command line: verbs and their options, and the one place where errors become text and exit statuses.
//!
//! Each verb is a file below here that takes its words, asks the rooms behind, and prints: one that every system has
//! here, the others below the system that has them. Exit statuses: 0 done, 1 failed, 2 bad usage or file, 3 differs,
//! 4 not permitted or not supported here; `exec`: 126 and 127 as route(8); `run`: 125 for its own failures; 130:
//! interrupted before it was done.

mod accounts;
mod captured;
mod check;
mod citizen;
mod completions;
mod export;
mod file;
mod hostname_if;
mod import;
#[cfg(target_os = "linux")]
mod linux;
mod man;
mod new_files;
mod openbsd;
mod portability;
mod say;
mod schema;
mod trouble;

use std::process::ExitCode;
use std::{env, io};

use clap::builder::UnknownArgumentValueParser;
use clap::{Arg, ArgAction};
use serde::Serialize;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::diagnostic::Paint;
use crate::model::NetworkName;
use trouble::Trouble;

/// What a verb ends with: an exit status, or what to tell the user first.
type Ended = Result<ExitCode, Trouble>;

/// The variable that is as good as --network.
const NETWORK: &str = "RDOM_NETWORK";

/// Options of every verb.
#[derive(Debug, Default, clap::Args)]
struct Common {
    /// The network to speak of; without it the only one there is
    #[arg(long, global = true, value_name = "NETWORK", env = NETWORK, hide_env = true, display_order = 901)]
    network: Option<NetworkName>,
    /// Print JSON, where something is shown
    #[arg(long, global = true, display_order = 902)]
    json: bool,
    /// Log more: each step; twice: what is asked of the kernel
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 903)]
    verbose: u8,
}

/// An option of `Common` that a verb makes no use of: not in its help, and refused.
fn unused(option: &'static str) -> Arg {
    let refused = UnknownArgumentValueParser::suggest("this verb makes no use of it");
    let flag = Arg::new(option).long(option).hide(true).action(ArgAction::Set).num_args(0..=1);
    flag.default_missing_value("").value_parser(refused)
}

/// `-n`, for the verbs in which OpenBSD's habits do not want that letter.
#[derive(Debug, Default, clap::Args)]
struct Which {
    /// The same as --network
    #[arg(short = 'n', value_name = "NETWORK", display_order = 900)]
    name: Option<NetworkName>,
}

/// Runs the command line that this process was started with.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if !openbsd::is_stood_in_for() {
        return linux::main();
    }
    openbsd::main()
}

/// To standard error; `RDOM_LOG` sets levels by module, as `RUST_LOG` does elsewhere.
fn start_log(usual: &str, paint: Paint) {
    let colour = matches!(paint, Paint::Coloured);
    let log =
        fmt::layer().with_writer(io::stderr).with_ansi(colour).with_target(false).log_internal_errors(false);
    tracing_subscriber::registry().with(log).with(levels(env::var("RDOM_LOG").ok(), usual)).init();
}

/// What is asked for, if that can be understood.
fn levels(asked: Option<String>, usual: &str) -> Targets {
    // boringtun calls every handshake that it gives up an error; peers that are away are none.
    let usual = format!("{usual},boringtun=off");
    let asked = asked.and_then(|levels| levels.parse().ok());
    asked.or_else(|| usual.parse().ok()).unwrap_or_default()
}

fn print_json(view: &impl Serialize) -> Ended {
    say::answer(format_args!("{}\n", serde_json::to_string_pretty(view).map_err(Trouble::failed)?))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::levels;

    #[test]
    fn levels_are_by_module_and_as_usual_where_none_are_asked_for() {
        let enabled = |asked: Option<&str>, module, level| {
            levels(asked.map(str::to_owned), "info").would_enable(module, &level)
        };
        for asked in [None, Some("rdomain=loud")] {
            assert!(enabled(asked, "rdomain::supervisor", Level::INFO));
            assert!(!enabled(asked, "rdomain::supervisor", Level::DEBUG));
            assert!(!enabled(asked, "boringtun::noise", Level::ERROR));
        }
        let asked = Some("rdomain::supervisor=debug,error");
        assert!(enabled(asked, "rdomain::supervisor::watch", Level::DEBUG));
        assert!(!enabled(asked, "rdomain::backend", Level::WARN));
        assert!(enabled(asked, "boringtun::noise", Level::ERROR));
    }
}
