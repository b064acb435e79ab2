//! `rdom down`: asks the supervisor, or without one removes what it left behind.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::live::{self, Live};
use super::say::complain;
use super::say::{count, say};
use super::trouble::Trouble;
use super::{Common, Ended, Which, file, unused};
use crate::control::Residents;
use crate::engine::Process;
use crate::exec::group;
use crate::probe;
use crate::state::Lock;
use crate::supervisor::{self, UpError};

/// How long a supervisor may take to end once everything is down.
const ENDING: Duration = Duration::from_secs(10);
/// How often it is looked whether one has let go of its network.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    eviction: Eviction,
    /// The file of the network; without it, and without -n, the only one that there is
    file: Option<PathBuf>,
}

/// What becomes of who lives in a domain that is to go.
#[derive(Debug, Args)]
pub(super) struct Eviction {
    /// End the processes that live in domains which are to go; without it they keep everything as it is
    #[arg(long)]
    kill: bool,
}

impl Eviction {
    pub(super) fn residents(&self) -> Residents {
        if self.kill { Residents::Kill } else { Residents::Keep }
    }
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let common = file::meant(common, words.file.as_deref())?;
    let Some(live) = Live::find_any_to_ask(&common)? else {
        remove_leavings(&common)?;
        if live::roots_networks_are_hidden() {
            return Err(live::not_up(&common));
        }
        match &common.network {
            Some(name) => say(format_args!("network {name} is not up")),
            None => say("nothing is up"),
        }
        return Ok(ExitCode::SUCCESS);
    };
    let residents = words.eviction.residents();
    let supervisor = Supervisor::of(&live);
    if live.ask(|client| client.down(residents))?.is_some() {
        let ended = wait_for_end(&live, supervisor.as_ref())?;
        tell_residents(&live);
        return Ok(ended);
    }
    probe::administration()?;
    let taken = supervisor::clean_up(&live.name, &live.directories, residents).map_err(kept)?;
    say(format_args!("network {} is down ({}, no supervisor was alive)", live.name, count(taken, "step")));
    tell_residents(&live);
    Ok(ExitCode::SUCCESS)
}

/// Who lives in its domains, with what to type instead, or else what went wrong.
fn kept(error: UpError) -> Trouble {
    match error {
        UpError::Kept(kept) => {
            complain(format_args!("rdom: {}", kept.text()));
            Trouble::Said(1)
        }
        error => Trouble::failed(error),
    }
}

/// What a supervisor that was killed before its first step left of files.
fn remove_leavings(common: &Common) -> Result<(), Trouble> {
    for live in Live::leavings(common) {
        supervisor::clean_up(&live.name, &live.directories, Residents::Keep).map_err(Trouble::failed)?;
    }
    Ok(())
}

/// Programs that were in a vrf domain or a further rtable outlive it, with sockets that lead nowhere.
fn tell_residents(live: &Live) {
    for residents in group::remove_all(&live.name) {
        complain(format_args!("rdom: {residents}"));
    }
}

/// The supervisor of `rdom run` lets its network go, and then lives as long as its command.
fn wait_for_end(live: &Live, supervisor: Option<&Supervisor>) -> Ended {
    let deadline = Instant::now() + ENDING;
    if supervisor.is_some_and(|supervisor| !supervisor.is_done_by(live, deadline)) {
        return Err(Trouble::failed(format!(
            "network {} is down, but its supervisor does not end",
            live.name
        )));
    }
    say(format_args!("network {} is down", live.name));
    Ok(ExitCode::SUCCESS)
}

/// Who held a network's lock before it was taken down.
struct Supervisor {
    pid: i32,
    process: Process,
}

impl Supervisor {
    fn of(live: &Live) -> Option<Self> {
        let pid = Lock::holder(&live.directories)?;
        Some(Self { pid, process: Process::open(pid).ok()? })
    }

    /// Whether it has ended, or at least has let go of the network and does not end soon after.
    fn is_done_by(&self, live: &Live, deadline: Instant) -> bool {
        while Lock::holder(&live.directories) == Some(self.pid) {
            let next = Instant::now() + LOOK_AGAIN;
            if self.process.has_ended_by(next.min(deadline)) {
                return true;
            }
            if next > deadline {
                return false;
            }
        }
        let _goes_on = self.process.has_ended_by(Instant::now() + Lock::DYING);
        true
    }
}
