//! The other networks of this host, with which this one shares no number: `rdom exec 1` shall mean one domain.
//!
//! Those below the same runtime directory count, alive or left behind, by their ledgers. A private copy has a runtime
//! directory of its own, so its numbers are its own.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::model::{DomainId, Network, NetworkName};
use crate::state::{Directories, Ledger};

/// A number that two networks would have.
#[derive(Debug, Error)]
#[error(
    "{what} {number} is network {other}'s already: give it another number here, or: rdom down -n {other}"
)]
pub struct Clash {
    what: &'static str,
    number: u32,
    other: NetworkName,
}

/// No number of a network is another one's. To be called before its first step, and again after its last one: two that
/// come up at once see each other only then.
pub(super) fn check(network: &Network, directories: &Directories) -> Result<(), Clash> {
    clash(network, directories).map_or(Ok(()), Err)
}

/// The first number of a network that another one has.
fn clash(network: &Network, directories: &Directories) -> Option<Clash> {
    let domains = network.domains.keys().filter(|id| !id.is_default()).map(|id| id.number());
    let further = network.domains.values().flat_map(|domain| domain.rtables.keys()).map(|id| id.number());
    let own: Vec<_> =
        domains.map(|number| ("domain", number)).chain(further.map(|number| ("rtable", number))).collect();
    others(&network.name, directories).into_iter().find_map(|(other, taken)| {
        let (what, number) = own.iter().copied().find(|(_, number)| taken.contains(number))?;
        Some(Clash { what, number, other })
    })
}

/// The other networks, with their numbers.
fn others(own: &NetworkName, directories: &Directories) -> Vec<(NetworkName, BTreeSet<u32>)> {
    let entries = directories.runtime.parent().and_then(|all| all.read_dir().ok());
    let entries = entries.into_iter().flatten().flatten();
    let others = entries.filter_map(|entry| {
        let name = NetworkName::new(entry.file_name().to_str()?).ok().filter(|name| name != own)?;
        let ledger = Ledger::of(&Directories { runtime: entry.path(), state: directories.state.clone() });
        let domains = ledger.domains().ok()?;
        let tables = domains.values().flat_map(|record| record.routes.iter());
        let tables = tables.filter_map(|route| route.split(' ').next()?.parse().ok());
        let numbers = domains.keys().map(|id: &DomainId| id.number()).chain(tables);
        Some((name, numbers.filter(|number| *number != 0 && !KERNELS.contains(number)).collect()))
    });
    others.collect()
}

/// Tables that the kernel has itself: unspecified, default, main and local (linux/rtnetlink.h).
const KERNELS: [u32; 3] = [253, 254, 255];
