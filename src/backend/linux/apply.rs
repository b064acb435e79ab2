//! Takes one step: each function here is one, whole or not at all.

use std::slice;

use super::ahead::Ahead;
use super::domains::{self, Departed, Domains};
use super::link::Change;
use super::tunnel::Session;
use super::tunnels::{Tunnels, Wanted};
use super::{addresses, lent, links, routes, rules, sysctl};
use crate::backend::BackendError;
use crate::model::{DomainId, DomainName, End, Key, Peer, SysctlName};
use crate::plan::Step;

/// Takes this step.
pub(super) fn step(domains: &mut Domains, tunnels: &mut Tunnels, step: &Step) -> Result<(), BackendError> {
    domains.complete(DomainId::DEFAULT)?;
    domains.complete(step.object().domain())?;
    match step {
        step @ Step::CreateDomain { .. } => create_domains(domains, tunnels, slice::from_ref(step)).map(drop),
        Step::DeleteDomain { domain, name } => delete_domains(domains, tunnels, &[(*domain, name)]).map(drop),
        Step::RequireInterface { at } => require(domains, at),
        Step::CreateInterface { at, kind } => links::create(domains, tunnels, at, kind),
        Step::DeleteInterface { at } => links::delete(domains, tunnels, at),
        Step::LendInterface { at, home } => lent::lend(domains, at, home),
        Step::ReturnInterface { at, home } => lent::give_back(domains, at, home),
        Step::SetMtu { at, mtu } => links::set_mtu(domains, at, *mtu),
        Step::SetController { at, controller } => links::set_controller(domains, at, controller.as_ref()),
        Step::SetImpairment { at, impairment } => links::set_impairment(domains, at, impairment),
        Step::SetUp { at, up } => links::set_up(domains, at, Change::Up(*up))
            .map_err(|error| tunnels.name_port_holder(error, domains, at)),
        Step::AddAddress { at, address } => addresses::add(domains, at, *address),
        Step::RemoveAddress { at, address } => addresses::remove(domains, at, *address),
        Step::SetTunnel { at, tunnel } => tunnels.set(domains, at, tunnel),
        Step::SetPeer { at, key, peer, new_session } => {
            tunnels.set_peers(domains, at, &[wanted(key, peer, *new_session)])
        }
        Step::RemovePeer { at, key } => tunnels.remove_peer(domains, at, key),
        Step::AddRoute { domain, rtable, route } => routes::add(domains, *domain, *rtable, route),
        Step::RemoveRoute { domain, rtable, route } => routes::remove(domains, *domain, *rtable, route),
        Step::AddRule { domain, rule } => rules::add(domains, *domain, rule),
        Step::RemoveRule { domain, rule } => rules::remove(domains, *domain, rule),
        Step::SetSysctl { domain, name, value } => set_sysctl(domains, *domain, name, value),
        Step::ResetSysctl { domain, name } => reset_sysctl(domains, *domain, name),
    }
}

/// Peers that one request to an engine sets at most.
const PEERS_AT_ONCE: usize = 500;
/// Domains that are made at once at most: an interruption waits for them, a second or so.
const DOMAINS_AT_ONCE: usize = 1000;

/// Takes the first of these steps, together with those behind it that delete domains, make some, or set peers of the same
/// tunnel.
pub(super) fn some(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    steps: &[Step],
) -> Result<usize, BackendError> {
    match &steps[0] {
        Step::CreateDomain { .. } => {
            domains.complete(DomainId::DEFAULT)?;
            create_domains(domains, tunnels, steps)
        }
        Step::DeleteDomain { .. } => {
            let wanted = steps.iter().map_while(|step| match step {
                Step::DeleteDomain { domain, name } => Some((*domain, name)),
                _ => None,
            });
            delete_domains(domains, tunnels, &wanted.collect::<Vec<_>>()).map(|departed| departed.count())
        }
        Step::SetPeer { at, .. } => set_peers(domains, tunnels, at, steps),
        first => step(domains, tunnels, first).map(|()| 1),
    }
}

/// Makes domains, and meanwhile the interfaces in those that are there: the kernel has time for both at once. Where a
/// domain cannot be made, no interface is.
fn create_domains(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    steps: &[Step],
) -> Result<usize, BackendError> {
    let wanted = steps.iter().take(DOMAINS_AT_ONCE).map_while(|step| match step {
        Step::CreateDomain { domain, name, isolation } => {
            Some(domains::Wanted { id: *domain, name, isolation: *isolation })
        }
        _ => None,
    });
    let wanted: Vec<_> = wanted.collect();
    let mut ahead = Ahead::of(&steps[wanted.len()..]);
    match domains.create_some(&wanted, |domains| ahead.go_on(domains, tunnels)) {
        Ok(count) if count == wanted.len() => Ok(count + ahead.taken()),
        cut_short => ahead.take_back(domains, tunnels).and(cut_short),
    }
}

