//! Removes what speaks of things that are gone: records, engines, sockets and links to them that a crash left behind.
//!
//! Nothing in a kernel is changed by it. What it removes no step would, for an observer does not see it.

use super::domains::Domains;
use super::tunnels::Tunnels;
use super::{lent, routes};
use crate::backend::BackendError;
use crate::model::{DomainId, DomainName, End, InterfaceName};
use crate::state::DomainRecord;

/// Removes the leavings of every domain and tunnel of the network that is not there.
pub(super) fn network(domains: &mut Domains, tunnels: &mut Tunnels) -> Result<(), BackendError> {
    let live = domains.refresh()?;
    for (id, record) in domains.records()? {
        for name in record.tunnels.keys().filter_map(|name| InterfaceName::new(name.as_str()).ok()) {
            let at = End { domain: id, interface: name };
            let there = live.contains_key(&id) && domains.enter(id)?.find(&at.interface)?.is_some();
            if !there {
                tunnels.end(&at, &name_of(id, &record))?;
                domains.forget_tunnel(&at)?;
            }
        }
        if !live.contains_key(&id) {
            domains.forget(id)?;
        }
    }
    routes::forget_gone(domains, DomainId::DEFAULT)?;
    lent::forget_gone(domains)?;
    let left = domains.records()?;
    let default_is_last = left.keys().all(|id| id.is_default());
    let default_is_bare = left.values().all(|record| {
        let DomainRecord { sysctls, addresses, lent, tunnels, routes, rules, .. } = record;
        sysctls.is_empty()
            && addresses.is_empty()
            && lent.is_empty()
            && tunnels.is_empty()
            && routes.is_empty()
            && rules.is_empty()
    });
    match default_is_last && default_is_bare {
        true => domains.forget(DomainId::DEFAULT),
        false => Ok(()),
    }
}

fn name_of(id: DomainId, record: &DomainRecord) -> DomainName {
    DomainName::new(record.namespace.as_str()).unwrap_or_else(|_| DomainName::of_number(id))
}
