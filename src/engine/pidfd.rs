//! A process that stays the one it is, whatever becomes of its number: pidfd_open(2), pidfd_send_signal(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Instant;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

/// A process, alive or not.
#[derive(Debug)]
pub struct Process(OwnedFd);

impl Process {
    /// The one that has this number now.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: the call takes two integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just opened this descriptor for us alone.
            Ok(fd) if fd >= 0 => Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) })),
            Ok(_) | Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Becomes readable when it ends.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Whether it ends until then; waits for it.
    pub fn has_ended_by(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.handle(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }

    /// Sends it a signal, if it lives and that is permitted.
    pub fn signal(&self, signal: Signal) {
        let (fd, nothing) = (self.0.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: the call takes integers and a null pointer.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, nothing, 0) };
    }
}
