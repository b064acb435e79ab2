//! Who lives in the domains of a network: processes that somebody started there, and that would lose their network.
//!
//! A process is in the namespace whose file /proc/PID/net/dev it sees: each namespace has one of its own, with a number
//! of its own. Everybody may look at it, unlike at /proc/PID/ns/net (ptrace(2), PTRACE_MODE_READ), so it takes no
//! privilege that a supervisor has given up. In a namespace that domains share, those of an rtable's control group are
//! its residents. The engines of the network, which live in the underlays of their tunnels, are none: those that a
//! supervisor has recorded, whatever others call themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs;
use std::iter;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};
use thiserror::Error;
use tracing::info;

use super::engines;
use crate::backend::BackendError;
use crate::backend::linux::{Place, Survey, Visitor, visit};
use crate::control::Residents;
use crate::diagnostic::chain;
use crate::engine::Process;
use crate::exec::group;
use crate::model::{DomainId, DomainName, NetworkName};
use crate::plan::Step;
use crate::service;
use crate::state::Directories;

/// How long a resident may take to end when it is asked to, and how long to be killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked for more.
const ROUNDS: usize = 2;
/// The most of a command line that is shown, in characters.
const COMMAND_LENGTH: usize = 60;
/// How many ancestors of a process are asked for.
const GENERATIONS: usize = 64;

/// A process that lives in a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// The domain.
    pub domain: DomainId,
    /// The domain's name.
    pub name: DomainName,
    /// The process.
    pub pid: i32,
    /// Its command line.
    pub command: String,
}

impl fmt::Display for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain {} ({}): process {}: {}", self.domain, self.name, self.pid, self.command)
    }
}

/// Why domains are kept.
#[derive(Debug, Error)]
pub enum KeptError {
    /// Somebody lives there.
    #[error("{what}, for processes live there:{list}", list = listed(.residents))]
    Inhabited {
        /// What is kept.
        what: String,
        /// Who lives there.
        residents: Vec<Resident>,
        /// What to type instead.
        help: String,
    },
    /// It could not be seen.
    #[error("cannot see who lives in the domains")]
    Unseen(#[from] BackendError),
}

impl KeptError {
    /// With what to type instead.
    pub fn text(&self) -> String {
        match self {
            KeptError::Inhabited { help, .. } => format!("{self}\nhelp: {help}"),
            KeptError::Unseen(_) => chain(self),
        }
    }
}

/// What is to go, and what to say where it is kept.
pub(super) struct Eviction<'f> {
    pub(super) residents: &'f dyn Fn() -> Result<Vec<Resident>, BackendError>,
    pub(super) kept: String,
    pub(super) help: String,
}

impl Eviction<'_> {
    /// Of a network that is to go down.
    pub(super) fn all<'f>(
        network: &NetworkName,
        residents: &'f dyn Fn() -> Result<Vec<Resident>, BackendError>,
    ) -> Eviction<'f> {
        Eviction {
            residents,
            kept: format!("network {network} is kept"),
            help: format!("end them; or to have them ended: rdom down --kill -n {network}"),
        }
    }

    /// Ends the residents if that was asked for; an error if there are any afterwards.
    pub(super) fn carry_out(self, what: Residents) -> Result<(), KeptError> {
        if let Residents::Kill = what {
            end_all(self.residents)?;
        }
        let found = (self.residents)()?;
        match found.is_empty() {
            true => Ok(()),
            false => Err(KeptError::Inhabited { what: self.kept, residents: found, help: self.help }),
        }
    }
}

/// Ends residents; takes as long as they do, up to a limit. There may be some afterwards.
pub(super) fn end_all(
    residents: &dyn Fn() -> Result<Vec<Resident>, BackendError>,
) -> Result<(), BackendError> {
    // Whoever is asked to end may start others first.
    for _ in 0..ROUNDS {
        let found = residents()?;
        if found.is_empty() {
            break;
        }
        end(&found);
    }
    Ok(())
}

fn listed(residents: &[Resident]) -> String {
    residents.iter().fold(String::new(), |mut list, resident| {
        let _ = write!(list, "\n  {resident}");
        list
    })
}

/// The residents of all domains of a network but the default one; of that, those of its further rtables.
pub fn residents(network: &NetworkName, directories: &Directories) -> Result<Vec<Resident>, BackendError> {
    let (elsewhere, groups) = (elsewhere(), inhabited_groups(network));
    if elsewhere.is_empty() && groups.is_empty() {
        return Ok(Vec::new());
    }
    let survey = Survey::of(directories)?;
    let mut found = in_namespaces(&elsewhere, &survey);
    found.extend(in_groups(&groups, &survey)?);
    let name = |domain| survey.namespaces().domain(domain).map(|place| place.name.clone());
    let engines = engines::recorded(directories);
    let is_engine = |pid| started(pid).is_some_and(|started| engines.contains(&(pid, started)));
    let resident =
        |(domain, pid)| Some(Resident { domain, name: name(domain)?, pid, command: command(pid)? });
    Ok(found.into_iter().filter(|(_, pid)| !is_engine(*pid)).filter_map(resident).collect())
}

/// Kills who lives in a network, in its default domain too: for one whose default domain is nobody else's.
pub fn kill_all(directories: &Directories) -> Result<(), BackendError> {
    let survey = Survey::of(directories)?;
    let homes = homes(&survey);
    let lives_there = |pid: i32| number_of_process(pid).is_some_and(|home| homes.contains_key(&home));
    for _ in 0..ROUNDS {
        let found = processes().filter(|&pid| lives_there(pid) && pid != getpid().as_raw());
        let found = found.filter_map(|pid| Process::open(pid).ok().filter(|_| lives_there(pid)));
        let found: Vec<_> = found.inspect(|process| process.signal(Signal::SIGKILL)).collect();
        let deadline = Instant::now() + GRACE;
        for process in &found {
            process.has_ended_by(deadline);
        }
    }
    Ok(())
}

