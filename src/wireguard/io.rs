//! The engine's IO, over descriptors that are given to it.
//!
//! All interfaces of the process share their threads: workers, which carry packets, and one thread for everything that
//! can take time: UAPI clients, opening sockets, link events. What these share of an interface is its core, which packets
//! have together and a setting has alone, and the current pair of sockets.
//!
//! Sockets are opened when a port is set, so that a clash is an error of the one who sets it, and when the interface
//! comes up; they are closed when it goes down. While it is down there are no handshakes, as in the kernel's engine.

mod address;
mod alarm;
mod changes;
mod control;
mod controls;
mod events;
mod gate;
mod inbox;
mod link;
mod namespace;
mod offloads;
mod queues;
mod routes;
mod scratch;
mod send;
mod standalone;
mod traffic;
mod tun;
mod udp;
mod workers;

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use self::alarm::Alarm;
pub use self::changes::{Changes, ChangesOf};
use self::control::{Control, ControlParts};
use self::controls::{ControlId, Controls};
use self::gate::Gate;
pub use self::link::LinkEvents;
pub use self::offloads::Offload;
use self::offloads::Wanted;
pub use self::queues::queues;
pub use self::routes::Routes;
pub use self::standalone::{Given, run_standalone};
use self::traffic::{Clock, Family, Inward, Outward};
use self::tun::Tun;
pub use self::tun::open_tun;
pub use self::udp::{OpenSockets, UdpPair, UnderlaySockets};
use self::workers::{Job, JobId, Workers};
use super::batch::Batch;
use super::core::{Core, whole};
use super::offload::Coalescing;

/// What a device runs on.
pub struct Parts {
    /// The interface's name, for threads and logs.
    pub name: String,
    /// The queues of the TUN device, one at least, non-blocking, without packet information ([`open_tun`]). All that the
    /// device has, for the kernel gives packets to each.
    pub tun: Vec<OwnedFd>,
    /// Tells when the interface goes up or down and what its MTU is.
    pub link: LinkEvents,
    /// Where `wg` connects to. Whoever made its path removes it.
    pub uapi: UnixListener,
    /// Opens UDP sockets in the underlay.
    pub sockets: Box<dyn OpenSockets>,
    /// The underlay's, unless the device is told of them by [`Device::follow`].
    pub routes: Option<Routes>,
    /// Where it is noted who sets it, if anybody cares.
    pub changes: Option<ChangesOf>,
}

/// A running WireGuard interface. It ends by itself when the TUN device is deleted.
pub struct Device {
    shared: Arc<Shared>,
    jobs: Vec<JobId>,
    controls: Arc<Controls>,
    control: Option<ControlId>,
}

impl Device {
    /// Starts it. The first one of a process starts the threads, which live in the namespaces of the calling thread.
    pub fn spawn(parts: Parts) -> io::Result<Self> {
        let (mtu, is_up) = (parts.link.mtu(), parts.link.is_up());
        let tun = parts.tun.first().ok_or(io::ErrorKind::InvalidInput)?.try_clone()?;
        let shared = Arc::new(Shared::new(parts.name, parts.tun, mtu)?);
        let gate = Gate::new(Arc::clone(&shared), parts.sockets, is_up);
        // From here on a failure must end what already runs.
        let mut device = Self { shared, jobs: Vec::new(), controls: Controls::of_process()?, control: None };
        let of_control = Arc::clone(&device.shared);
        let Parts { uapi, link, routes, changes, .. } = parts;
        let parts = ControlParts { uapi, link, routes, tun, gate, changes };
        let control = |watch| Control::new(of_control, watch, parts);
        device.control = Some(device.controls.add(control)?);
        for number in 0..device.shared.tun.queues() {
            device.add(Arc::new(Outward { shared: Arc::clone(&device.shared), number }))?;
        }
        device.add(Arc::new(Clock(Arc::clone(&device.shared))))?;
        Ok(device)
    }

    /// Ends it and waits for that; sockets and the TUN device are closed then.
    pub fn stop(mut self) {
        self.end();
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.control.is_some_and(|control| self.controls.is_running(control))
    }

    /// Routes of the underlay have changed: peers whose datagrams would leave by another interface than theirs come in
    /// by are not answered from the address that they spoke to any more.
    pub fn follow(&self, routes: &Routes) {
        self.shared.follow(routes);
    }

    /// The offloads that it does without, as the kernel has refused them or nobody wants them.
    pub fn offloads_off(&self) -> Vec<Offload> {
        self.shared.offloads_off()
    }

    /// Becomes readable when the device ends by itself, and stays so.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.shared.stop.as_fd()
    }

    fn add(&mut self, job: Arc<dyn Job>) -> io::Result<()> {
        self.jobs.push(self.shared.workers.add(job)?);
        Ok(())
    }

    fn end(&mut self) {
        self.shared.stop();
        if let Some(control) = self.control.take() {
            self.controls.remove(control);
        }
        for job in self.jobs.drain(..) {
            self.shared.workers.remove(job);
        }
        self.shared.close_sockets();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}

/// What jobs and the settings thread know.
struct Shared {
    name: String,
    tun: Tun,
    workers: Arc<Workers>,
    core: RwLock<Core>,
    /// Goes off at the core's deadline.
    alarm: Alarm,
    sockets: RwLock<Option<Open>>,
    /// Whether sockets cut runs of datagrams themselves.
    segments: AtomicBool,
    /// Whether sockets give trains of datagrams.
    trains: AtomicBool,
    /// Done once the interface was deleted, which each of its queues sees.
    deleted: Once,
    /// Readable for ever once the device must end.
    stop: EventFd,
}