/// If an engine refuses peers together, the first one is set alone, so that it is known which it was.
fn set_peers(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    first: &End,
    steps: &[Step],
) -> Result<usize, BackendError> {
    let wanted = steps.iter().take(PEERS_AT_ONCE).map_while(|step| match step {
        Step::SetPeer { at, key, peer, new_session } if at == first => Some(wanted(key, peer, *new_session)),
        _ => None,
    });
    let wanted: Vec<_> = wanted.collect();
    if wanted.len() > 1 && domains.complete(first.domain).is_ok() {
        match tunnels.set_peers(domains, first, &wanted) {
            Ok(()) => return Ok(wanted.len()),
            Err(error) => tracing::debug!(at = %first, %error, "peers are set one by one"),
        }
    }
    step(domains, tunnels, &steps[0]).map(|()| 1)
}

fn wanted<'p>(key: &'p Key, peer: &'p Peer, new_session: bool) -> Wanted<'p> {
    Wanted { key, peer, session: if new_session { Session::Ended } else { Session::Kept } }
}

/// Deletes as many of these domains as can be; it is an error if the first cannot be. Nothing of them is looked at once
/// the first is let go of, for the kernel keeps others waiting (RTNL) while it removes what was in there.
pub(super) fn delete_domains(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    wanted: &[(DomainId, &DomainName)],
) -> Result<Departed, BackendError> {
    let mut ready = 0;
    for &(domain, _) in wanted {
        match prepare_deletion(domains, tunnels, domain) {
            Ok(()) => ready += 1,
            Err(error) if ready == 0 => return Err(error),
            Err(_) => break,
        }
    }
    domains.delete_some(&wanted[..ready])
}

/// Removes what does not go with a domain's namespace, or not at once.
fn prepare_deletion(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    domain: DomainId,
) -> Result<(), BackendError> {
    for tunnel in domains.tunnels(domain)? {
        tunnels.leave(domains, &tunnel)?;
    }
    if !domains.enter(domain)?.isolation.has_namespace() {
        rules::remove_all(domains, domain)?;
        links::delete_all(domains, domain)?;
        routes::remove_all(domains, domain)?;
    }
    Ok(())
}

fn require(domains: &mut Domains, at: &End) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    if !inside.isolation.has_namespace() {
        return Err(BackendError::new(format!("interface {at} is not of domain {}", inside.name))
            .help("only interfaces that rdom makes can be in a domain of `isolation: vrf`"));
    }
    match inside.called(&at.interface)? {
        Some(_) => Ok(()),
        None => Err(BackendError::new(format!("interface {at} does not exist"))
            .help("the file relies on it: correct its name, make it first, or give it a kind or a link")),
    }
}

/// The value from before the first change is noted before the change.
fn set_sysctl(
    domains: &mut Domains,
    domain: DomainId,
    name: &SysctlName,
    value: &str,
) -> Result<(), BackendError> {
    if name.interface().is_none() && !domains.enter(domain)?.isolation.has_namespace() {
        let error =
            BackendError::new(format!("cannot set sysctl {name} of domain {domain}: it has none of its own"));
        return Err(error
            .help("its namespace is the default domain's: set it there, or choose `isolation: netns+vrf`"));
    }
    let known = domains.record(domain)?.sysctls.contains_key(name.as_str());
    let before = sysctl::read(domains.namespace(domain)?, domain, name)?.filter(|_| !known);
    let noted = before.is_some();
    if let Some(before) = before {
        domains.change(domain, |record| {
            record.sysctls.insert(name.as_str().to_owned(), before);
        })?;
    }
    let written = sysctl::write(domains.namespace(domain)?, domain, name, value);
    if written.is_err() && noted {
        forget_sysctl(domains, domain, name)?;
    }
    written
}

fn reset_sysctl(domains: &mut Domains, domain: DomainId, name: &SysctlName) -> Result<(), BackendError> {
    let record = domains.record(domain)?;
    let Some(before) = record.sysctls.get(name.as_str()) else { return Ok(()) };
    let namespace = domains.namespace(domain)?;
    if sysctl::read(namespace, domain, name)?.is_some() {
        sysctl::write(namespace, domain, name, before)?;
    }
    forget_sysctl(domains, domain, name)
}

fn forget_sysctl(domains: &Domains, domain: DomainId, name: &SysctlName) -> Result<(), BackendError> {
    domains.change(domain, |record| {
        record.sysctls.remove(name.as_str());
    })
}
