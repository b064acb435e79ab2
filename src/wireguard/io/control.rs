//! What an interface has the settings thread do: the UAPI socket's clients and what becomes of the interface.
//!
//! All clients are served without blocking, so that a slow or dead one holds up nobody. A client, a request and the
//! time for it are bounded. A request that its client did not finish is not applied at all: its last line might be the
//! beginning of another one.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use zeroize::{Zeroize, Zeroizing};

use super::Shared;
use super::changes::ChangesOf;
use super::controls::{Left, Watch};
use super::gate::Gate;
use super::link::LinkEvents;
use super::routes::Routes;
use crate::wireguard::settings::Selected;
use crate::wireguard::uapi::{Change, Operation, Reader, Refusal, describe};

/// More wait in the listener's queue.
const CLIENTS_MAX: usize = 32;
/// Ten times what 130,000 allowed IPs and 10,000 peers take.
const REQUEST_MAX_BYTES: usize = 64 << 20;
/// From a request's first byte to its answer's last; the largest take a second, or half a minute on an emulated
/// processor.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// After a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often one interface looks at what is ready before others have their turn.
const ROUNDS: usize = 16;

/// The settings thread's own of one interface. The device has ended when this is dropped.
pub(super) struct Control {
    shared: Arc<Shared>,
    watch: Watch,
    listener: UnixListener,
    link: LinkEvents,
    routes: Option<Routes>,
    tun: OwnedFd,
    gate: Gate,
    changes: Option<ChangesOf>,
    clients: Vec<Client>,
}

/// What a control works with.
pub(super) struct ControlParts {
    pub(super) uapi: UnixListener,
    pub(super) link: LinkEvents,
    pub(super) routes: Option<Routes>,
    /// Tells where the interface went when it leaves the namespace of the link events.
    pub(super) tun: OwnedFd,
    pub(super) gate: Gate,
    pub(super) changes: Option<ChangesOf>,
}

/// Someone who is connected.
struct Client {
    stream: UnixStream,
    request: Zeroizing<Vec<u8>>,
    /// How much of the request has been searched for its end.
    searched: usize,
    answer: Zeroizing<Vec<u8>>,
    answered: usize,
    deadline: Instant,
}

/// Whether a client stays.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Leaves,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>, watch: Watch, parts: ControlParts) -> io::Result<Self> {
        let ControlParts { uapi: listener, link, routes, tun, mut gate, changes } = parts;
        listener.set_nonblocking(true)?;
        watch.add(&shared.stop)?;
        watch.add(&listener)?;
        watch.add(&link)?;
        if let Some(routes) = &routes {
            watch.add(routes.changes())?;
        }
        gate.start()?;
        Ok(Self { shared, watch, listener, link, routes, tun, gate, changes, clients: Vec::new() })
    }

    /// Does what there is to do, within a budget.
    pub(super) fn turn(&mut self) -> Left {
        self.try_turn().unwrap_or_else(|error| {
            tracing::error!(interface = self.shared.name, %error, "the wireguard engine ends");
            Left::Over
        })
    }

    /// Whether its interface has come up and is to [`speak`](Self::speak).
    pub(super) fn is_silent(&self) -> bool {
        self.gate.is_silent()
    }

    /// Begins to keep peers alive.
    pub(super) fn speak(&mut self) {
        self.gate.speak();
    }

    fn try_turn(&mut self) -> io::Result<Left> {
        for _ in 0..ROUNDS {
            // Before it looks who is ready: the listener is, where one that waited has a place now.
            self.clients.retain(|client| Instant::now() < client.deadline);
            let ready = self.ready()?;
            let [stop, accept, link, clients @ ..] = ready.as_slice() else { continue };
            if *stop {
                return Ok(Left::Over);
            }
            self.serve(clients);
            if *accept {
                self.accept();
            }
            if *link {
                self.follow();
            }
            if !ready.contains(&true) {
                let routes_due = self.follow_routes();
                let first = self.clients.iter().map(|client| client.deadline).chain(routes_due).min();
                return Ok(first.map_or(Left::Nothing, Left::At));
            }
        }
        Ok(Left::At(Instant::now()))
    }

    /// Which of stop, listener, link and clients are ready; none after an interruption.
    fn ready(&self) -> io::Result<Vec<bool>> {
        let accepting = if self.clients.len() < CLIENTS_MAX { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(self.shared.stop.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), accepting),
            PollFd::new(self.link.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.clients.iter().map(|client| PollFd::new(client.stream.as_fd(), client.interest())));
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(_) => Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((stream, _)) if stream.set_nonblocking(true).is_ok() && self.watch.add(&stream).is_ok() => {
                self.clients.push(Client::new(stream));
            }
            Ok(_) => {}
            // The client is gone already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // No descriptor or memory left: the listener stays readable, so the next try must not come at once.
            Err(error) => {
                tracing::warn!(interface = self.shared.name, %error, "cannot accept a client");
                std::thread::sleep(ACCEPT_PAUSE);
            }
        }
    }

    fn serve(&mut self, ready: &[bool]) {
        let mut clients = std::mem::take(&mut self.clients);
        let mut ready = ready.iter();
        clients.retain_mut(|client| {
            let is_ready = ready.next().copied().unwrap_or(false);
            !is_ready || self.serve_one(client) == Fate::Stays
        });
        self.clients = clients;
    }

    fn serve_one(&mut self, client: &mut Client) -> Fate {
        if !client.is_being_answered() && client.read() == Fate::Leaves {
            return Fate::Leaves;
        }
        loop {
            if client.write() == Fate::Leaves {
                return Fate::Leaves;
            }
            if client.is_being_answered() {
                return Fate::Stays;
            }
            let Some(request) = client.next_request() else { return Fate::Stays };
            client.answer = self.answer(&request, &client.stream);
        }
    }

    /// The whole answer to a whole request.
    fn answer(&mut self, request: &[u8], client: &UnixStream) -> Zeroizing<Vec<u8>> {
        let (mut text, result) = match self.perform(request, client) {
            Ok(text) => (text, Ok(())),
            Err(refusal) => (Zeroizing::new(String::new()), Err(refusal)),
        };
        let errno = result.as_ref().err().map_or(0, Refusal::errno);
        if let Err(refusal) = result {
            let source = std::error::Error::source(&refusal).map(tracing::field::display);
            tracing::warn!(interface = self.shared.name, %refusal, source, "refused a setting");
        }
        text.push_str(&format!("errno={errno}\n\n"));
        Zeroizing::new(std::mem::take(&mut *text).into_bytes())
    }

    fn perform(&mut self, request: &[u8], client: &UnixStream) -> Result<Zeroizing<String>, Refusal> {
        let request = str::from_utf8(request).map_err(|_| Refusal::Protocol)?;
        let mut lines = request.lines();
        match lines.next().unwrap_or_default().parse()? {
            Operation::Get if lines.next().is_some() => Err(Refusal::Protocol),
            Operation::Get => Ok(describe(&self.shared.core(), self.gate.port(), self.gate.fwmark())),
            Operation::Set => {
                let set = self.set(lines);
                self.note(client);
                set.map(|()| Zeroizing::default())
            }
        }
    }

    fn set<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
        let (mut reader, mut selected) = (Reader::default(), Selected::default());
        for line in lines {
            match reader.line(line)? {
                None => {}
                Some(Change::ListenPort(port)) => self.gate.listen(port).map_err(Refusal::Socket)?,
                Some(Change::Fwmark(mark)) => self.gate.mark(mark).map_err(Refusal::Socket)?,
                Some(Change::Setting(setting)) => {
                    self.shared.settings().apply(setting, &mut selected, Instant::now());
                }
            }
        }
        Ok(())
    }

    fn note(&self, client: &UnixStream) {
        let Some(changes) = &self.changes else { return };
        // Who cannot be seen is not the keeper.
        changes.note(getsockopt(client, PeerCredentials).map_or(0, |client| client.pid()));
    }

    /// Looks at what has changed, or tells when to.
    fn follow_routes(&mut self) -> Option<Instant> {
        let routes = self.routes.as_mut()?;
        routes.note();
        if routes.take_due() {
            self.shared.follow(routes);
        }
        routes.due()
    }

    fn follow(&mut self) {
        if let Err(error) = self.try_follow() {
            tracing::error!(interface = self.shared.name, %error, "cannot follow the interface");
        }
    }

    /// An interface that is not here any more was moved to another namespace, or deleted; the packet thread sees to
    /// the latter. Where it cannot be followed to, it is taken to be up.
    fn try_follow(&mut self) -> io::Result<()> {
        let mut state = self.link.read()?;
        if !state.here {
            state.up = true;
            if let Ok(link) = LinkEvents::find(&self.tun) {
                self.watch.add(&link)?;
                state = link.state();
                self.link = link;
            }
        }
        self.gate.follow(state)
    }
}

