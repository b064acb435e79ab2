//! Who is let into a domain through the door, decided by the supervisor.
//!
//! The rule is OpenBSD's of setrtable(2): who is not root may go from the default domain to another one, once, and
//! never back; and here the file must `allow` it. A caller is in the default domain if their namespace is this one
//! and they are in no control group of a domain or rtable.

use nix::unistd::Pid;
use tracing::info;

use super::Entrances;
use super::residents::is_in_this_namespace;
use crate::backend::BackendError;
use crate::backend::linux::Survey;
use crate::backend::linux::view::Which;
use crate::control::enter::{Admission, Caller, Refusal};
use crate::exec::group::{self, Member};
use crate::model::{DomainId, Network};
use crate::probe::Unsupported;
use crate::state::Directories;

/// Whether the file lets anybody in.
pub(super) fn is_open(network: &Network) -> bool {
    network.domains.values().any(|domain| !domain.allow.is_nobody())
}

/// Lets a caller into the domain that a word means; where it has a control group, the caller is in it afterwards.
pub(super) fn admit(
    network: &Network,
    directories: &Directories,
    caller: &Caller,
    word: &str,
) -> Result<Admission, Refusal> {
    check_origin(caller.pid)?;
    let entrances = Entrances { network: &network.name, directories };
    let survey = entrances.survey(word).map_err(failed)?;
    let (domain, which) = entrances.rtable(&survey, word).map_err(failed)?;
    check_right(network, domain, caller)?;
    let admission = grant(entrances, survey, domain, which, caller)?;
    info!(domain = %domain, uid = caller.user.number, pid = caller.pid.as_raw(), "entered");
    Ok(admission)
}

fn check_origin(pid: Pid) -> Result<(), Refusal> {
    match is_in_this_namespace(pid.as_raw()) {
        None => Err(Refusal::new("operation not permitted: the caller cannot be seen from here")
            .help("call it from where the supervisor runs, not from a container of its own")),
        Some(true) if !group::is_resident(pid) => Ok(()),
        Some(_) => Err(Refusal::new("operation not permitted: only from the default domain")
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
