//! The engine's IO: one thread for packets and one for settings, over descriptors that are given to it.
//!
//! The packet thread polls and runs each packet to completion; it never waits for the settings thread, which does
//! everything that can take time: UAPI clients, opening sockets, link events. What both share is the core, behind a
//! lock that is held for one packet or one setting, and the current pair of sockets.
//!
//! Sockets are opened when a port is set, so that a clash is an error of the one who sets it, and when the interface
//! comes up; they are closed when it goes down. While it is down there are no handshakes, as in the kernel's engine.

mod control;
mod gate;
mod link;
mod namespace;
mod packets;
mod standalone;
mod tun;
mod udp;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::eventfd::{EfdFlags, EventFd};

use self::control::Control;
use self::gate::Gate;
pub use self::link::LinkEvents;
use self::packets::Packets;
pub use self::standalone::run_standalone;
pub use self::tun::open_tun;
pub use self::udp::{OpenSockets, UdpPair, UnderlaySockets};
use super::core::Core;

/// What a device runs on.
pub struct Parts {
    /// The interface's name, for threads and logs.
    pub name: String,
    /// The TUN device, non-blocking, without packet information ([`open_tun`]).
    pub tun: OwnedFd,
    /// Tells when the interface goes up or down and what its MTU is.
    pub link: LinkEvents,
    /// Where `wg` connects to. Whoever made its path removes it.
    pub uapi: UnixListener,
    /// Opens UDP sockets in the underlay.
    pub sockets: Box<dyn OpenSockets>,
}

/// A running WireGuard interface. It ends by itself when the TUN device is deleted.
pub struct Device {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Device {
    /// Starts the threads; they live in the namespaces of the calling thread.
    pub fn spawn(parts: Parts) -> io::Result<Self> {
        let mtu = parts.link.mtu();
        let shared = Arc::new(Shared::new(parts.name, mtu)?);
        let gate = Gate::new(Arc::clone(&shared), parts.sockets, parts.link.is_up());
        let tun = parts.tun.try_clone()?;
        let control = Control::new(Arc::clone(&shared), parts.uapi, parts.link, tun, gate)?;
        let packets = Packets::new(Arc::clone(&shared), parts.tun);
        // From here on a failure must end the thread that already runs.
        let mut device = Self { shared, threads: Vec::new() };
        device.start("wg", move || packets.run())?;
        device.start("uapi", move || control.run())?;
        Ok(device)
    }

    /// Ends the threads and waits for them; sockets and the TUN device are closed then.
    pub fn stop(mut self) {
        self.end();
    }

    /// Whether both threads still run.
    pub fn is_running(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Becomes readable when the device ends by itself, and stays so.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.shared.stop.as_fd()
    }

    fn start(&mut self, role: &str, run: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let name = format!("{role}-{}", shared.name);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let ending = Ending(shared);
            if let Err(error) = run() {
                tracing::error!(interface = ending.0.name, %error, "the wireguard engine ends");
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }

    fn end(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so itself.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends the other thread when this one ends, however it ends, and closes the sockets: the owner of a device that
/// ended by itself may keep it for long.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.stop();
        self.0.set_sockets(None);
    }
}

/// What both threads know.
struct Shared {
    name: String,
    core: Mutex<Core>,
    sockets: Mutex<Option<Arc<UdpPair>>>,
    /// Readable for ever once the device must end.
    stop: EventFd,
    /// Readable when the packet thread must look at the sockets and the core's deadline again.
    nudge: EventFd,
}

impl Shared {
    fn new(name: String, mtu: usize) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            name,
            core: Mutex::new(Core::new(mtu)),
            sockets: Mutex::new(None),
            stop: EventFd::from_flags(flags)?,
            nudge: EventFd::from_flags(flags)?,
        })
    }

    /// The core. Between two calls it is always whole, so a panic of the other thread does not spoil it.
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> Option<Arc<UdpPair>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_sockets(&self, sockets: Option<Arc<UdpPair>>) {
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = sockets;
        self.nudge();
    }

    fn nudge(&self) {
        // Can fail only when the counter is full, and then it is readable.
        let _full = self.nudge.write(1);
    }

    fn stop(&self) {
        let _full = self.stop.write(1);
    }
}
