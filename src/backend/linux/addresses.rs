//! Adds and removes addresses, and keeps in mind which are ours.
//!
//! A kernel before Linux 5.18 drops the mark on an address (`IFA_PROTO`, linux/if_addr.h) without a word, so the ledger
//! names what is about to be added. The first address that is read back with its mark proves that this kernel needs no
//! such note; until then each is noted before it is added, so that a crash in between cannot make it foreign. On an
//! interface that a network only relies on, another network may have addresses of the same mark: there only the ledger
//! tells whose they are.

use nix::errno::Errno;

use super::address::{self, Held};
use super::domains::{Domains, Inside, Ours, Placed};
use super::explain::{Doing, no_ipv6};
use super::link::{Driver, Link};
use super::mark::AddressMarks;
use super::netlink::NetlinkError;
use crate::backend::BackendError;
use crate::model::{Address, End};

/// Adds an address, which is ours from then on.
pub(super) fn add(domains: &mut Domains, at: &End, address: Address) -> Result<(), BackendError> {
    let index = domains.enter(at.domain)?.index(&at.interface)?;
    if tells_the_mark(domains, at)? {
        return add_marked(domains, at, index, address).map(|_| ());
    }
    add_noted(domains, at, index, address)
}

/// Whether an address there needs no note: this kernel keeps its mark, and no other network has any there.
fn tells_the_mark(domains: &mut Domains, at: &End) -> Result<bool, BackendError> {
    let is_kept = domains.address_marks == AddressMarks::Kept;
    if !is_kept || !at.domain.is_default() {
        return Ok(is_kept);
    }
    let link = domains.enter(at.domain)?.link(&at.interface)?;
    Ok(link.is_ours(domains.network_mark()))
}

fn add_noted(domains: &mut Domains, at: &End, index: u32, address: Address) -> Result<(), BackendError> {
    let placed = Placed { index, network: address.network };
    domains.change_address(at.domain, placed, Ours::Yes)?;
    let added = add_marked(domains, at, index, address);
    if let Ok(Added::ByUs) = added {
        domains.address_marks = marks(domains, at, index, address)?;
    }
    let is_needed = matches!(added, Ok(Added::ByUs)) && !tells_the_mark(domains, at)?;
    if !is_needed {
        domains.change_address(at.domain, placed, Ours::No)?;
    }
    added.map(|_| ())
}

/// Whether this kernel keeps marks, from an address that was just added with one.
fn marks(
    domains: &mut Domains,
    at: &End,
    index: u32,
    address: Address,
) -> Result<AddressMarks, BackendError> {
    let inside = domains.enter(at.domain)?;
    let held = on_link(inside, index).doing(|| format!("read the addresses of {at}"))?;
    let found = held.iter().find(|held| held.address.network == address.network);
    Ok(match found.map(|held| held.ours) {
        Some(true) => AddressMarks::Kept,
        Some(false) => AddressMarks::Dropped,
        None => AddressMarks::Unknown,
    })
}

/// Whose doing it is that an address is there.
#[derive(Clone, Copy, Debug)]
enum Added {
    ByUs,
    ByKernel,
}

fn add_marked(domains: &mut Domains, at: &End, index: u32, address: Address) -> Result<Added, BackendError> {
    let what = || format!("add address {address} to {at}");
    let inside = domains.enter(at.domain)?;
    let added = match address::add(&mut inside.route, index, address) {
        Err(error) if error.errno() == Some(Errno::EEXIST) => {
            let kernels = is_own_loopback(at, &inside.link(&at.interface)?);
            (kernels && has(inside, index, address).doing(what)?).then_some(Added::ByKernel).ok_or(error)
        }
        result => result.map(|()| Added::ByUs),
    };
    added.doing_or(what, |errno| match errno {
        Errno::EEXIST => Some(format!("the kernel has {address} already, and this network did not add it")),
        errno if address.network.is_ipv6() => no_ipv6(errno),
        _ => None,
    })
}

/// Changes a link. A `lo` that goes up gets 127.0.0.1/8 and ::1/128 of the kernel, whatever it has; a domain's has
/// nothing but what was asked for.
pub(super) fn keep_to_ours(
    inside: &mut Inside,
    at: &End,
    link: &Link,
    change: impl FnOnce(&mut Inside) -> Result<(), NetlinkError>,
) -> Result<(), NetlinkError> {
    if !is_own_loopback(at, link) {
        return change(inside);
    }
    let before = on_link(inside, link.index)?;
    change(inside)?;
    let mut added = on_link(inside, link.index)?;
    added.retain(|now| before.iter().all(|held| held.address.network != now.address.network));
    added.into_iter().try_for_each(|added| address::remove(&mut inside.route, link.index, added.address))
}

/// The kernel itself adds addresses to a domain's `lo` when it goes up.
fn is_own_loopback(at: &End, link: &Link) -> bool {
    link.driver == Driver::Loopback && !at.domain.is_default()
}

fn has(inside: &mut Inside, index: u32, address: Address) -> Result<bool, NetlinkError> {
    Ok(on_link(inside, index)?.iter().any(|held| held.address.network == address.network))
}

/// What the kernel holds on the link of this index.
pub(super) fn on_link(inside: &mut Inside, index: u32) -> Result<Vec<Held>, NetlinkError> {
    let mut held = address::dump(&mut inside.route)?;
    held.retain(|held| held.index == index);
    Ok(held)
}

/// Removes an address.
///
/// With an IPv4 address the kernel may remove others of the same network, its secondaries (devinet.c,
/// `promote_secondaries`); they are added again as they were, whoever added them.
pub(super) fn remove(domains: &mut Domains, at: &End, address: Address) -> Result<(), BackendError> {
    let what = || format!("remove address {address} from {at}");
    let inside = domains.enter(at.domain)?;
    let index = inside.index(&at.interface)?;
    let before = address::messages(&mut inside.route).doing(what)?;
    match address::remove(&mut inside.route, index, address) {
        Err(error) if error.errno() == Some(Errno::EADDRNOTAVAIL) => {}
        result => result.doing(what)?,
    }
    let after = on_link(inside, index).doing(what)?;
    let is_lost = |held: Held| {
        let network = held.address.network;
        held.index == index
            && network.is_ipv4()
            && network != address.network
            && after.iter().all(|left| left.address.network != network)
    };
    for lost in before.into_iter().filter(|message| address::read(message).is_some_and(is_lost)) {
        address::add_again(&mut inside.route, lost).doing(what)?;
    }
    let placed = Placed { index, network: address.network };
    domains.change_address(at.domain, placed, Ours::No)
}

/// The addresses of an interface that are ours.
pub(super) fn ours(domains: &mut Domains, at: &End) -> Result<Vec<Address>, BackendError> {
    let record = domains.record(at.domain)?;
    let inside = domains.enter(at.domain)?;
    let index = inside.index(&at.interface)?;
    let held = on_link(inside, index).doing(|| format!("read the addresses of {at}"))?;
    let ours = held.into_iter().map(|held| held.judged_by(&record)).filter(|held| held.ours);
    Ok(ours.map(|held| held.address).collect())
}

/// Adds those of these addresses again that an interface does not have any more.
pub(super) fn add_lost(domains: &mut Domains, at: &End, before: &[Address]) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    let index = inside.index(&at.interface)?;
    let held = on_link(inside, index).doing(|| format!("read the addresses of {at}"))?;
    for &lost in before.iter().filter(|address| !held.iter().any(|held| held.address == **address)) {
        let what = || format!("add address {lost} to {at} again");
        address::add(&mut inside.route, index, lost).doing(what)?;
    }
    Ok(())
}
