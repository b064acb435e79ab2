//! Lends interfaces of the default domain to others, and takes them back: each public function but the last is a step.
//!
//! A lent interface says so by its alias, which it keeps wherever it goes: moved or renamed by somebody, or fallen back
//! into the initial namespace because its own ended (net/core/dev.c, `default_device_exit_net`). What it was is in the
//! ledger before the alias is set, and until the alias is gone. So after a crash at any point the alias tells that there
//! is something to be given back, and giving back does what has not been done yet.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::baseline;
use super::domains::{Domains, Inside};
use super::explain::Doing;
use super::link::{self, Change, Driver, Link};
use super::mark;
use super::netlink::{Netlink, NetlinkError};
use crate::backend::BackendError;
use crate::model::{DomainId, End, InterfaceName};

/// How long an interface may take to fall back out of a namespace that ended: `cleanup_net` works behind.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lends an interface: it is in its domain afterwards, down and bare.
pub(super) fn lend(domains: &mut Domains, at: &End, home: &InterfaceName) -> Result<(), BackendError> {
    let what = || format!("lend {} to domain {}", at_home(home), at.domain);
    await_return(domains, home)?;
    let link = lendable(domains, at, home)?;
    require_free(domains, at, what)?;
    let alias = domains.network_mark().of_lent(home);
    let namespace = domains.namespace(at.domain)?.fd().try_clone().doing(what)?;
    let default = domains.enter(DomainId::DEFAULT)?;
    let before = baseline::of(&default.namespace, &mut default.route, &link).doing(what)?;
    domains.change(DomainId::DEFAULT, |record| {
        record.lent.insert(home.as_str().to_owned(), before);
    })?;
    let route = &mut domains.enter(DomainId::DEFAULT)?.route;
    let moved = link::change(route, link.index, &[Change::Alias(&alias)]).and_then(|()| {
        link::change(route, link.index, &[Change::Namespace(&namespace), Change::Name(&at.interface)])
    });
    let moved = moved.doing_or(what, |errno| {
        let advice = "it may be of a kind that cannot leave its namespace, as bridges, VRF devices and wireless \
                      interfaces are";
        (errno == Errno::EINVAL).then(|| advice.to_owned())
    });
    if moved.is_err() {
        restore(domains, home, link.index)?;
    }
    moved
}

/// The interface of this name in the default domain, if it may be lent to be this.
fn lendable(domains: &mut Domains, at: &End, home: &InterfaceName) -> Result<Link, BackendError> {
    let refused = |why: String| Err(BackendError::new(format!("cannot lend {}: {why}", at_home(home))));
    let default = domains.enter(DomainId::DEFAULT)?;
    let Some(link) = default.called(home)? else {
        return refused("there is no such interface".to_owned())
            .map_err(|error| error.help("ip -br link lists those that there are"));
    };
    if link.driver == Driver::Loopback {
        return refused("it is the loopback".to_owned());
    }
    // Its second names go with it, and the kernel does not make one of them its first.
    if default.find(&at.interface)?.is_some_and(|other| other.index == link.index && at.interface != *home) {
        return refused(format!("{} is a second name of it", at.interface)).map_err(|error| {
            error.help(format!("choose another, or ip link property del dev {home} altname {}", at.interface))
        });
    }
    match link.alias.as_deref().filter(|alias| mark::is_of_a_network(alias)) {
        Some(alias) => refused(format!("it is of a network of rdom already ({alias})")),
        None => Ok(link),
    }
}

/// Gives an interface back: it is in the default domain afterwards, and as it was there. One that is gone already is no
/// error.
pub(super) fn give_back(domains: &mut Domains, at: &End, home: &InterfaceName) -> Result<(), BackendError> {
    let what = || format!("return {at} as {}", at_home(home));
    let mark = domains.network_mark().clone();
    let Some(link) = domains.enter(at.domain)?.find(&at.interface)? else { return Ok(()) };
    let is_it = link.alias.as_deref().and_then(|alias| mark.home_of_lent(alias)).as_ref() == Some(home);
    if !is_it {
        return Err(BackendError::new(format!("cannot {}: it was not lent by this network", what())));
    }
    let there = at_home(home);
    if *at != there {
        require_free(domains, &there, what)?;
    }
    let namespace = domains.namespace(DomainId::DEFAULT)?.fd().try_clone().doing(what)?;
    let is_away = !domains.share_a_namespace(at.domain, DomainId::DEFAULT);
    let before = domains.record(DomainId::DEFAULT)?.lent.get(home.as_str()).map_or(0, |record| record.index);
    let route = &mut domains.enter(at.domain)?.route;
    let moved = match (is_away, at.interface == *home) {
        (true, _) => move_home(route, link.index, &namespace, home, before),
        (false, true) => Ok(()),
        (false, false) => link::change(route, link.index, &[Change::Up(false)])
            .and_then(|()| link::change(route, link.index, &[Change::Name(home)])),
    };
    moved.doing(what)?;
    // It may have another index by now: its own one was somebody else's.
    let index = domains.enter(DomainId::DEFAULT)?.link(home)?.index;
    restore(domains, home, index)
}

