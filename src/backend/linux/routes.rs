//! Adds and removes routes, and keeps in mind whose they are where others may have some in the same namespace.

use nix::errno::Errno;

use super::domains::{Domains, Inside, Ours};
use super::explain::{Doing, no_ipv6};
use super::link;
use super::netlink::NetlinkError;
use super::route::{self, Names};
use crate::backend::BackendError;
use crate::model::{DomainId, InterfaceName, Route, RtableId};

/// How the ledger calls a route: by what tells the kernel's routes apart.
pub(super) fn note(table: u32, route: &Route) -> String {
    format!("{table} {} {}", route.to, route.metric)
}

/// Adds a route, which is ours from then on.
pub(super) fn add(
    domains: &mut Domains,
    domain: DomainId,
    rtable: RtableId,
    route: &Route,
) -> Result<(), BackendError> {
    let what = || format!("add route {route} to {}", place(domain, rtable));
    let table = domains.tables(domain)?.number_of(rtable);
    let names = names_of(domains.enter(domain)?, route)?;
    let news = domains.note_route(domain, note(table, route), Ours::Yes)?;
    let added = route::add(&mut domains.enter(domain)?.route, table, route, &names);
    if added.is_err() && news {
        domains.note_route(domain, note(table, route), Ours::No)?;
    }
    added.doing_or(what, |errno| match errno {
        Errno::EEXIST => Some(
            "a route to there with this metric exists already, and it was not added by rdom: remove it, or give \
             this one another `metric`"
                .to_owned(),
        ),
        Errno::ENETUNREACH => Some("no connected route reaches the gateway: is its interface up?".to_owned()),
        Errno::ENETDOWN => Some("its interface is down".to_owned()),
        errno if route.to.is_ipv6() => no_ipv6(errno),
        _ => None,
    })
}

/// Removes a route; one that is gone already is no error.
pub(super) fn remove(
    domains: &mut Domains,
    domain: DomainId,
    rtable: RtableId,
    route: &Route,
) -> Result<(), BackendError> {
    let what = || format!("remove route {route} from {}", place(domain, rtable));
    let table = domains.tables(domain)?.number_of(rtable);
    let inside = domains.enter(domain)?;
    let names = names_of(inside, route)?;
    match route::remove(&mut inside.route, table, route, &names) {
        Err(error) if error.errno() == Some(Errno::ESRCH) => {}
        result => result.doing(what)?,
    }
    domains.note_route(domain, note(table, route), Ours::No).map(|_| ())
}

/// Removes every route of a domain that has no namespace to go with.
pub(super) fn remove_all(domains: &mut Domains, domain: DomainId) -> Result<(), BackendError> {
    let what = || format!("remove the routes of domain {domain}");
    let noted = domains.record(domain)?.routes;
    let socket = &mut domains.enter(domain)?.route;
    let names = names(socket).doing(what)?;
    let routes = route::dump(socket, &names).doing(what)?;
    for (table, route) in routes.iter().filter(|(table, route)| noted.contains(&note(*table, route))) {
        match route::remove(socket, *table, route, &names) {
            Err(error) if error.errno() == Some(Errno::ESRCH) => {}
            result => result.doing(what)?,
        }
    }
    Ok(())
}

/// Forgets the routes of a domain that the kernel has removed by itself, with their interface or address.
pub(super) fn forget_gone(domains: &mut Domains, domain: DomainId) -> Result<(), BackendError> {
    let what = || format!("read the routes of domain {domain}");
    let socket = &mut domains.enter(domain)?.route;
    let names = names(socket).doing(what)?;
    let there = route::dump(socket, &names).doing(what)?;
    let there: Vec<String> = there.iter().map(|(table, route)| note(*table, route)).collect();
    match domains.record(domain)?.routes.iter().all(|noted| there.contains(noted)) {
        true => Ok(()),
        false => domains.change(domain, |record| record.routes.retain(|noted| there.contains(noted))),
    }
}

fn names(socket: &mut super::netlink::Netlink) -> Result<Names, NetlinkError> {
    let named = |link: link::Link| Some((link.index, InterfaceName::new(link.name).ok()?));
    Ok(link::dump(socket)?.into_iter().filter_map(named).collect())
}

/// The interfaces that a route names, which must be there.
fn names_of(inside: &Inside, route: &Route) -> Result<Names, BackendError> {
    route.devices().map(|dev| Ok((inside.index(dev)?, dev.clone()))).collect()
}

fn place(domain: DomainId, rtable: RtableId) -> String {
    match rtable == domain.into() {
        true => format!("domain {domain}"),
        false => format!("rtable {rtable} of domain {domain}"),
    }
}
