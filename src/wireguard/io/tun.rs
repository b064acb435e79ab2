//! The TUN device: <linux/if_tun.h>, tun.rst of the kernel's documentation.

use std::fs::OpenOptions;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

nix::ioctl_write_ptr_bad!(
    /// Attaches the descriptor to a device, which is made if it does not exist.
    tun_set_iff,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

nix::ioctl_read_bad!(
    /// Tells the name and the flags of the device that the descriptor is attached to.
    tun_get_iff,
    nix::request_code_read!(b'T', 210, size_of::<libc::c_uint>()),
    libc::ifreq
);

nix::ioctl_none_bad!(
    /// Opens the network namespace that the device is in now.
    tun_get_device_namespace,
    nix::request_code_none!(b'T', 227)
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

/// The name of a TUN device and the network namespace that it is in: both may have changed since it was made.
pub(super) fn place(tun: &OwnedFd) -> io::Result<(String, OwnedFd)> {
    // SAFETY: `ifreq` is a C structure of integers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // SAFETY: the kernel writes one `ifreq`, which lives until the call returns.
    unsafe { tun_get_iff(tun.as_raw_fd(), &raw mut request) }?;
    let name = request.ifr_name.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0);
    let name = String::from_utf8(name.collect()).map_err(io::Error::other)?;
    // SAFETY: the call takes no argument.
    let namespace = unsafe { tun_get_device_namespace(tun.as_raw_fd()) }?;
    // SAFETY: the kernel has just opened this descriptor for us alone.
    Ok((name, unsafe { OwnedFd::from_raw_fd(namespace) }))
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
