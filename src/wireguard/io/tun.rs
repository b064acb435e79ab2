//! The TUN device: <linux/if_tun.h>, tun.rst of the kernel's documentation.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::mem::{size_of, zeroed};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::uio::writev;

use super::offloads::Wanted;
use super::scratch::HasHeader;
use crate::wireguard::offload::{Coalescing, Group};

/// TUNSETOFFLOAD: checksums and TCP segments, with and without CWR.
const TCP: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
/// UDP datagrams, since Linux 6.2.
const UDP: libc::c_uint = libc::TUN_F_USO4 | libc::TUN_F_USO6;
/// A virtio header, a packet, and what others add to it.
const PIECES_MAX: usize = 66;

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

nix::ioctl_write_int_bad!(
    /// Says what the device may hand over.
    tun_set_offload,
    nix::request_code_write!(b'T', 208, size_of::<libc::c_uint>())
);

/// A device, and what it may be given beyond single packets.
pub(super) struct Tun {
    queues: Vec<File>,
    has_header: HasHeader,
    joins_tcp: AtomicBool,
    joins_udp: AtomicBool,
}

impl Tun {
    /// Asks the device of these queues for as much as it can do, if it puts virtio headers before packets and that is
    /// wanted.
    pub(super) fn new(queues: Vec<OwnedFd>, wanted: Wanted) -> io::Result<Self> {
        let device = queues.first().ok_or(io::ErrorKind::InvalidInput)?;
        let has_header =
            if flags(device)? & libc::IFF_VNET_HDR == 0 { HasHeader::No } else { HasHeader::Yes };
        let offers = |what: libc::c_uint| {
            has_header == HasHeader::Yes
                && wanted == Wanted::All
                // SAFETY: the argument is a number.
                && unsafe { tun_set_offload(device.as_raw_fd(), what.cast_signed()) }.is_ok()
        };
        let udp = offers(TCP | UDP);
        let tcp = udp || offers(TCP);
        if has_header == HasHeader::Yes && !tcp {
            // An engine before this one may have asked for more.
            // SAFETY: the argument is a number.
            unsafe { tun_set_offload(device.as_raw_fd(), 0) }?;
        }
        Ok(Self {
            queues: queues.into_iter().map(File::from).collect(),
            has_header,
            joins_tcp: AtomicBool::new(tcp),
            joins_udp: AtomicBool::new(udp),
        })
    }

    /// How many queues there are: one at least.
    pub(super) fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The queue of this number, where there are fewer one of them.
    pub(super) fn queue(&self, number: usize) -> &File {
        &self.queues[number % self.queues.len()]
    }

    pub(super) fn has_header(&self) -> HasHeader {
        self.has_header
    }

    pub(super) fn coalescing(&self) -> Coalescing {
        match (self.joins_tcp.load(Ordering::Relaxed), self.joins_udp.load(Ordering::Relaxed)) {
            (true, true) => Coalescing::TcpAndUdp,
            (true, false) => Coalescing::Tcp,
            (false, _) => Coalescing::Nothing,
        }
    }

    /// Writes packets as one, by a queue. The interface refuses them while it is down, and such as the kernel does not
    /// like.
    pub(super) fn write(&self, queue: &File, group: Group, bytes: &[u8], packets: &[Range<usize>]) {
        let header = group.virtio.bytes();
        let mut pieces = [IoSlice::new(&[]); PIECES_MAX];
        let mut count = 0;
        let mut add = |piece| {
            pieces[count] = IoSlice::new(piece);
            count += 1;
        };
        if self.has_header == HasHeader::Yes {
            add(&header);
        }
        for (number, packet) in packets.iter().enumerate() {
            let skipped = if number == 0 { 0 } else { group.header };
            add(&bytes[packet.start + skipped..packet.end]);
        }
        if let Err(error) = writev(queue, &pieces[..count]) {
            tracing::trace!(%error, "the interface refused a packet");
            if group.count > 1 && error == nix::errno::Errno::EINVAL {
                self.stop_joining();
            }
        }
    }

    fn stop_joining(&self) {
        let was_on =
            self.joins_udp.swap(false, Ordering::Relaxed) || self.joins_tcp.swap(false, Ordering::Relaxed);
        if was_on {
            tracing::warn!(coalescing = ?self.coalescing(), "the interface does not take packets together");
        }
    }
}

/// Makes a TUN device of this name in the calling thread's network namespace; it lives as long as one of its descriptors,
/// of which each is a queue. Packets come and go behind a virtio header, without blocking. One that is there already has
/// one queue if it was made so: the kernel refuses it more then.
pub fn open_tun(name: &str, queues: usize) -> io::Result<Vec<OwnedFd>> {
    let single = || open_queue(name, 0).map(|queue| vec![queue]);
    if queues == 1 {
        return single();
    }
    let several: io::Result<_> = (0..queues).map(|_| open_queue(name, libc::IFF_MULTI_QUEUE)).collect();
    match several {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => single(),
        several => several,
    }
}

fn open_queue(name: &str, kind: libc::c_int) -> io::Result<OwnedFd> {
    let mut request = request(name)?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR | kind).cast_unsigned();
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

/// The flags that a device was made with.
fn flags(tun: &OwnedFd) -> io::Result<libc::c_int> {
    // SAFETY: `ifreq` is a C structure of integers, for which zeros are a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // SAFETY: the kernel writes one `ifreq`, which lives until the call returns, and in it the flags.
    let flags = unsafe {
        tun_get_iff(tun.as_raw_fd(), &raw mut request)?;
        request.ifr_ifru.ifru_flags
    };
    Ok(flags.into())
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
