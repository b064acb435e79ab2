//! Opens a TUN device in the calling thread's namespace (Documentation/networking/tuntap.rst).
//!
//! A device is made to outlive its descriptor once it is marked as ours: what stands on it stays when its engine dies,
//! and another engine attaches to it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::iter;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;

use super::link;
use crate::backend::BackendError;
use crate::model::InterfaceName;

/// The node through which TUN devices are made.
const NODE: &str = "/dev/net/tun";
/// IP packets behind a virtio header, which offloads need.
const FLAGS: libc::c_int = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;

nix::ioctl_write_ptr_bad!(
    /// Makes the device that the request names (linux/if_tun.h).
    make_device,
    nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
    libc::ifreq
);

nix::ioctl_write_int_bad!(
    /// Whether the device stays when its last descriptor is closed.
    set_persistent,
    nix::request_code_write!(b'T', 203, size_of::<libc::c_int>())
);

/// A new device of this name with so many queues, which goes with their descriptors; reading from one does not block.
/// `IFF_TUN_EXCL` refuses one that exists already. One that may have several queues has 256 inside (`MAX_TAP_QUEUES`,
/// drivers/net/tun.c), so it is made only where it will.
pub(super) fn create(name: &InterfaceName, queues: usize) -> io::Result<Vec<OwnedFd>> {
    let kind = if queues == 1 { FLAGS } else { FLAGS | libc::IFF_MULTI_QUEUE };
    let first = open(name, kind | libc::IFF_TUN_EXCL);
    iter::once(first).chain((1..queues).map(|_| open(name, kind))).collect()
}

/// As many queues of a device that is there already and that no engine has, or the only one of a device that was made
/// with one: the kernel refuses it others (EINVAL).
pub(super) fn attach(name: &InterfaceName, queues: usize) -> io::Result<Vec<OwnedFd>> {
    let several: io::Result<_> = (0..queues).map(|_| open(name, FLAGS | libc::IFF_MULTI_QUEUE)).collect();
    match several {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(vec![open(name, FLAGS)?]),
        several => several,
    }
}

/// Lets a device stay when its descriptor is closed.
pub(super) fn outlive_engine(device: &OwnedFd) -> io::Result<()> {
    // SAFETY: the call takes an integer.
    unsafe { set_persistent(device.as_raw_fd(), 1) }?;
    Ok(())
}

fn open(name: &InterfaceName, flags: libc::c_int) -> io::Result<OwnedFd> {
    let node = open_node()?;
    let request = request(name, flags);
    // SAFETY: the request is a whole `struct ifreq`, which the call only reads and writes itself.
    unsafe { make_device(node.as_raw_fd(), &raw const request) }?;
    Ok(node.into())
}

fn open_node() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(NODE)
}

fn request(name: &InterfaceName, flags: libc::c_int) -> libc::ifreq {
    let mut request = link::request(name);
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    request
}

/// Why no device could be made, with what to do about the node.
pub(super) fn explain(what: &str, error: io::Error) -> BackendError {
    let help = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => {
            Some(format!("{NODE} is missing: modprobe tun; mkdir -p /dev/net; mknod -m 0666 {NODE} c 10 200"))
        }
        Some(Errno::ENODEV | Errno::ENXIO) => {
            Some("the kernel lacks TUN: modprobe tun, or build it with CONFIG_TUN".to_owned())
        }
        Some(Errno::EACCES | Errno::EPERM) => Some(closed(Path::new(NODE))),
        Some(Errno::EBUSY) => Some("a device of this name exists already".to_owned()),
        _ => None,
    };
    BackendError { help, ..BackendError::new(format!("cannot {what}: no TUN device")).caused_by(error) }
}

fn closed(node: &Path) -> String {
    let mode = fs::metadata(node).map_or(0, |metadata| metadata.mode() & 0o7777);
    format!(
        "{} has mode {mode:04o}, which is closed to you: open it to all with `chmod 0666 {0}` as root \
         (making devices needs cap_net_admin in the namespace all the same), or run as root",
        node.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_device_and_says_that_it_is_new() {
        let request = request(&InterfaceName::new("abcdefghijklmno").unwrap(), FLAGS | libc::IFF_TUN_EXCL);
        let name: Vec<u8> = request.ifr_name.iter().map(|&c| c as u8).collect();
        assert_eq!(name, b"abcdefghijklmno\0");
        // SAFETY: `request` filled this member of the union.
        assert_eq!(unsafe { request.ifr_ifru.ifru_flags } as u16, 0xd001);
    }

    #[test]
    fn a_closed_node_is_named_with_its_mode() {
        let error = explain("create wireguard 1/wg1", Errno::EACCES.into());
        let help = error.help.unwrap();
        assert!(help.starts_with("/dev/net/tun has mode 0"), "{help}");
    }
}
