//! The engine's side: one thread that listens; those of the devices are theirs together.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{Backlog, SockFlag, accept4, getsockopt, listen};
use nix::unistd::{geteuid, setsid};

use super::confine;
use super::message::{Answer, PROTOCOL, Request, receive, send};
use crate::memory;
use crate::wireguard::{Changes, Device, LinkEvents, OpenSockets, Parts, Routes, UdpPair, UnderlaySockets};

/// Where privileged ports end (ip(7), net.ipv4.ip_unprivileged_port_start).
const PRIVILEGED_BELOW: u16 = 1024;
/// How long whoever started it may take to connect: it may have been killed meanwhile.
const FIRST_CALL_MS: u16 = 5_000;
/// How many devices are named in one answer: their names fit into a packet.
const NAMED_AT_ONCE: usize = 500;

/// What runs here.
struct Running {
    device: Device,
    sockets: NextSockets,
}

impl Running {
    /// Ends the device, of which nobody needs to be told any more: threads may hold its descriptor a moment longer.
    fn stop(self, ends: &Epoll) {
        let _gone = ends.delete(self.device.ended());
        self.device.stop();
    }
}

/// Runs devices for whoever connects to this listener, until there is neither a device nor a connection.
///
/// To be called in the underlay's network namespace by the only thread of a process, which keeps no privilege.
pub fn run(listener: OwnedFd) -> io::Result<()> {
    prctl::set_name(c"rdom-engine")?;
    let _leads_already = setsid();
    // The supervisor holds signals back, and its children begin so.
    SigSet::empty().thread_set_mask()?;
    raise_descriptor_limit()?;
    // Listening again makes the credentials that callers see this process's (unix(7), SO_PEERCRED).
    listen(&listener, Backlog::new(16)?)?;
    let routes = Routes::open()?;
    confine::give_everything_up()?;
    let changes = Changes::new()?;
    let ends = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let (callers, running) = (Vec::new(), BTreeMap::new());
    let mut engine = Engine { listener, callers, awaiting: None, running, ends, routes, changes };
    engine.await_first_call()?;
    while !engine.is_idle() {
        engine.turn()?;
    }
    Ok(())
}

/// A device has eight descriptors, and three more for each further queue.
fn raise_descriptor_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

struct Engine {
    listener: OwnedFd,
    callers: Vec<OwnedFd>,
    /// Who is to be told of changes; nobody that the engine stays for.
    awaiting: Option<OwnedFd>,
    running: BTreeMap<String, Running>,
    /// Ready when a device has ended: there may be a thousand, and one request for each.
    ends: Epoll,
    /// Those of the underlay.
    routes: Routes,
    changes: Arc<Changes>,
}

impl Engine {
    fn is_idle(&self) -> bool {
        self.callers.is_empty() && self.running.is_empty()
    }

    fn await_first_call(&mut self) -> io::Result<()> {
        let mut fds = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, FIRST_CALL_MS)? > 0 {
            self.accept();
        }
        Ok(())
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> io::Result<()> {
        let ready = self.wait()?;
        let [new_caller, moved, changed, ended, called @ ..] = ready.as_slice() else { return Ok(()) };
        if *ended {
            let over = self.running.extract_if(.., |_, running| !running.device.is_running());
            over.for_each(|(_, running)| running.stop(&self.ends));
        }
        if *moved {
            self.routes.note();
        }
        if self.routes.take_due() {
            self.running.values().for_each(|running| running.device.follow(&self.routes));
        }
        for (caller, called) in std::mem::take(&mut self.callers).into_iter().zip(called) {
            match called {
                true => drop(self.serve(caller)),
                false => self.callers.push(caller),
            }
        }
        if *changed {
            self.tell();
        }
        if *new_caller {
            self.accept();
        }
        Ok(())
    }

