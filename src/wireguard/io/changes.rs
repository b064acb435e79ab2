//! Which devices of a process somebody has set who does not keep them, until their keeper asks for that.
//!
//! A device is noted once however often it was set, so what waits is bounded by the devices that there are.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Those of all devices of a process.
#[derive(Debug)]
pub struct Changes {
    /// Readable while there is something to take.
    ready: EventFd,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    keeper: Option<i32>,
    devices: BTreeSet<String>,
    is_over: bool,
}

/// Where changes of one device are noted.
#[derive(Clone, Debug)]
pub struct ChangesOf {
    device: String,
    changes: Arc<Changes>,
}

impl Changes {
    /// None so far.
    pub fn new() -> io::Result<Arc<Self>> {
        let ready = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Arc::new(Self { ready, noted: Mutex::default() }))
    }

    /// Those of a device, by a name that its keeper knows.
    pub fn of(self: &Arc<Self>, device: String) -> ChangesOf {
        ChangesOf { device, changes: Arc::clone(self) }
    }

    /// This process keeps the devices from now on: what it sets is nobody else's change.
    pub fn keep_by(&self, pid: i32) {
        self.noted().keeper = Some(pid);
    }

    /// Becomes readable when there is something to take.
    pub fn ready(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }

    /// Up to so many devices that were set since they were last taken.
    pub fn take(&self, most: usize) -> Vec<String> {
        let mut noted = self.noted();
        let _nothing_there = self.ready.read();
        let taken = std::iter::from_fn(|| noted.devices.pop_first()).take(most).collect();
        if !noted.devices.is_empty() {
            self.tell();
        }
        taken
    }

    /// Waits for the next of them; none once it is over.
    pub fn wait(&self, most: usize) -> Option<Vec<String>> {
        let mut fds = [PollFd::new(self.ready(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if self.noted().is_over { None } else { Some(self.take(most)) }
    }

    /// Nobody need wait any more.
    pub fn end(&self) {
        self.noted().is_over = true;
        self.tell();
    }

    fn tell(&self) {
        let _full = self.ready.write(1);
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangesOf {
    /// A process has set the device.
    pub(super) fn note(&self, by: i32) {
        let mut noted = self.changes.noted();
        if noted.keeper != Some(by) {
            noted.devices.insert(self.device.clone());
            self.changes.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ready(changes: &Changes) -> bool {
        let mut fds = [PollFd::new(changes.ready(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn what_others_set_is_told_once_and_what_the_keeper_sets_is_not() {
        let changes = Changes::new().unwrap();
        changes.keep_by(7);
        let devices = ["1/wg1", "2/wg2", "3/wg3"].map(|device| changes.of(device.to_owned()));
        devices.iter().for_each(|device| device.note(7));
        assert!(!is_ready(&changes));
        for device in devices.iter().cycle().take(100) {
            device.note(8);
        }
        assert_eq!(changes.take(2), ["1/wg1", "2/wg2"]);
        assert!(is_ready(&changes), "there is another one");
        assert_eq!(changes.wait(2).unwrap(), ["3/wg3"]);
        assert!(!is_ready(&changes));
        changes.end();
        assert_eq!(changes.wait(2), None);
    }
}
