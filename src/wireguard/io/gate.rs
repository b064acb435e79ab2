//! The sockets' life: opened on a port, marked, moved to another port, closed and opened again with the interface.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::link::LinkState;
use super::udp::OpenSockets;

/// What the settings thread decides about the sockets.
pub(super) struct Gate {
    shared: Arc<Shared>,
    opener: Box<dyn OpenSockets>,
    /// The port that was asked for or picked last; 0 is none yet.
    port: u16,
    fwmark: u32,
    up: bool,
    /// Whether it has come up and nobody was spoken to since.
    silent: bool,
}

impl Gate {
    pub(super) fn new(shared: Arc<Shared>, opener: Box<dyn OpenSockets>, up: bool) -> Self {
        Self { shared, opener, port: 0, fwmark: 0, up, silent: false }
    }

    /// The port that is open, or will be when the interface comes up.
    pub(super) fn port(&self) -> Option<u16> {
        (self.port != 0).then_some(self.port)
    }

    pub(super) fn fwmark(&self) -> u32 {
        self.fwmark
    }

    /// Opens the sockets for an interface that is up already, or keeps the core quiet until it is.
    pub(super) fn start(&mut self) -> io::Result<()> {
        if self.up {
            return self.open(0);
        }
        self.shared.settings().suspend();
        Ok(())
    }

    /// Moves to a port; on failure the sockets stay as they are.
    pub(super) fn listen(&mut self, port: u16) -> io::Result<()> {
        if port != 0 && port == self.port && self.shared.open_sockets().is_some() {
            return Ok(());
        }
        self.open(port)
    }

    /// Marks what is sent from now on. The mark that it has already is no change, for an engine without privileges may
    /// make none, and `wg setconf` always names one.
    pub(super) fn mark(&mut self, fwmark: u32) -> io::Result<()> {
        if fwmark == self.fwmark {
            return Ok(());
        }
        if let Some(open) = self.shared.open_sockets().as_ref() {
            open.sockets.iter().try_for_each(|pair| pair.set_mark(fwmark))?;
        }
        self.fwmark = fwmark;
        Ok(())
    }

    /// Follows the interface.
    pub(super) fn follow(&mut self, link: LinkState) -> io::Result<()> {
        self.shared.settings().set_mtu(link.mtu);
        match (self.up, link.up) {
            (true, true) | (false, false) => Ok(()),
            (true, false) => {
                (self.up, self.silent) = (false, false);
                self.shared.settings().suspend();
                self.shared.close_sockets();
                Ok(())
            }
            (false, true) => self.come_up(),
        }
    }

    /// Whether it is to [`speak`](Self::speak).
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Begins to keep peers alive.
    pub(super) fn speak(&mut self) {
        if std::mem::take(&mut self.silent) {
            self.shared.core().restart_keepalives(Instant::now());
        }
    }

    /// Where the port is taken meanwhile there are no sockets until another port is set, but all else goes on.
    fn come_up(&mut self) -> io::Result<()> {
        (self.up, self.silent) = (true, true);
        let opened = if self.shared.open_sockets().is_some() { Ok(()) } else { self.open(self.port) };
        self.shared.settings().resume();
        opened
    }

    fn open(&mut self, port: u16) -> io::Result<()> {
        let sockets = self.opener.open(port, self.shared.tun.queues())?;
        if self.fwmark != 0 {
            sockets.iter().try_for_each(|pair| pair.set_mark(self.fwmark))?;
        }
        self.port = sockets.first().ok_or(io::ErrorKind::InvalidData)?.port;
        self.shared.use_sockets(sockets)
    }
}
