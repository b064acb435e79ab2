//! The engine's path without its work: TUN to UDP and back, with the same offloads, and nothing sealed, cut or joined.
//! What a byte costs here is the floor under every userspace tunnel of this kind: `scripts/bench engine` runs it.
//!
//! Usage: clear IFNAME PORT PEER_PORT: makes the interface, binds 127.0.0.1:PORT and sends to 127.0.0.1:PEER_PORT.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread;

use rdomain::wireguard::open_tun;

/// An outer datagram of a tunnel whose MTU is 1420, after IP and UDP.
const SEGMENT: libc::c_int = 1452;
const OFFLOADS: libc::c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;

nix::ioctl_write_int_bad!(
    /// TUNSETOFFLOAD.
    set_offload,
    nix::request_code_write!(b'T', 208, size_of::<libc::c_uint>())
);

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, port, peer] = arguments.as_slice() else {
        return Err(io::Error::other("usage: clear IFNAME PORT PEER_PORT"));
    };
    let socket = UdpSocket::bind(format!("127.0.0.1:{port}"))?;
    socket.connect(format!("127.0.0.1:{peer}"))?;
    set(&socket, libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT);
    set(&socket, libc::SOL_UDP, libc::UDP_GRO, 1);
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 1 << 20);
    let tun = File::from(open_tun(name, 1)?.swap_remove(0));
    // SAFETY: the argument is a number; the second call makes reads block.
    unsafe {
        set_offload(tun.as_raw_fd(), OFFLOADS.cast_signed())?;
        libc::fcntl(tun.as_raw_fd(), libc::F_SETFL, libc::O_RDWR);
    }
    let (tun_out, socket_out) = (tun.try_clone()?, socket.try_clone()?);
    thread::spawn(move || carry(|buffer| (&tun_out).read(buffer), |packet| socket_out.send(packet)));
    carry(|buffer| socket.recv(buffer), |packet| (&tun).write(packet));
    Ok(())
}

/// For ever: what cannot be read or written is lost, as in any network.
fn carry(read: impl Fn(&mut [u8]) -> io::Result<usize>, write: impl Fn(&[u8]) -> io::Result<usize>) {
    let mut buffer = vec![0; 1 << 17];
    loop {
        match read(&mut buffer) {
            Ok(length) => drop(write(&buffer[..length])),
            Err(error) if error.raw_os_error() == Some(libc::EBADFD) => return,
            Err(_) => thread::yield_now(),
        }
    }
}

fn set(socket: &UdpSocket, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads one integer, which lives until the call returns.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if done != 0 {
        eprintln!("option {option}: {}", io::Error::last_os_error());
    }
}
