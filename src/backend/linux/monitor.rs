//! Hears of changes in the namespaces of a network: of links, addresses, routes and rules by netlink(7), of names that go
//! by inotify(7).
//!
//! A socket a namespace, one epoll(7) and one thread for all of them. What a message says is not read: it says that its
//! domain is worth a look. So messages that were lost (ENOBUFS, netlink(7)) are no less than those that came.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::namespace::{DIRECTORY, Identity, Namespace, NamespaceError, Visitor, visit};
use crate::model::DomainId;

/// How long is waited for more after the first message: most changes are several messages.
const SETTLING: Duration = Duration::from_millis(20);
/// How often somebody is told that time passes.
const TICK: Duration = Duration::from_secs(1);
/// How many sockets are read at once.
const BATCH: usize = 256;
/// What the names' inotify is called in the epoll; domains have their numbers, which are smaller.
const NAMES: u64 = u64::MAX;
/// Links, queues, addresses, routes and rules, IPv4 and IPv6: bits of RTNLGRP_* (linux/rtnetlink.h), less one.
const GROUPS: u32 = 1 << 0 | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 18;

/// What was heard since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The domains in whose namespaces something has changed.
    pub stirred: BTreeSet<DomainId>,
    /// Those of which messages were lost.
    pub lost: BTreeSet<DomainId>,
    /// Whether a name of a namespace is gone.
    pub names: bool,
}

/// Ears in namespaces. The thread that listens ends once nobody wants to hear more.
#[derive(Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    epoll: Epoll,
    ears: Mutex<BTreeMap<DomainId, Ear>>,
    names: Option<(Inotify, WatchDescriptor)>,
}

#[derive(Debug)]
struct Ear {
    identity: Identity,
    socket: Socket,
}

impl Monitor {
    /// Begins to listen. `tell` is called on a thread of its own with what was heard, with nothing about once a second,
    /// and says whether to go on.
    pub fn start(tell: impl Fn(Heard) -> bool + Send + 'static) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let names = names();
        if let Some((names, _)) = &names {
            epoll.add(names, EpollEvent::new(EpollFlags::EPOLLIN, NAMES))?;
        }
        let shared = Arc::new(Shared { epoll, ears: Mutex::default(), names });
        let listening = shared.clone();
        thread::Builder::new().name("monitor".into()).spawn(move || listening.listen(&tell))?;
        Ok(Self { shared })
    }

    /// Listens in these namespaces and in no others; returns the domains that were not listened to before.
    pub(super) fn listen_in<'n>(
        &self,
        namespaces: impl Iterator<Item = (DomainId, &'n Namespace)>,
    ) -> Result<BTreeSet<DomainId>, NamespaceError> {
        let mut ears = self.shared.ears.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *ears);
        let mut new = Vec::new();
        for (domain, namespace) in namespaces {
            match before.remove(&domain).filter(|ear| ear.identity == namespace.identity()) {
                Some(ear) => drop(ears.insert(domain, ear)),
                None => new.push((domain, namespace)),
            }
        }
        if new.is_empty() {
            return Ok(BTreeSet::new());
        }
        let opened = visit(|visitor| {
            let open = |&(domain, namespace)| Ok((domain, self.shared.ear(visitor, domain, namespace)?));
            new.iter().map(open).collect::<Result<Vec<_>, NamespaceError>>()
        })?;
        ears.extend(opened?);
        Ok(new.into_iter().map(|(domain, _)| domain).collect())
    }
}

impl Drop for Monitor {
    /// Nothing is heard any more, although the thread goes on to tell the time. Whoever closes an inotify waits for a
    /// grace period of SRCU after its last watch went (`fsnotify_wait_marks_destroyed`): begun here it is over by the
    /// time that the process ends.
    fn drop(&mut self) {
        self.shared.ears.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let unwatch = |(names, watch): &(Inotify, WatchDescriptor)| names.rm_watch(*watch);
        let _gone = self.shared.names.as_ref().map(unwatch);
    }
}

impl Shared {
    fn ear(&self, visitor: &Visitor, domain: DomainId, namespace: &Namespace) -> Result<Ear, NamespaceError> {
        visitor.enter(namespace.fd())?;
        let open = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, GROUPS))?;
            socket.set_non_blocking(true)?;
            let number = u64::from(domain.number());
            self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?;
            Ok::<_, io::Error>(socket)
        };
        let failed = |source| NamespaceError::File { path: "netlink".into(), source };
        Ok(Ear { identity: namespace.identity(), socket: open().map_err(failed)? })
    }

    fn listen(&self, tell: &dyn Fn(Heard) -> bool) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let left = next_tick.saturating_duration_since(Instant::now());
            let mut heard = Heard::default();
            if self.ready(left).is_empty() {
                next_tick = Instant::now() + TICK;
            } else {
                thread::sleep(SETTLING);
                self.ready(Duration::ZERO).into_iter().for_each(|ear| self.drain(ear, &mut heard));
            }
            if !tell(heard) {
                return;
            }
        }
    }

    fn ready(&self, within: Duration) -> Vec<u64> {
        let mut events = [EpollEvent::empty(); BATCH];
        let milliseconds = within.as_millis().next_multiple_of(10);
        let timeout = EpollTimeout::try_from(milliseconds).unwrap_or(EpollTimeout::ZERO);
        let ready = self.epoll.wait(&mut events, timeout).unwrap_or(0);
        events.iter().take(ready).map(EpollEvent::data).collect()
    }

    fn drain(&self, ear: u64, heard: &mut Heard) {
        if ear == NAMES {
            heard.names = self.names.iter().any(|(names, _)| names.read_events().is_ok());
            return;
        }
        let ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        let domain = u32::try_from(ear).ok().and_then(|number| DomainId::new(number).ok());
        let Some((&domain, ear)) = domain.and_then(|domain| ears.get_key_value(&domain)) else { return };
        heard.stirred.insert(domain);
        let mut buffer = Vec::with_capacity(1);
        loop {
            buffer.clear();
            match ear.socket.recv(&mut buffer, libc::MSG_TRUNC) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    heard.lost.insert(domain);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

/// Nothing is heard of names where the directory cannot be watched; the next full look sees what is gone.
fn names() -> Option<(Inotify, WatchDescriptor)> {
    let names = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
    let gone = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
    let watch = names.add_watch(DIRECTORY, gone).ok()?;
    Some((names, watch))
}
