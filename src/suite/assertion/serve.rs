//! A throw-away server in the domain that a test names: who says its token has been there and nowhere else, also where
//! the same address is in several domains.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Backlog, SockType, listen};
use rand_core::{OsRng, RngCore};

use super::reach::Server;

/// Bytes that a server says.
pub(super) const TOKEN_BYTES: usize = 16;
/// How soon a server notices that it is no longer needed, in milliseconds.
const NOTICE_MILLIS: u8 = 10;

/// A server, until this is dropped.
pub(super) struct Served {
    /// What it says.
    pub(super) token: [u8; TOKEN_BYTES],
    word: String,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// One that says its token to whoever calls.
    pub(super) fn tcp(server: &Server<'_>, at: SocketAddr) -> Result<Self, String> {
        let socket = bound(server, at, SockType::Stream)?;
        listen(&socket, Backlog::MAXCONN).map_err(|errno| refused(server, at, errno))?;
        let listener = TcpListener::from(socket);
        Self::start(server, move |token, over| {
            while is_ready(&listener, over) {
                if let Ok((mut caller, _)) = listener.accept() {
                    let _ = caller.write_all(&token);
                }
            }
        })
    }

    /// One that answers each datagram with its token.
    pub(super) fn udp(server: &Server<'_>, at: SocketAddr) -> Result<Self, String> {
        let socket = UdpSocket::from(bound(server, at, SockType::Datagram)?);
        Self::start(server, move |token, over| {
            while is_ready(&socket, over) {
                if let Ok((_, asker)) = socket.recv_from(&mut [0; 64]) {
                    let _ = socket.send_to(&token, asker);
                }
            }
        })
    }

    fn start(
        server: &Server<'_>,
        serve: impl FnOnce([u8; TOKEN_BYTES], &AtomicBool) + Send + 'static,
    ) -> Result<Self, String> {
        let mut token = [0; TOKEN_BYTES];
        OsRng.fill_bytes(&mut token);
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = thread::Builder::new().name("server".into()).spawn(move || serve(token, &until));
        let thread = Some(thread.map_err(|error| error.to_string())?);
        Ok(Self { token, word: server.ground.word(server.domain), over, thread })
    }

    /// What to say of an answer that is not its.
    pub(super) fn stranger(&self, to: SocketAddr) -> String {
        format!("{to} is open, but not in {}: somebody else has answered", self.word)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn bound(server: &Server<'_>, at: SocketAddr, kind: SockType) -> Result<OwnedFd, String> {
    let inside = server.ground.inside(server.domain)?;
    inside.bound(at, kind).map_err(|errno| refused(server, at, errno))
}

fn refused(server: &Server<'_>, at: SocketAddr, errno: Errno) -> String {
    let word = server.ground.word(server.domain);
    match errno {
        Errno::EADDRNOTAVAIL => format!("cannot serve {at} in {word}: it has no address {}", at.ip()),
        Errno::EADDRINUSE => {
            format!("cannot serve {at} in {word}: somebody does already, so leave `serve` out")
        }
        errno => format!("cannot serve {at} in {word}: {}", errno.desc()),
    }
}

/// Waits until somebody has come; false when all is over.
fn is_ready(socket: &(impl AsFd + AsRawFd), over: &AtomicBool) -> bool {
    loop {
        let mut ask = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut ask, PollTimeout::from(NOTICE_MILLIS));
        if over.load(Ordering::Relaxed) {
            return false;
        }
        if ready.is_ok_and(|ready| ready > 0) {
            return true;
        }
    }
}
