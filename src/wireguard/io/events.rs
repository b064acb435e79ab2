//! What threads wait on, each of which takes events as they come, and how all of them are told to end: epoll(7).

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The key of the event that ends the threads; no other event has it.
const STOP: u64 = 0;

/// Descriptors that are waited for, by keys from 1 up.
pub(super) struct Events {
    epoll: Epoll,
    stop: EventFd,
}

impl Events {
    pub(super) fn new() -> io::Result<Self> {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        Ok(Self { epoll, stop })
    }

    /// From now on, until the descriptor is closed.
    pub(super) fn add(&self, descriptor: impl AsFd, event: EpollEvent) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, event)?)
    }

    /// Once more, after an event that was to come once. The descriptor may have been taken away.
    pub(super) fn rearm(&self, descriptor: impl AsFd, mut event: EpollEvent) {
        let _gone = self.epoll.modify(descriptor, &mut event);
    }

    /// No more.
    pub(super) fn take_away(&self, descriptor: impl AsFd) {
        let _gone = self.epoll.delete(descriptor);
    }

    /// Waits and says for which keys, perhaps for none; nothing if it is over.
    pub(super) fn wait<'e>(
        &self,
        room: &'e mut [EpollEvent],
        timeout: EpollTimeout,
    ) -> io::Result<Option<impl Iterator<Item = u64> + use<'e>>> {
        let count = match self.epoll.wait(room, timeout) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        let keys = room[..count].iter().map(EpollEvent::data);
        Ok((!keys.clone().any(|key| key == STOP)).then_some(keys))
    }

    /// Has every thread end that waits, now or later.
    pub(super) fn stop(&self) {
        let _full = self.stop.write(1);
    }
}