/// Open sockets and the jobs that read them.
struct Open {
    sockets: Arc<[UdpPair]>,
    jobs: Vec<JobId>,
}

impl Open {
    /// The pair of this number, where there are fewer one of them.
    fn pair(&self, number: usize) -> &UdpPair {
        &self.sockets[number % self.sockets.len()]
    }
}

impl Shared {
    fn new(name: String, tun: Vec<OwnedFd>, mtu: usize) -> io::Result<Self> {
        let wanted = Wanted::by_environment();
        Ok(Self {
            name,
            tun: Tun::new(tun, wanted)?,
            workers: Workers::of_process()?,
            core: RwLock::new(Core::new(mtu)),
            alarm: Alarm::new()?,
            sockets: RwLock::new(None),
            segments: AtomicBool::new(wanted == Wanted::All),
            trains: AtomicBool::new(wanted == Wanted::All),
            deleted: Once::new(),
            stop: EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
        })
    }

    /// The core for packets, together with others.
    fn core(&self) -> Locked<'_, RwLockReadGuard<'_, Core>> {
        Locked { core: whole(self.core.read()), alarm: &self.alarm }
    }

    /// The core for a setting, alone.
    fn settings(&self) -> Locked<'_, RwLockWriteGuard<'_, Core>> {
        Locked { core: whole(self.core.write()), alarm: &self.alarm }
    }

    /// Does what is due.
    fn tick(&self, batch: &mut Batch) {
        self.alarm.went_off();
        self.core().tick(Instant::now(), batch);
    }

    fn offloads_off(&self) -> Vec<Offload> {
        let joins = self.tun.coalescing();
        let all = [
            (Offload::TunTcp, joins != Coalescing::Nothing),
            (Offload::TunUdp, joins == Coalescing::TcpAndUdp),
            (Offload::UdpSend, self.segments.load(Ordering::Relaxed)),
            (Offload::UdpReceive, self.trains.load(Ordering::Relaxed)),
        ];
        all.into_iter().filter(|(_, is_on)| !is_on).map(|(offload, _)| offload).collect()
    }

    fn follow(&self, routes: &Routes) {
        let mut moved = self.core().routes_with_source();
        let open = self.open_sockets();
        let Some(open) = open.as_ref() else { return };
        moved.retain(|route| {
            let entry = route.source.map(|source| source.interface);
            // Without a way there is none to take yet; without the address the next datagram tells.
            open.pair(0).exit_of(*route, routes).is_ok_and(|exit| entry != Some(exit))
        });
        self.core().forget_sources_of(&moved);
    }

    /// Uses these sockets, one pair at least, instead of those before, which are closed first.
    fn use_sockets(self: &Arc<Self>, sockets: Vec<UdpPair>) -> io::Result<()> {
        self.close_sockets();
        let wanted = Wanted::by_environment();
        if !sockets.iter().all(UdpPair::can_segment) {
            self.segments.store(false, Ordering::Relaxed);
        }
        self.trains.store(sockets.iter().all(|pair| pair.receive_trains(wanted)), Ordering::Relaxed);
        let mut open = Open { sockets: sockets.into(), jobs: Vec::new() };
        tracing::info!(
            interface = self.name,
            port = open.pair(0).port,
            pairs = open.sockets.len(),
            offloads_off = ?self.offloads_off(),
            "sockets are open"
        );
        for (number, pair) in open.sockets.iter().enumerate() {
            let v6 = pair.v6.as_ref().map(|_| Family::V6);
            for family in [Some(Family::V4), v6].into_iter().flatten() {
                let (shared, sockets) = (Arc::clone(self), Arc::clone(&open.sockets));
                open.jobs.push(self.workers.add(Arc::new(Inward { shared, sockets, number, family }))?);
            }
        }
        *whole(self.sockets.write()) = Some(open);
        Ok(())
    }

    /// Closes the sockets, once nobody sends by them: their port is free then. No job reads them afterwards.
    fn close_sockets(&self) {
        let open = whole(self.sockets.write()).take();
        let Some(open) = open else { return };
        for job in open.jobs {
            self.workers.remove(job);
        }
    }

    /// They stay open as long as this is held.
    fn open_sockets(&self) -> RwLockReadGuard<'_, Option<Open>> {
        whole(self.sockets.read())
    }

    /// The interface was deleted.
    fn gone(&self) {
        self.deleted.call_once(|| tracing::info!(interface = self.name, "interface was deleted"));
        self.stop();
    }

    fn stop(&self) {
        let _full = self.stop.write(1);
    }
}

/// The core while it is locked; the alarm is set to its deadline in the end.
struct Locked<'a, G: Deref<Target = Core>> {
    core: G,
    alarm: &'a Alarm,
}

impl<G: Deref<Target = Core>> Deref for Locked<'_, G> {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl<G: DerefMut<Target = Core>> DerefMut for Locked<'_, G> {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl<G: Deref<Target = Core>> Drop for Locked<'_, G> {
    fn drop(&mut self) {
        if let Some(deadline) = self.core.deadline() {
            self.alarm.set(deadline);
        }
    }
}
