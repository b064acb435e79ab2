//! Who is let into a domain through the door, decided by the supervisor.
//!
//! The rule is OpenBSD's of setrtable(2): who is not root may go from the default domain to another one, once, and
//! never back; and here the file must `allow` it. A caller is in the default domain if their namespace is this one
//! and they are in no control group of a domain or rtable.

use std::path::PathBuf;

use caps::Capability;
use nix::unistd::Pid;
use tracing::info;

use super::Entrances;
use crate::backend::BackendError;
use crate::backend::linux::view::Which;
use crate::backend::linux::{Namespace, Survey};
use crate::control::enter::{Admission, Caller, Refusal};
use crate::exec::group::{self, Member};
use crate::model::{DomainId, Network};
use crate::probe::Unsupported;
use crate::state::Directories;

/// Whether the file lets anybody in.
pub(super) fn is_open(network: &Network) -> bool {
    network.domains.values().any(|domain| !domain.allow.is_nobody())
}

/// What it takes to see in which namespace somebody else's process is (proc(5), /proc/PID/ns).
pub(super) fn needs(network: &Network) -> &'static [Capability] {
    if is_open(network) { &[Capability::CAP_SYS_PTRACE] } else { &[] }
}

/// Lets a caller into the domain that a word means; where it has a control group, the caller is in it afterwards.
pub(super) fn admit(
    network: &Network,
    directories: &Directories,
    caller: &Caller,
    word: &str,
) -> Result<Admission, Refusal> {
    check_origin(caller.pid)?;
    let survey = Survey::of(directories).map_err(failed)?;
    let entrances = Entrances { network: &network.name, directories };
    let (domain, which) = entrances.rtable(&survey, word).map_err(failed)?;
    check_right(network, domain, caller)?;
    let admission = grant(entrances, survey, domain, which, caller)?;
    info!(domain = %domain, uid = caller.user.number, pid = caller.pid.as_raw(), "entered");
    Ok(admission)
}

fn check_origin(pid: Pid) -> Result<(), Refusal> {
    let namespace = Namespace::open_file(&PathBuf::from(format!("/proc/{pid}/ns/net")));
    let here = Namespace::current().map_err(|error| Refusal::new(error.to_string()))?;
    match namespace {
        Err(_) => Err(Refusal::new("operation not permitted: the caller cannot be seen from here")
            .help("call it from where the supervisor runs, not from a container of its own")),
        Ok(namespace) if namespace.identity() == here.identity() && !group::is_resident(pid) => Ok(()),
        Ok(_) => Err(Refusal::new("operation not permitted: only from the default domain")
            .help("only root goes from one domain to another; leave this one first: exit")),
    }
}

fn check_right(network: &Network, domain: DomainId, caller: &Caller) -> Result<(), Refusal> {
    let inside = network.domains.get(&domain);
    if inside.is_some_and(|inside| inside.allow.admits(&caller.user, &caller.groups)) {
        return Ok(());
    }
    let who = caller.user.name.clone().unwrap_or_else(|| format!("uid {}", caller.user.number));
    let word = inside.map_or_else(|| domain.to_string(), |inside| inside.name.to_string());
    let number = caller.user.name.clone().unwrap_or_else(|| caller.user.number.to_string());
    Err(Refusal::new(format!("operation not permitted: {who} is not allowed in domain {word}")).help(
        format!("in the file of network {}, in that domain: allow: {{users: [{number}]}}", network.name),
    ))
}

fn grant(
    entrances: Entrances<'_>,
    survey: Survey,
    domain: DomainId,
    which: Which,
    caller: &Caller,
) -> Result<Admission, Refusal> {
    let name = survey.place(domain).map_err(failed)?.name.clone();
    let place = entrances.place(survey, domain, which).map_err(failed)?;
    if let Some(membership) = &place.membership {
        let trouble = |lack: Unsupported| Refusal::new(lack.missing).help(lack.remedy);
        group::admit(membership, Member::Process(caller.pid)).map_err(trouble)?;
    }
    if !caller.is_alive() {
        return Err(Refusal::new("the caller has gone"));
    }
    Ok(Admission { domain, name, namespace: place.namespace })
}

fn failed(error: BackendError) -> Refusal {
    let refusal = Refusal::new(error.to_string());
    match error.help {
        Some(help) => refusal.help(help),
        None => refusal,
    }
}
