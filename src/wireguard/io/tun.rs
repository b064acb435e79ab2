//! The TUN device: <linux/if_tun.h>, tun.rst of the kernel's documentation.

use std::fs::OpenOptions;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

nix::ioctl_write_ptr_bad!(
    /// Attaches the descriptor to a device, which is made if it does not exist.
    tun_set_iff,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

/// Makes a TUN device of this name in the calling thread's network namespace; it lives as long as the descriptor.
/// Packets come and go bare, one per read and write, without blocking.
pub fn open_tun(name: &str) -> io::Result<OwnedFd> {
    let mut request = request(name)?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI).cast_unsigned();
    request.ifr_ifru.ifru_flags = u16::try_from(flags).unwrap_or(0).cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")?;
    // SAFETY: the kernel reads and writes one `ifreq`, which lives until the call returns.
    unsafe { tun_set_iff(file.as_raw_fd(), &raw const request) }?;
    Ok(file.into())
}

/// An interface request that names an interface.
pub(super) fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is a C structure of integers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    Ok(request)
}
