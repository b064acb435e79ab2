//! The request itself: all that is unsafe about it.

use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Request, SIOCSWG};

nix::ioctl_readwrite_bad!(set, SIOCSWG, Request);

/// Gives the tunnel of this name what these bytes ask for.
pub(in crate::backend::openbsd) fn send(tunnel: &str, bytes: &[u8]) -> io::Result<()> {
    let mut name = [0; 16];
    // The last one is the end of the name.
    if tunnel.len() >= name.len() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    name[..tunnel.len()].copy_from_slice(tunnel.as_bytes());
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = Request { name, size: bytes.len(), interface: bytes.as_ptr() };
    // SAFETY: the kernel reads a `struct wg_data_io`, which `Request` mirrors, and behind its pointer what its counts
    // say: one interface and at most one peer, all of which `bytes` has; it lives until the call returns.
    unsafe { set(socket.as_raw_fd(), &raw mut request) }?;
    Ok(())
}
