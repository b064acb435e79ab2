//! Looks a name up as a program of a domain would: with the domain's own resolv.conf(5), hosts(5) and nsswitch.conf(5).
//!
//! getaddrinfo(3) has no deadline and reads these files once a process, so it is a process of its own that calls it,
//! and a thread that waits for it. The process ends by itself when its time is up, and with its supervisor.

use std::io;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tokio::sync::mpsc::Sender;

use super::Event;
use super::endpoints::Name;
use crate::model::NetworkName;

/// How long a lookup may take: longer than the five seconds after which a second name server is asked.
const WITHIN_SECS: u32 = 8;
/// This program; it need not be there by its name any more.
const SELF: &str = "/proc/self/exe";

/// What came of a lookup: addresses in the order in which to try them, at least one, or why there are none.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) name: Name,
    pub(super) addresses: Result<Vec<IpAddr>, String>,
}

/// Looks a name up in a domain of this network; the queue is told what came of it.
pub(super) fn look_up(network: &NetworkName, name: Name, queue: Sender<Event>) {
    let (mut command, told, looked_up) = (command(network, &name), queue.clone(), name.clone());
    let wait = move || {
        let addresses = addresses(&mut command);
        let _nobody_listens = queue.blocking_send(Event::Found(Found { name, addresses }));
    };
    if let Err(error) = thread::Builder::new().name("lookup".into()).spawn(wait) {
        // From the thread that empties the queue: when that is full, the peer waits for the next stir.
        let _full = told.try_send(Event::Found(Found { name: looked_up, addresses: Err(error.to_string()) }));
    }
}

fn command(network: &NetworkName, name: &Name) -> Command {
    let (domain, within) = (name.underlay.to_string(), WITHIN_SECS.to_string());
    let mut command = Command::new(SELF);
    if !name.underlay.is_default() {
        command.args(["exec", "-T", &domain, "--", SELF]);
    }
    command.args(["resolve", "--within", &within, "--", &name.host]);
    command.env("RDOM_NETWORK", network.as_str()).env_remove("RDOM_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: prctl(2) may be called between fork and exec.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
    command
}

fn addresses(command: &mut Command) -> Result<Vec<IpAddr>, String> {
    let output = command.output().map_err(|error: io::Error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found: Vec<IpAddr> = said.lines().filter_map(|line| line.parse().ok()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().next_back().map(|line| line.strip_prefix("rdom: ").unwrap_or(line));
    Err(last.map_or_else(|| format!("no answer within {WITHIN_SECS} seconds"), str::to_owned))
}