    /// Which of the listener, the routes, settings by others, ends of devices and callers are ready; none after an
    /// interruption.
    fn wait(&self) -> io::Result<Vec<bool>> {
        let if_asked = if self.awaiting.is_some() { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = vec![
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.routes.changes(), PollFlags::POLLIN),
            PollFd::new(self.changes.ready(), if_asked),
            PollFd::new(self.ends.0.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.callers.iter().map(|caller| PollFd::new(caller.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, self.routes.timeout()) {
            Ok(_) => Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
            Err(Errno::EINTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Root and the user that this process is of may speak to it.
    fn accept(&mut self) {
        let Ok(raw) = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) else { return };
        // SAFETY: the kernel has just opened this descriptor for us alone.
        let caller = unsafe { OwnedFd::from_raw_fd(raw) };
        match getsockopt(&caller, PeerCredentials) {
            Ok(peer) if peer.uid() == 0 || peer.uid() == geteuid().as_raw() => self.callers.push(caller),
            Ok(peer) => tracing::warn!(uid = peer.uid(), "refused at the engine's socket"),
            Err(error) => tracing::debug!(%error, "no credentials at the engine's socket"),
        }
    }

    /// Takes one request; an error says that the caller has left.
    fn serve(&mut self, caller: OwnedFd) -> io::Result<()> {
        let (request, handed) = receive::<Request>(caller.as_fd())?;
        if let Request::Changes = request {
            // Whoever waits for what others set has set its own.
            memory::forget_start();
            self.awaiting = Some(caller);
            return Ok(());
        }
        let answer = self.perform(request, &caller, handed).unwrap_or_else(|error| Answer::Failed {
            errno: error.raw_os_error(),
            reason: error.to_string(),
        });
        send(caller.as_fd(), &answer, &[])?;
        self.callers.push(caller);
        Ok(())
    }

    /// Whoever asked is told what others have set, and may ask again.
    fn tell(&mut self) {
        let Some(awaiting) = self.awaiting.take() else { return };
        let devices = self.changes.take(NAMED_AT_ONCE);
        if send(awaiting.as_fd(), &Answer::Changed { devices }, &[]).is_ok() {
            self.callers.push(awaiting);
        }
    }

    fn perform(&mut self, request: Request, caller: &OwnedFd, handed: Vec<OwnedFd>) -> io::Result<Answer> {
        match request {
            Request::Hello => {
                self.changes.keep_by(getsockopt(caller, PeerCredentials)?.pid());
                let devices = self.running.keys().cloned().collect();
                Ok(Answer::Hello { protocol: PROTOCOL, devices })
            }
            Request::Start { device, name, index, bound_to } => {
                self.start(device, name, index, bound_to, handed).map(|()| Answer::Done)
            }
            Request::Sockets { device, port } => match self.running.get(&device) {
                Some(running) => running.sockets.take(port, handed).map(|()| Answer::Done),
                None => Ok(Answer::NoDevice),
            },
            Request::OffloadsOff { device } => {
                let running = self.running.get(&device);
                let offloads = running.map(|running| running.device.offloads_off());
                Ok(offloads.map_or(Answer::NoDevice, |offloads| Answer::OffloadsOff { offloads }))
            }
            Request::Stop { device } => match self.running.remove(&device) {
                Some(running) => {
                    running.stop(&self.ends);
                    Ok(Answer::Done)
                }
                None => Ok(Answer::NoDevice),
            },
            Request::Changes => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn start(
        &mut self,
        device: String,
        name: String,
        index: u32,
        bound_to: Option<String>,
        handed: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let mut handed = handed.into_iter();
        let (Some(link), Some(uapi), tun) = (handed.next(), handed.next(), handed.collect()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let own = UnderlaySockets::new(None).bound_to(bound_to.map(Into::into));
        let sockets = NextSockets::default();
        let opener = Box::new(HandedFirst { handed: sockets.clone(), kept: Vec::new(), own });
        let link = LinkEvents::of_subscription(link, index)?;
        let changes = Some(self.changes.of(device.clone()));
        let parts = Parts { name, tun, link, uapi: uapi.into(), sockets: opener, routes: None, changes };
        let started = Device::spawn(parts)?;
        self.ends.add(started.ended(), EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        if let Some(before) = self.running.insert(device, Running { device: started, sockets }) {
            before.stop(&self.ends);
        }
        Ok(())
    }
}

/// The UDP sockets that a device is to take next.
#[derive(Clone, Default)]
struct NextSockets(Arc<Mutex<Vec<UdpPair>>>);

impl NextSockets {
    fn take(&self, port: u16, handed: Vec<OwnedFd>) -> io::Result<()> {
        let sockets = handed.into_iter().map(UdpSocket::from);
        let is_v4 = |socket: &UdpSocket| socket.local_addr().is_ok_and(|address| address.is_ipv4());
        let (v4, v6): (Vec<_>, Vec<_>) = sockets.partition(is_v4);
        let mut v6 = v6.into_iter();
        *self.lock() = v4.into_iter().map(|v4| UdpPair { v4, v6: v6.next(), port }).collect();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<UdpPair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what was handed over for a port, else opens sockets itself. Those of a privileged port are kept: this process
/// cannot open such again when the interface was down.
struct HandedFirst {
    handed: NextSockets,
    kept: Vec<UdpPair>,
    own: UnderlaySockets,
}

impl OpenSockets for HandedFirst {
    fn open(&mut self, port: u16, count: usize) -> io::Result<Vec<UdpPair>> {
        let at_hand = [std::mem::take(&mut *self.handed.lock()), std::mem::take(&mut self.kept)];
        let of_port = |pairs: &Vec<UdpPair>| pairs.first().is_some_and(|pair| pair.port == port);
        let pairs = match at_hand.into_iter().find(of_port) {
            Some(pairs) => pairs,
            None => self.own.open(port, count)?,
        };
        let is_privileged = |pair: &&UdpPair| pair.port < PRIVILEGED_BELOW;
        self.kept = pairs.iter().filter(is_privileged).map(copy_of).collect::<io::Result<_>>()?;
        Ok(pairs)
    }
}

fn copy_of(pair: &UdpPair) -> io::Result<UdpPair> {
    let v6 = pair.v6.as_ref().map(UdpSocket::try_clone).transpose()?;
    Ok(UdpPair { v4: pair.v4.try_clone()?, v6, port: pair.port })
}
