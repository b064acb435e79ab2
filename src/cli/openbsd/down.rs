//! `rdom down`: ends the process that keeps a network, or without one removes what is there.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::host::{Host, administration};
use super::say::{count, say};
use super::trouble::Trouble;
use super::{Common, Ended, Which, file, unused};
use crate::state::Lock;

/// How long a process that keeps a network may take to end.
const ENDING: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The file of the network; without it, and without -n, the only one that there is
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let common = file::meant(common, words.file.as_deref())?;
    administration()?;
    let Some(host) = Host::find(&common)? else {
        match &common.network {
            Some(name) => say(format_args!("network {name} is not up")),
            None => say("nothing is up"),
        }
        return Ok(ExitCode::SUCCESS);
    };
    if let Some(keeper) = Lock::holder(&host.directories) {
        end(&host, keeper)?;
    }
    let lock = host.lock()?;
    let steps = host.clear()?;
    drop(lock);
    say(format_args!("network {} is down ({})", host.name, count(steps, "step")));
    Ok(ExitCode::SUCCESS)
}

/// The process that keeps the network takes it down itself, as at Ctrl-C.
fn end(host: &Host, keeper: i32) -> Result<(), Trouble> {
    let _ = kill(Pid::from_raw(keeper), Signal::SIGTERM);
    let deadline = Instant::now() + ENDING;
    while Lock::holder(&host.directories) == Some(keeper) {
        if Instant::now() > deadline {
            return Err(Trouble::failed(format!(
                "process {keeper}, which keeps network {}, does not end",
                host.name
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
