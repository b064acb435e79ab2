//! UDP datagrams at a steady rate, and their count where they arrive. Both ends move many with one system call, so that
//! on a machine with few processors it is the tunnel between them that is measured: iperf3, with a call or two for each,
//! has no room for more than what a fast tunnel carries. `scripts/bench engine` runs it.
//!
//! Usage: datagrams send ADDRESS:PORT SIZE RATE SECONDS: SIZE bytes each, RATE a second; prints how many it sent.
//!        datagrams receive PORT: prints `ready`; then, once some came and no more do, how many.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg, sendmmsg, setsockopt};

/// How many one call moves.
const BURST: usize = 32;
/// Between two bursts that are not due yet.
const PAUSE: Duration = Duration::from_micros(50);
/// Nothing for so long is the end.
const SILENCE: Duration = Duration::from_millis(400);
/// The socket of the receiver, in bytes: what is lost is not to be lost here.
const ROOM: usize = 8 << 20;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "send", to, size, rate, seconds] => {
            let (size, rate, seconds) = (number(size)?, number(rate)?, number(seconds)?);
            send(to, size as usize, rate, Duration::from_secs_f64(seconds))
        }
        [_, "receive", port] => receive(number(port)? as u16),
        _ => Err(io::Error::other("usage: datagrams send ADDRESS:PORT SIZE RATE SECONDS | receive PORT")),
    }
}

fn number(text: &str) -> io::Result<f64> {
    text.parse().map_err(io::Error::other)
}

fn send(to: &str, size: usize, rate: f64, lasting: Duration) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(to)?;
    let payload = vec![0; size];
    let pieces = [[IoSlice::new(&payload)]; BURST];
    let mut headers = MultiHeaders::<()>::preallocate(BURST, None);
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < lasting {
        if sent as f64 >= start.elapsed().as_secs_f64() * rate {
            thread::sleep(PAUSE);
            continue;
        }
        sent += sendmmsg(socket.as_raw_fd(), &mut headers, &pieces, [None; BURST], [], MsgFlags::empty())?
            .count();
    }
    println!("{sent}");
    Ok(())
}

fn receive(port: u16) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    setsockopt(&socket, RcvBufForce, &ROOM)?;
    println!("ready");
    let mut buffers = vec![[0; 2048]; BURST];
    let mut headers = MultiHeaders::<()>::preallocate(BURST, None);
    let mut received = socket.recv(&mut buffers[0]).map(|_| 1)?;
    socket.set_read_timeout(Some(SILENCE))?;
    loop {
        let mut pieces: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        match recvmmsg(socket.as_raw_fd(), &mut headers, &mut pieces, MsgFlags::MSG_WAITFORONE, None) {
            Ok(messages) => received += messages.count(),
            Err(errno) if io::Error::from(errno).kind() == ErrorKind::WouldBlock => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    println!("{received}");
    Ok(())
}
