//! Adds and removes policy rules, and keeps in mind whose they are where others may have some in the same namespace.

use nix::errno::Errno;

use super::domains::{Domains, Ours};
use super::explain::{Doing, no_ipv6};
use super::netlink::{Netlink, NetlinkError};
use super::rule::{self, Part};
use crate::backend::BackendError;
use crate::model::{DomainId, Rule};

/// Adds a rule, which is ours from then on. Parts of it that are there already stay.
pub(super) fn add(domains: &mut Domains, domain: DomainId, rule: &Rule) -> Result<(), BackendError> {
    let what = || format!("add rule {rule} to domain {domain}");
    let is_guest = !domains.enter(domain)?.isolation.has_namespace();
    if is_guest && rule.selector.fwmark.is_none() && rule.selector.iif.is_none() {
        let error = format!("cannot {}: it would be about every domain in the same namespace", what());
        return Err(BackendError::new(error).help(
            "where a domain has `isolation: vrf`, its rules need `fwmark` or `iif`; or choose `netns+vrf`",
        ));
    }
    let tables = domains.tables(domain)?;
    let socket = &mut domains.enter(domain)?.route;
    let (there, ipv6) = rule::dump(socket).doing(what)?;
    let news = domains.note_rule(domain, rule, Ours::Yes)?;
    let mut missing = rule::parts_of(rule, ipv6, tables);
    missing.retain(|part| !there.contains(part));
    let added = add_parts(&mut domains.enter(domain)?.route, &missing);
    if added.is_err() && news {
        domains.note_rule(domain, rule, Ours::No)?;
    }
    added.doing_or(what, |errno| match errno {
        Errno::EEXIST => Some("such a rule exists already, and it was not added by rdom".to_owned()),
        errno => no_ipv6(errno),
    })
}

/// All of them or none.
fn add_parts(socket: &mut Netlink, parts: &[Part]) -> Result<(), NetlinkError> {
    for (made, part) in parts.iter().enumerate() {
        if let Err(error) = rule::add(socket, part) {
            remove_parts(socket, &parts[..made])?;
            return Err(error);
        }
    }
    Ok(())
}

/// Removes a rule; one that is gone already is no error.
pub(super) fn remove(domains: &mut Domains, domain: DomainId, rule: &Rule) -> Result<(), BackendError> {
    let what = || format!("remove rule {rule} from domain {domain}");
    let tables = domains.tables(domain)?;
    let socket = &mut domains.enter(domain)?.route;
    let (there, ipv6) = rule::dump(socket).doing(what)?;
    let mut parts = rule::parts_of(rule, ipv6, tables);
    parts.retain(|part| there.contains(part));
    remove_parts(socket, &parts).doing(what)?;
    domains.note_rule(domain, rule, Ours::No).map(|_| ())
}

/// The last one first, so that what is left after a crash is a beginning.
fn remove_parts(socket: &mut Netlink, parts: &[Part]) -> Result<(), NetlinkError> {
    for part in parts.iter().rev() {
        match rule::remove(socket, part) {
            Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::ESRCH)) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Removes every rule of a domain that has no namespace to go with.
pub(super) fn remove_all(domains: &mut Domains, domain: DomainId) -> Result<(), BackendError> {
    let what = || format!("read the rules of domain {domain}");
    let (noted, tables) = (domains.record(domain)?.rules, domains.tables(domain)?);
    let (there, ipv6) = rule::dump(&mut domains.enter(domain)?.route).doing(what)?;
    for rule in rule::whole(&there, ipv6, tables) {
        if noted.contains(&rule.to_string()) {
            remove(domains, domain, &rule)?;
        }
    }
    Ok(())
}