/// The domains that these steps delete.
pub(super) fn deleted(steps: &[Step]) -> BTreeSet<DomainId> {
    let domain =
        |step: &Step| if let Step::DeleteDomain { domain, .. } = step { Some(*domain) } else { None };
    steps.iter().filter_map(domain).collect()
}

/// The residents of some domains of a network.
pub(super) fn residents_of(
    domains: &BTreeSet<DomainId>,
    network: &NetworkName,
    directories: &Directories,
) -> Result<Vec<Resident>, BackendError> {
    if domains.is_empty() {
        return Ok(Vec::new());
    }
    let all = residents(network, directories)?.into_iter();
    Ok(all.filter(|resident| domains.contains(&resident.domain)).collect())
}

/// Asks residents to end, and kills those that do not.
fn end(residents: &[Resident]) {
    let handles: Vec<_> = residents.iter().filter_map(handle).collect();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let deadline = Instant::now() + GRACE;
        let living = handles.iter().filter(|(_, process)| !process.has_ended_by(Instant::now()));
        for (resident, process) in living {
            info!(%resident, signal = signal.as_str(), "ending");
            process.signal(signal);
        }
        for (_, process) in &handles {
            process.has_ended_by(deadline);
        }
    }
}

/// A resident that is still what was found under its number.
fn handle(resident: &Resident) -> Option<(&Resident, Process)> {
    let process = Process::open(resident.pid).ok()?;
    (command(resident.pid)? == resident.command).then_some((resident, process))
}

/// The processes in other namespaces than the default domain's, which the caller is in, and what tells those.
fn elsewhere() -> Vec<(u64, i32)> {
    let here = number(Path::new("/proc/thread-self/net/dev"));
    let elsewhere = processes().filter_map(|pid| {
        let there = number_of_process(pid)?;
        (Some(there) != here).then_some((there, pid))
    });
    elsewhere.collect()
}

/// Those of them in domains of the network.
fn in_namespaces(elsewhere: &[(u64, i32)], survey: &Survey) -> BTreeSet<(DomainId, i32)> {
    if elsewhere.is_empty() {
        return BTreeSet::new();
    }
    let homes = homes(survey);
    elsewhere.iter().filter_map(|(there, pid)| Some((*homes.get(there)?, *pid))).collect()
}

/// The domains by what tells their namespaces from others in /proc; of those that share one, any.
fn homes(survey: &Survey) -> BTreeMap<u64, DomainId> {
    let home = |visitor: &Visitor, id: DomainId, place: &Place| {
        visitor.enter(place.namespace.fd()).ok()?;
        Some((number(Path::new("/proc/thread-self/net/dev"))?, id))
    };
    let tour = |visitor: &Visitor| {
        survey.namespaces().iter().filter_map(|(id, place)| home(visitor, id, place)).collect()
    };
    visit(tour).unwrap_or_default()
}

fn inhabited_groups(network: &NetworkName) -> Vec<group::Residents> {
    group::members(network).into_iter().filter(|group| !group.pids.is_empty()).collect()
}

fn in_groups(
    groups: &[group::Residents],
    survey: &Survey,
) -> Result<BTreeSet<(DomainId, i32)>, BackendError> {
    if groups.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rdomains = survey.rdomains()?;
    let home = |rtable: &str| {
        let rtable: u32 = rtable.parse().ok()?;
        let home = rdomains.iter().find(|rdomain| rdomain.rtables.contains(&rtable));
        DomainId::new(home.map_or(rtable, |home| home.domain)).ok()
    };
    let members = groups.iter().filter_map(|group| Some((home(&group.rtable)?, &group.pids)));
    Ok(members.flat_map(|(domain, pids)| pids.iter().map(move |pid| (domain, *pid))).collect())
}

/// Whether a process is in the namespace that this one is in; nothing if it cannot be seen.
pub(super) fn is_in_this_namespace(pid: i32) -> Option<bool> {
    let here = number(Path::new("/proc/thread-self/net/dev"))?;
    Some(number_of_process(pid)? == here)
}

fn number_of_process(pid: i32) -> Option<u64> {
    number(Path::new(&format!("/proc/{pid}/net/dev")))
}

fn number(file: &Path) -> Option<u64> {
    Some(fs::metadata(file).ok()?.ino())
}

fn parent(pid: i32) -> Option<Pid> {
    fact(pid, 4)?.parse().ok().map(Pid::from_raw)
}

/// When a process began, in clock ticks since the boot: with its number it is told from every other.
pub(super) fn started(pid: i32) -> Option<u64> {
    fact(pid, 22)?.parse().ok()
}

/// A field of /proc/PID/stat after the name, as proc_pid_stat(5) counts them.
fn fact(pid: i32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(number - 3).map(str::to_owned)
}

/// Whether it is one, or somebody's whom one has started: all of them descend from what keeps them.
fn is_service(pid: i32) -> bool {
    let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let ancestors = iter::successors(Some(pid), |pid| Some(parent(*pid)?.as_raw()).filter(|pid| *pid > 0));
    ancestors.take(GENERATIONS).any(|pid| name(&pid).trim_end() == service::PROCESS)
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Its command line as it may be printed, or its name where it has none; nothing of a child of this process,
/// which looks a name up, of a service, or of who has gone.
fn command(pid: i32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if parent(pid)? == getpid() || is_service(pid) {
        return None;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let line = if line.trim().is_empty() { format!("({})", name.trim_end()) } else { line };
    let printable = |c: char| if c.is_control() { '?' } else { c };
    Some(line.trim_end().chars().take(COMMAND_LENGTH).map(printable).collect())
}