/// With the index that it had there, if nobody else has that by now.
fn move_home(
    route: &mut Netlink,
    index: u32,
    namespace: &OwnedFd,
    home: &InterfaceName,
    before: u32,
) -> Result<(), NetlinkError> {
    let home = [Change::Namespace(namespace), Change::Name(home)];
    let with_index = [home[0], home[1], Change::Index(before)];
    match before {
        0 => link::change(route, index, &home),
        _ => match link::change(route, index, &with_index) {
            Err(error) if error.errno() == Some(Errno::EBUSY) => link::change(route, index, &home),
            result => result,
        },
    }
}

/// The kernel moves first and renames then (net/core/rtnetlink.c, `do_setlink`): a name that is taken would be found
/// out too late.
fn require_free(domains: &mut Domains, at: &End, what: impl Fn() -> String) -> Result<(), BackendError> {
    match domains.enter(at.domain)?.find(&at.interface)? {
        None => Ok(()),
        Some(_) => Err(BackendError::new(format!("cannot {}: {at} is another interface", what()))
            .help(format!("rename or remove {at}"))),
    }
}

/// Makes an interface that is at home what it was there, and forgets it.
fn restore(domains: &mut Domains, home: &InterfaceName, index: u32) -> Result<(), BackendError> {
    let what = || format!("restore {}", at_home(home));
    let record = domains.record(DomainId::DEFAULT)?.lent.remove(home.as_str()).unwrap_or_default();
    let default = domains.enter(DomainId::DEFAULT)?;
    baseline::restore(&default.namespace, &mut default.route, home, index, &record).doing(what)?;
    link::change(&mut default.route, index, &[Change::Alias(&record.alias)]).doing(what)?;
    forget(domains, home)
}

fn forget(domains: &Domains, home: &InterfaceName) -> Result<(), BackendError> {
    domains.change(DomainId::DEFAULT, |record| drop(record.lent.remove(home.as_str())))
}

/// Waits for a lent interface whose namespace has ended, and which is on its way back. Then it is given back: what it
/// was here is what it shall be when it is lent again.
fn await_return(domains: &mut Domains, home: &InterfaceName) -> Result<(), BackendError> {
    if !domains.record(DomainId::DEFAULT)?.lent.contains_key(home.as_str()) {
        return Ok(());
    }
    let deadline = Instant::now() + BACK_WITHIN;
    while Instant::now() < deadline {
        if let Some(name) = fallen_back(domains, home)? {
            return give_back(domains, &End { domain: DomainId::DEFAULT, interface: name }, home);
        }
        if domains.enter(DomainId::DEFAULT)?.find(home)?.is_some() {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// What a lent interface is called that is in the default domain.
fn fallen_back(domains: &mut Domains, home: &InterfaceName) -> Result<Option<InterfaceName>, BackendError> {
    let alias = domains.network_mark().of_lent(home);
    let marked = |inside: &mut Inside| -> Result<Option<Link>, NetlinkError> {
        let links = link::dump(&mut inside.route)?;
        Ok(links.into_iter().find(|link| link.alias.as_ref() == Some(&alias)))
    };
    let found = marked(domains.enter(DomainId::DEFAULT)?).doing(|| format!("look for {}", at_home(home)))?;
    Ok(found.and_then(|link| InterfaceName::new(link.name).ok()))
}

/// Gives back what its namespace left behind without being seen, and forgets what is lent no more.
pub(super) fn forget_gone(domains: &mut Domains) -> Result<(), BackendError> {
    let live: Vec<DomainId> = domains.refresh()?.into_keys().collect();
    for home in domains.record(DomainId::DEFAULT)?.lent.into_keys() {
        let Ok(home) = InterfaceName::new(home) else { continue };
        let alias = domains.network_mark().of_lent(&home);
        let mut is_lent = false;
        for &id in live.iter().filter(|id| !id.is_default()) {
            let links = link::dump(&mut domains.enter(id)?.route).doing(|| format!("look for {alias}"))?;
            is_lent |= links.iter().any(|link| link.alias.as_ref() == Some(&alias));
        }
        if is_lent {
            continue;
        }
        await_return(domains, &home)?;
        if domains.enter(DomainId::DEFAULT)?.find(&home)?.is_none() {
            tracing::warn!(
                interface = %home,
                "did not come back: its namespace ended, and with it a virtual interface does, while the kernel \
                 gives a physical one to the machine's initial namespace"
            );
        }
        forget(domains, &home)?;
    }
    Ok(())
}

fn at_home(home: &InterfaceName) -> End {
    End { domain: DomainId::DEFAULT, interface: home.clone() }
}