impl Drop for Control {
    /// The owner of a device that ended by itself may keep it for long.
    fn drop(&mut self) {
        self.shared.stop();
        self.shared.close_sockets();
    }
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            request: Zeroizing::default(),
            searched: 0,
            answer: Zeroizing::default(),
            answered: 0,
            deadline: Instant::now() + IDLE_TIMEOUT,
        }
    }

    fn interest(&self) -> PollFlags {
        if self.is_being_answered() { PollFlags::POLLOUT } else { PollFlags::POLLIN }
    }

    fn is_being_answered(&self) -> bool {
        self.answered < self.answer.len()
    }

    /// Reads what there is, up to a bound that leaves the others their turn.
    fn read(&mut self) -> Fate {
        let mut piece = Zeroizing::new([0; 1 << 16]);
        match self.stream.read(&mut *piece) {
            Ok(0) => Fate::Leaves,
            Ok(length) => {
                if self.request.is_empty() {
                    self.deadline = Instant::now() + REQUEST_TIMEOUT;
                }
                append(&mut self.request, &piece[..length]);
                if self.request.len() > REQUEST_MAX_BYTES { Fate::Leaves } else { Fate::Stays }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Fate::Stays,
            Err(_) => Fate::Leaves,
        }
    }

    /// Takes a request that is complete, without the empty line at its end.
    fn next_request(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let unsearched = &self.request[self.searched..];
        let Some(end) = unsearched.windows(2).position(|pair| pair == b"\n\n") else {
            self.searched = self.request.len().saturating_sub(1);
            return None;
        };
        let end = self.searched + end;
        self.searched = 0;
        let request = Zeroizing::new(self.request[..end].to_vec());
        self.request.copy_within(end + 2.., 0);
        let left = self.request.len() - end - 2;
        self.request[left..].zeroize();
        self.request.truncate(left);
        Some(request)
    }

    fn write(&mut self) -> Fate {
        while self.is_being_answered() {
            match self.stream.write(&self.answer[self.answered..]) {
                Ok(0) => return Fate::Leaves,
                Ok(length) => self.answered += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Stays,
                Err(_) => return Fate::Leaves,
            }
        }
        if self.answered > 0 {
            self.answer = Zeroizing::default();
            self.answered = 0;
            self.deadline = Instant::now() + IDLE_TIMEOUT;
        }
        Fate::Stays
    }
}

/// Appends without leaving a copy behind where the bytes had to move.
fn append(bytes: &mut Zeroizing<Vec<u8>>, more: &[u8]) {
    let needed = bytes.len() + more.len();
    if needed > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(more);
}
