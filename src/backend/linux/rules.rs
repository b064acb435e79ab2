//! Adds and removes policy rules, and keeps in mind whose they are where others may have some in the same namespace.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::Flock;

use super::domains::{Domains, Ours};
use super::explain::{Doing, no_ipv6};
use super::namespace::{Namespace, NamespaceError};
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
    let there = rule::dump(socket).doing(what)?;
    let news = domains.note_rule(domain, rule, Ours::Yes)?;
    let parts = rule::parts_of(rule, there.ipv6, tables);
    let missing: Vec<_> = parts.iter().filter(|part| !there.parts.contains(part)).cloned().collect();
    let inside = domains.enter(domain)?;
    let lock = lock(&inside.namespace, &parts).doing(what)?;
    let added = add_parts(&mut inside.route, &parts, &missing);
    drop(lock);
    if added.is_err() && news {
        domains.note_rule(domain, rule, Ours::No)?;
    }
    added.doing_or(what, |errno| match errno {
        Errno::EEXIST => Some("such a rule exists already, and it was not added by rdom".to_owned()),
        errno => no_ipv6(errno),
    })
}

/// All of them or none.
fn add_parts(socket: &mut Netlink, parts: &[Part], missing: &[Part]) -> Result<(), NetlinkError> {
    let mut add_all = || {
        missing.iter().try_for_each(|part| rule::add(socket, part))?;
        if has_some_before_local(parts) { rule::hold_back(socket, parts) } else { Ok(()) }
    };
    let added = add_all();
    if added.is_err() {
        remove_parts(socket, missing)?;
    }
    added
}

fn has_some_before_local(parts: &[Part]) -> bool {
    parts.iter().any(Part::is_before_local)
}

/// What the change of the order of the kernel's own rule takes.
fn lock(namespace: &Namespace, parts: &[Part]) -> Result<Option<Flock<File>>, NamespaceError> {
    has_some_before_local(parts).then(|| namespace.lock()).transpose()
}

/// Removes a rule; one that is gone already is no error.
pub(super) fn remove(domains: &mut Domains, domain: DomainId, rule: &Rule) -> Result<(), BackendError> {
    let what = || format!("remove rule {rule} from domain {domain}");
    let tables = domains.tables(domain)?;
    let socket = &mut domains.enter(domain)?.route;
    let there = rule::dump(socket).doing(what)?;
    let mut parts = rule::parts_of(rule, there.ipv6, tables);
    parts.retain(|part| there.parts.contains(part));
    let inside = domains.enter(domain)?;
    let lock = lock(&inside.namespace, &parts).doing(what)?;
    remove_parts(&mut inside.route, &parts).doing(what)?;
    drop(lock);
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
    if has_some_before_local(parts) { rule::restore(socket) } else { Ok(()) }
}

/// Removes every rule of a domain that has no namespace to go with.
pub(super) fn remove_all(domains: &mut Domains, domain: DomainId) -> Result<(), BackendError> {
    let what = || format!("read the rules of domain {domain}");
    let (noted, tables) = (domains.record(domain)?.rules, domains.tables(domain)?);
    let there = rule::dump(&mut domains.enter(domain)?.route).doing(what)?;
    for rule in rule::whole(&there.parts, there.ipv6, tables) {
        if noted.contains(&rule.to_string()) {
            remove(domains, domain, &rule)?;
        }
    }
    Ok(())
}
