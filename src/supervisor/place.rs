//! Where the UDP sockets of tunnels are: in the underlay and nowhere else. Looked at in the kernel, not assumed.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::backend::BackendError;
use crate::backend::linux::Survey;
use crate::model::{DomainId, End, Network};
use crate::state::{Directories, Ledger};
use crate::status::{Protocol, SocketTable};

/// A tunnel whose sockets are not where they belong.
#[derive(Debug, Error)]
pub enum Misplaced {
    /// The underlay has none.
    #[error("{at}: no UDP socket of port {port} in its underlay, domain {underlay}")]
    Missing {
        /// The tunnel.
        at: End,
        /// Its port.
        port: u16,
        /// Where it should be.
        underlay: DomainId,
    },
    /// Another domain of the network has one that belongs to no tunnel there.
    #[error(
        "{at}: a UDP socket of port {port} is in domain {domain}, not only in its underlay, domain {underlay}"
    )]
    Astray {
        /// The tunnel.
        at: End,
        /// Its port.
        port: u16,
        /// Where it should be.
        underlay: DomainId,
        /// Where one is.
        domain: DomainId,
    },
    /// The kernel could not be asked.
    #[error("{0}")]
    Backend(#[from] BackendError),
}

impl Misplaced {
    /// The tunnel that it is about, if it is about one.
    pub(super) fn tunnel(&self) -> Option<&End> {
        match self {
            Misplaced::Missing { at, .. } | Misplaced::Astray { at, .. } => Some(at),
            Misplaced::Backend(_) => None,
        }
    }
}

/// Checks every tunnel, and returns the first that is not where it belongs.
pub(super) fn check(survey: &Survey, desired: &Network) -> Result<(), Misplaced> {
    misplaced(survey, desired)?.into_iter().next().map_or(Ok(()), Err)
}

/// Checks the tunnels of these domains, and returns the first that is not where it belongs.
pub(super) fn check_some(
    directories: &Directories,
    desired: &Network,
    domains: &BTreeSet<DomainId>,
) -> Result<(), Misplaced> {
    misplaced_of(directories, desired, domains)?.into_iter().next().map_or(Ok(()), Err)
}

/// The tunnels of these domains that are not where they belong, by a look at those and at what they have to do with.
pub(super) fn misplaced_of(
    directories: &Directories,
    desired: &Network,
    domains: &BTreeSet<DomainId>,
) -> Result<Vec<Misplaced>, BackendError> {
    let underlays =
        desired.tunnels().filter(|(at, _)| domains.contains(&at.domain)).map(|(_, tunnel)| tunnel.underlay);
    let guests = desired.domains.iter().filter(|(_, domain)| !domain.isolation.has_namespace());
    let looked_at: BTreeSet<_> =
        underlays.chain(guests.map(|(id, _)| *id)).chain(domains.iter().copied()).collect();
    let survey = Survey::of_some(directories, &Ledger::of(directories), &looked_at)?;
    misplaced_in(&survey, desired, |id| domains.contains(&id))
}

/// The tunnels that are not where they belong, of those that are up, for others have no sockets: a wildcard UDP socket
/// of a tunnel's port is in its underlay, and none is in its own domain. Each domain is looked at once.
pub fn misplaced(survey: &Survey, network: &Network) -> Result<Vec<Misplaced>, BackendError> {
    misplaced_in(survey, network, |_| true)
}

fn misplaced_in(
    survey: &Survey,
    network: &Network,
    matters: impl Fn(DomainId) -> bool,
) -> Result<Vec<Misplaced>, BackendError> {
    let mut found = Vec::new();
    let mut looks = Looks { survey, ports: BTreeMap::new() };
    let carried: BTreeSet<_> =
        network.tunnels().map(|(_, tunnel)| (tunnel.underlay, tunnel.listen_port)).collect();
    for (at, tunnel) in network.tunnels().filter(|(at, _)| matters(at.domain)) {
        let Some(port) = tunnel.listen_port else { continue };
        if !network.interface(&at).is_some_and(|interface| interface.up) {
            continue;
        }
        let (underlay, domain) = (tunnel.underlay, at.domain);
        if !looks.at(underlay)?.contains(&port) {
            found.push(Misplaced::Missing { at, port, underlay });
        } else if domain != underlay
            && !carried.contains(&(domain, Some(port)))
            && looks.at(domain)?.contains(&port)
        {
            found.push(Misplaced::Astray { at, port, underlay, domain });
        }
    }
    Ok(found)
}

/// The ports of wildcard UDP sockets in the domains that have been looked at.
struct Looks<'s> {
    survey: &'s Survey,
    ports: BTreeMap<DomainId, BTreeSet<u16>>,
}

impl Looks<'_> {
    fn at(&mut self, domain: DomainId) -> Result<&BTreeSet<u16>, BackendError> {
        match self.ports.entry(domain) {
            Entry::Occupied(seen) => Ok(seen.into_mut()),
            Entry::Vacant(unseen) => Ok(unseen.insert(ports(&self.survey.socket_table(domain)?))),
        }
    }
}

fn ports(table: &SocketTable) -> BTreeSet<u16> {
    let wildcard = table
        .sockets
        .iter()
        .filter(|socket| socket.protocol == Protocol::Udp && socket.local.ip().is_unspecified());
    wildcard.map(|socket| socket.local.port()).collect()
}
