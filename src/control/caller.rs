//! Who calls, as the kernel and the system's accounts have it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Gid, Group, Pid, Uid, User};

use crate::model::Account;

/// Groups that are asked for at first; who is in more is asked again.
const GROUPS: usize = 64;

/// A process that calls.
#[derive(Debug)]
pub struct Caller {
    /// Its id, as this process sees it.
    pub pid: Pid,
    /// Its user.
    pub user: Account,
    /// Its groups.
    pub groups: Vec<Account>,
    handle: OwnedFd,
}

/// What the kernel says of who is at the other end of a socket.
#[derive(Debug)]
pub(super) struct Credentials {
    pid: Pid,
    pub(super) uid: u32,
    gids: Vec<u32>,
    handle: OwnedFd,
}

impl Credentials {
    /// Those of who connected (unix(7), `SO_PEERCRED`; socket.h, `SO_PEERGROUPS` and, since Linux 6.5, `SO_PEERPIDFD`).
    pub(super) fn of(stream: &impl AsFd) -> io::Result<Self> {
        let peer = getsockopt(stream, sockopt::PeerCredentials)?;
        let handle = getsockopt(stream, sockopt::PeerPidfd).or_else(|_| pidfd(peer.pid()))?;
        let mut gids = groups(stream)?;
        gids.push(peer.gid());
        Ok(Self { pid: Pid::from_raw(peer.pid()), uid: peer.uid(), gids, handle })
    }

    /// With the names that the system's accounts have; may take as long as those take to answer.
    pub(super) fn identify(self) -> Caller {
        let name = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
        let group_name = |gid| Group::from_gid(gid).ok().flatten().map(|group| group.name);
        let group = |&number: &u32| Account { number, name: group_name(Gid::from_raw(number)) };
        Caller {
            pid: self.pid,
            user: Account { number: self.uid, name: name(Uid::from_raw(self.uid)) },
            groups: self.gids.iter().map(group).collect(),
            handle: self.handle,
        }
    }
}

impl Caller {
    /// Whether it still lives: what was looked up by its id until now was its own.
    pub fn is_alive(&self) -> bool {
        let mut handle = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        poll(&mut handle, PollTimeout::ZERO) == Ok(0)
    }
}

/// By the process's id: on a kernel that does not hand out a peer's own (pidfd_open(2)).
fn pidfd(pid: i32) -> nix::Result<OwnedFd> {
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // The kernel has just made it, and nobody else knows of it.
    Errno::result(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn groups(stream: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut gids = vec![0_u32; GROUPS];
    loop {
        let mut length = (gids.len() * size_of::<u32>()) as libc::socklen_t;
        // The kernel writes at most `length` bytes, and says how many there are.
        let result = unsafe {
            libc::getsockopt(
                stream.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                gids.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<u32>();
        match Errno::result(result) {
            Err(Errno::ERANGE) if count > gids.len() => gids.resize(count, 0),
            Err(errno) => return Err(errno.into()),
            Ok(_) => {
                gids.truncate(count);
                return Ok(gids);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn who_is_at_the_other_end_is_told() {
        let (one, _other) = UnixStream::pair().unwrap();
        let caller = Credentials::of(&one).unwrap().identify();
        assert_eq!(caller.pid, Pid::this());
        assert_eq!(caller.user.number, nix::unistd::geteuid().as_raw());
        assert!(caller.groups.iter().any(|group| group.number == nix::unistd::getegid().as_raw()));
        assert!(caller.is_alive());
    }
}
