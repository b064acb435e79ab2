//! Makes, changes, reads and removes tunnels with either engine.
//!
//! A kernel tunnel is a link of kind `wireguard`. A userspace one is a TUN with our mark, which stays when its engine
//! ends, and a socket at which the engine answers. One whose engine is silent has neither key, port nor peers; giving
//! it any starts an engine for it, so that its addresses and routes outlive engines.
//! A change is first made by the engine, then noted in the ledger: after a crash in between it is made again.

mod peers;

pub(super) use peers::Wanted;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use nix::errno::Errno;

use super::domains::Domains;
use super::explain::{Doing, unknown_kind};
use super::link::{self, Driver, Link, new};
use super::namespace::Namespace;
use super::netlink::{Netlink, NetlinkError, Protocol};
use super::sockets::{NameIs, TunnelSockets};
use super::tunnel::{self, Change, Current};
use super::view::{self, UapiError};
use super::{links, port, tun, uapi, wireguard};
use crate::backend::BackendError;
use crate::model::{DomainId, DomainName, End, Engine, InterfaceName, Key, PublicKey, WireGuard};
use crate::state::{KeyRing, Secret, TunnelRecord};
use crate::status::TunnelView;

/// What fits into an Ethernet frame besides WireGuard's headers over IPv6, as the kernel's driver has it.
const MTU: u32 = 1420;

/// Runs userspace engines. Implemented above this module.
pub trait Engines: Send {
    /// Starts the engine of this tunnel; it listens at once, and has no key, port or peers yet.
    fn start(&mut self, at: &End, parts: EngineParts) -> io::Result<()>;

    /// How many queues of its TUN device an engine can use, and sockets of its port.
    fn queues(&self) -> usize {
        1
    }

    /// Tells that the engine of this tunnel will be given this port, for engines that cannot open every socket, and how
    /// many queues it has.
    fn prepare(&mut self, _at: &End, _port: u16, _queues: usize, _place: SocketPlace) -> io::Result<()> {
        Ok(())
    }

    /// What the engine of this tunnel does without although it would use it, a word each.
    fn offloads_off(&mut self, _at: &End) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Ends the engine of this tunnel and waits until its sockets are closed. `NotFound` if it never ran here.
    fn stop(&mut self, at: &End) -> io::Result<()>;
}

/// What an engine works with; all of it was opened where it belongs.
#[derive(Debug)]
pub struct EngineParts {
    /// Plain IP packets of the domain: the queues of the device, one at least.
    pub tun: Vec<OwnedFd>,
    /// The network namespace of the domain, where notices about the device are heard.
    pub domain: OwnedFd,
    /// Where wg(8) configures it.
    pub uapi: UnixListener,
    /// The domain that carries its encrypted packets.
    pub underlay: DomainId,
    /// Where its UDP sockets are to be opened.
    pub sockets: SocketPlace,
}

/// Where the UDP sockets of a tunnel belong.
#[derive(Debug)]
pub struct SocketPlace {
    /// The network namespace of the underlay.
    pub namespace: OwnedFd,
    /// The device that they are to be bound to (socket(7), SO_BINDTODEVICE): the VRF device of an underlay that has no
    /// namespace of its own.
    pub device: Option<InterfaceName>,
}

/// The tunnels of one network.
pub(super) struct Tunnels {
    pub(super) keys: KeyRing,
    pub(super) engines: Box<dyn Engines>,
    pub(super) sockets: TunnelSockets,
    /// Peers with whom the engine before had a session, perhaps.
    pub(super) to_greet: Vec<(End, PublicKey)>,
}

impl Tunnels {
    /// Makes a tunnel with its engine, underlay, port and key. What was made is unmade if the rest fails.
    pub(super) fn create(
        &mut self,
        domains: &mut Domains,
        at: &End,
        tunnel: &WireGuard,
    ) -> Result<(), BackendError> {
        let underlay = tunnel.underlay.number();
        domains.change_tunnel(at, |record| *record = TunnelRecord { underlay, ..Default::default() })?;
        let made = match tunnel.engine {
            Engine::Kernel => self.create_kernel(domains, at, tunnel),
            Engine::Userspace => self.create_userspace(domains, at, tunnel),
            Engine::Auto => Err(BackendError::new(format!("the engine of {at} has not been chosen"))),
        };
        if made.is_err() {
            self.unmake(domains, at);
        }
        made
    }

    fn create_kernel(
        &mut self,
        domains: &mut Domains,
        at: &End,
        tunnel: &WireGuard,
    ) -> Result<(), BackendError> {
        let what = || format!("create wireguard {at}, sockets in domain {}", tunnel.underlay);
        if domains.device(tunnel.underlay)?.is_some() {
            return Err(BackendError::new(format!(
                "cannot {}: the kernel's engine cannot bind its sockets to a VRF device",
                what()
            ))
            .help("choose `engine: userspace` for the tunnel, or `isolation: netns+vrf` for its underlay"));
        }
        let advice =
            |errno| unknown_kind(errno, "wireguard", "CONFIG_WIREGUARD, or choose `engine: userspace`");
        links::create_from(domains, tunnel.underlay, at, what, advice, new::wireguard)?;
        let mark = domains.mark(at.domain);
        let inside = domains.enter(at.domain)?;
        let index = inside.index(&at.interface)?;
        link::change(&mut inside.route, index, &[link::Change::Finished(&mark)]).doing(what)?;
        self.set(domains, at, tunnel)
    }

    fn create_userspace(
        &mut self,
        domains: &mut Domains,
        at: &End,
        tunnel: &WireGuard,
    ) -> Result<(), BackendError> {
        let what = || format!("create wireguard {at}, userspace engine");
        let queues = self.queues(tunnel);
        let namespace = domains.namespace(at.domain)?;
        let opened = namespace.run(|| tun::create(&at.interface, queues)).doing(what)?;
        let tun = opened.map_err(|error| tun::explain(&what(), error))?;
        let mark = domains.mark(at.domain);
        let inside = domains.enter(at.domain)?;
        let index = inside.index(&at.interface)?;
        let finished = [link::Change::Finished(&mark), link::Change::Mtu(MTU)];
        link::change(&mut inside.route, index, &finished).doing(what)?;
        no_link_local(&mut inside.route, index).doing(what)?;
        // Not before it is marked: what a crash leaves of it until then goes with its descriptor.
        tun::outlive_engine(&tun[0]).doing(what)?;
        self.start_engine(domains, at, tun, tunnel.underlay)?;
        self.set(domains, at, tunnel)?;
        self.publish(domains, at)
    }

    /// One peer is one processor's work at a time, so there are no more queues than peers: the many tunnels that have
    /// one peer, and may be idle, cost no more than before.
    fn queues(&self, tunnel: &WireGuard) -> usize {
        self.engines.queues().min(tunnel.peers.len()).max(1)
    }

    fn start_engine(
        &mut self,
        domains: &Domains,
        at: &End,
        tun: Vec<OwnedFd>,
        underlay: DomainId,
    ) -> Result<(), BackendError> {
        let what = || format!("start the userspace engine of {at}");
        let domain = clone_fd(domains.namespace(at.domain)?, what)?;
        let sockets = socket_place(domains, underlay, what)?;
        let uapi =
            self.sockets.listen(at).doing(|| format!("listen at {}", self.sockets.path(at).display()))?;
        let parts = EngineParts { tun, domain, uapi, underlay, sockets };
        self.engines.start(at, parts).doing(what)
    }

    /// Gives a tunnel of ours whose engine is gone another one; all that stands on its interface stays as it is.
    fn revive(&mut self, domains: &mut Domains, at: &End, queues: usize) -> Result<(), BackendError> {
        let what = || format!("start the userspace engine of {at} again");
        self.stop(domains, at)?;
        let opened = domains.namespace(at.domain)?.run(|| tun::attach(&at.interface, queues)).doing(what)?;
        let tun = opened.map_err(|error| tun::explain(&what(), error))?;
        let underlay = domains.record(at.domain)?.tunnels.remove(at.interface.as_str()).unwrap_or_default();
        let underlay = DomainId::new(underlay.underlay).unwrap_or(DomainId::DEFAULT);
        self.start_engine(domains, at, tun, underlay)?;
        tracing::info!(%at, "the userspace engine was gone and has been started again");
        self.publish(domains, at)
    }

    /// Failing to be found by wg(8) outside is no reason to have no tunnel.
    fn publish(&self, domains: &mut Domains, at: &End) -> Result<(), BackendError> {
        let elsewhere = !domains.share_a_namespace(at.domain, DomainId::DEFAULT);
        let hidden = elsewhere && domains.enter(DomainId::DEFAULT)?.find(&at.interface)?.is_some();
        let name = if hidden { NameIs::Taken } else { NameIs::Free };
        let domain = domains.enter(at.domain)?.name.clone();
        match self.sockets.publish(at, &domain, name) {
            Ok(path) => tracing::debug!(%at, path = %path.display(), "socket shown to wg(8)"),
            Err(error) => tracing::warn!(%at, %error, "socket not shown to wg(8)"),
        }
        Ok(())
    }

    /// Removes a tunnel, its engine and its sockets.
    pub(super) fn delete(
        &mut self,
        domains: &mut Domains,
        at: &End,
        link: &Link,
    ) -> Result<(), BackendError> {
        if link.driver == Driver::Tun {
            self.stop(domains, at)?;
        }
        let inside = domains.enter(at.domain)?;
        link::delete(&mut inside.route, link.index).doing(|| format!("delete interface {at}"))?;
        domains.forget_tunnel(at)
    }

    /// Ends the engine of a userspace tunnel.
    pub(super) fn stop(&mut self, domains: &mut Domains, at: &End) -> Result<(), BackendError> {
        let name = domains.enter(at.domain)?.name.clone();
        self.end(at, &name)
    }

    /// Ends the engine of a tunnel whose domain may be gone, and removes its socket and the links to it.
    pub(super) fn end(&mut self, at: &End, domain: &DomainName) -> Result<(), BackendError> {
        self.end_engine(at)?;
        self.withdraw(at, domain)
    }

    /// Ends what would go on after the domain of a tunnel, or keep its port for as long as the kernel takes to remove a
    /// namespace: an engine, or the sockets of the kernel's driver.
    pub(super) fn leave(&mut self, domains: &mut Domains, at: &End) -> Result<(), BackendError> {
        if let Engine::Kernel = self.end_engine(at)? {
            let mark = domains.mark(at.domain);
            let inside = domains.enter(at.domain)?;
            let drivers = |link: &Link| link.driver == Driver::WireGuard && link.is_ours(&mark);
            if let Some(link) = inside.find(&at.interface)?.filter(drivers) {
                link::delete(&mut inside.route, link.index).doing(|| format!("delete interface {at}"))?;
            }
        }
        let name = domains.enter(at.domain)?.name.clone();
        self.withdraw(at, &name)
    }

    /// Ends the engine of a tunnel in user space; what has none is the kernel's, or dead.
    fn end_engine(&mut self, at: &End) -> Result<Engine, BackendError> {
        match self.engines.stop(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Engine::Kernel),
            result => {
                result.map(|()| Engine::Userspace).doing(|| format!("stop the userspace engine of {at}"))
            }
        }
    }

    fn withdraw(&self, at: &End, domain: &DomainName) -> Result<(), BackendError> {
        self.sockets.withdraw(at, domain).doing(|| format!("remove the socket of {at}"))
    }

    fn unmake(&mut self, domains: &mut Domains, at: &End) {
        let unmade = self.stop(domains, at).and_then(|()| {
            let mark = domains.mark(at.domain);
            let inside = domains.enter(at.domain)?;
            if let Some(left) = inside.find(&at.interface)?.filter(|link| link.is_ours(&mark)) {
                link::delete(&mut inside.route, left.index).doing(|| format!("delete interface {at}"))?;
            }
            domains.forget_tunnel(at)
        });
        if let Err(error) = unmade {
            tracing::warn!(%at, %error, "something is left of a tunnel that could not be made");
        }
    }

    /// Gives a tunnel its key and port.
    pub(super) fn set(
        &mut self,
        domains: &mut Domains,
        at: &End,
        tunnel: &WireGuard,
    ) -> Result<(), BackendError> {
        let secret = &self.private(public(&tunnel.key)?)?;
        let before = match self.look(domains, at)? {
            Some(current) => current,
            None => {
                self.revive(domains, at, self.queues(tunnel))?;
                Current::default()
            }
        };
        self.prepare(domains, at, tunnel, &before)?;
        let set =
            self.change(domains, at, &[Change::Tunnel { key: secret, listen_port: tunnel.listen_port }]);
        if set.is_err() {
            self.restore(domains, at, &before);
        }
        set
    }

    /// The private half of a key; that of no key is none, for an engine that is to have none.
    fn private(&self, key: PublicKey) -> Result<Secret, BackendError> {
        if key == PublicKey([0; 32]) {
            return Ok(Secret::new([0; 32]));
        }
        let secret = self.keys.private(&key).cloned();
        secret.ok_or_else(|| BackendError::new(format!("no private key is known for {key}")))
    }

    fn prepare(
        &mut self,
        domains: &mut Domains,
        at: &End,
        tunnel: &WireGuard,
        before: &Current,
    ) -> Result<(), BackendError> {
        let what = || format!("open the udp sockets of {at}");
        match (tunnel.engine, tunnel.listen_port) {
            (Engine::Userspace, Some(port)) if port != before.listen_port => {
                let place = socket_place(domains, tunnel.underlay, what)?;
                self.engines.prepare(at, port, self.queues(tunnel), place).doing(what)
            }
            (Engine::Userspace | Engine::Kernel | Engine::Auto, _) => Ok(()),
        }
    }

    /// An engine whose new port is taken may have closed the old one, and taken the new key.
    fn restore(&self, domains: &mut Domains, at: &End, before: &Current) {
        let Some(key) = before.key.and_then(|key| self.keys.private(&key)) else { return };
        let change = Change::Tunnel { key, listen_port: Some(before.listen_port).filter(|&port| port != 0) };
        if let Err(error) = self.change(domains, at, &[change]) {
            tracing::warn!(%at, %error, "the tunnel has neither its old nor its new port and key");
        }
    }

    fn current_of(&self, domains: &mut Domains, at: &End) -> Result<Current, BackendError> {
        self.look(domains, at).map(Option::unwrap_or_default)
    }

    /// What the engine of this tunnel has, if it has an engine.
    fn look(&self, domains: &mut Domains, at: &End) -> Result<Option<Current>, BackendError> {
        let inside = domains.enter(at.domain)?;
        let driver = inside.link(&at.interface)?.driver;
        self.current(&inside.namespace, at, driver)
    }

    /// A tunnel as its engine has it.
    pub(super) fn view(&self, domains: &mut Domains, at: &End) -> Result<TunnelView, BackendError> {
        let what = || format!("read tunnel {at}");
        let inside = domains.enter(at.domain)?;
        match inside.link(&at.interface)?.driver.engine() {
            Some(Engine::Userspace) => self
                .sockets
                .connect(at)
                .map_err(UapiError::from)
                .and_then(view::tunnel_of_stream)
                .map_err(|error| BackendError::new(format!("cannot {}", what())).caused_by(error)),
            Some(Engine::Kernel) => Netlink::of(&inside.namespace, Protocol::Generic)
                .and_then(|mut socket| view::tunnel_of_driver(&mut socket, &at.interface))
                .doing(what),
            Some(Engine::Auto) | None => Err(BackendError::new(format!("cannot {}: it is none", what()))),
        }
    }

    /// Has the engine of a tunnel make these changes, of which there is at least one, in their order.
    fn change(&self, domains: &mut Domains, at: &End, changes: &[Change<'_>]) -> Result<(), BackendError> {
        let what = || match changes {
            [Change::Tunnel { listen_port: Some(port), .. }, ..] => {
                format!("set port {port} and key of tunnel {at}")
            }
            [Change::Tunnel { listen_port: None, .. }, ..] => format!("set the key of tunnel {at}"),
            [Change::Peer { key, .. }] => format!("set peer {key} of {at}"),
            [Change::NoPeer { key }] => format!("remove peer {key} of {at}"),
            _ => format!("set {} peers of {at}", changes.len()),
        };
        let inside = domains.enter(at.domain)?;
        let made = match inside.link(&at.interface)?.driver.engine() {
            Some(Engine::Userspace) => {
                self.sockets.connect(at).and_then(|stream| uapi::write(stream, changes)).doing(what)
            }
            Some(Engine::Kernel) => Netlink::of(&inside.namespace, Protocol::Generic)
                .and_then(|mut socket| wireguard::write(&mut socket, &at.interface, changes))
                .doing(what),
            Some(Engine::Auto) | None => {
                Err(BackendError::new(format!("cannot {}: it is no tunnel", what())))
            }
        };
        made.map_err(|error| match changes {
            [Change::Tunnel { listen_port: Some(port), .. }] => with_port_holder(error, domains, at, *port),
            _ => error,
        })
    }

    /// Adds who has this tunnel's port, if that is what an error in setting it up is about: the kernel's driver opens
    /// its sockets only then.
    pub(super) fn name_port_holder(
        &self,
        error: BackendError,
        domains: &mut Domains,
        at: &End,
    ) -> BackendError {
        if !is_taken(&error) {
            return error;
        }
        match self.current_of(domains, at) {
            Ok(current) => with_port_holder(error, domains, at, current.listen_port),
            Err(_) => error,
        }
    }

    /// Whether this link is a userspace tunnel without an engine.
    pub(super) fn is_dead(&self, namespace: &Namespace, at: &End, link: &Link) -> Result<bool, BackendError> {
        Ok(link.driver == Driver::Tun && self.current(namespace, at, link.driver)?.is_none())
    }

    /// What the model says of the tunnel that this link is; `None` if it is none.
    pub(super) fn read(
        &self,
        namespace: &Namespace,
        at: &End,
        link: &Link,
        record: &TunnelRecord,
    ) -> Result<Option<WireGuard>, BackendError> {
        let Some(engine) = link.driver.engine() else { return Ok(None) };
        let current = self.current(namespace, at, link.driver)?.unwrap_or_default();
        Ok(Some(tunnel::model(&current, engine, record)))
    }

    fn current(
        &self,
        namespace: &Namespace,
        at: &End,
        driver: Driver,
    ) -> Result<Option<Current>, BackendError> {
        let what = || format!("read tunnel {at}");
        match driver.engine() {
            Some(Engine::Userspace) => alive(at, self.sockets.connect(at).and_then(uapi::read)).doing(what),
            Some(Engine::Kernel) => read_kernel(namespace, at).map(Some).doing(what),
            Some(Engine::Auto) | None => Ok(None),
        }
    }
}

fn read_kernel(namespace: &Namespace, at: &End) -> Result<Current, NetlinkError> {
    wireguard::read(&mut Netlink::of(namespace, Protocol::Generic)?, &at.interface)
}

/// An engine that does not answer is gone; one that one may not ask is not.
fn alive(at: &End, answer: io::Result<Current>) -> io::Result<Option<Current>> {
    match answer {
        Ok(current) => Ok(Some(current)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Err(error) => {
            tracing::warn!(%at, %error, "the userspace engine does not answer");
            Ok(None)
        }
    }
}

fn socket_place(
    domains: &Domains,
    underlay: DomainId,
    what: impl FnOnce() -> String,
) -> Result<SocketPlace, BackendError> {
    let namespace = clone_fd(domains.namespace(underlay)?, what)?;
    Ok(SocketPlace { namespace, device: domains.device(underlay)? })
}

fn clone_fd(namespace: &Namespace, what: impl FnOnce() -> String) -> Result<OwnedFd, BackendError> {
    namespace.fd().try_clone().doing(what)
}

/// A kernel without IPv6 makes no link-local addresses in any case.
fn no_link_local(socket: &mut Netlink, index: u32) -> Result<(), NetlinkError> {
    match link::change(socket, index, &[link::Change::NoLinkLocal]) {
        Err(error) if error.errno() == Some(Errno::EAFNOSUPPORT) => Ok(()),
        result => result,
    }
}

fn public(key: &Key) -> Result<PublicKey, BackendError> {
    match key {
        Key::Public(key) => Ok(*key),
        open @ Key::Of(_) => Err(unbound(open)),
    }
}

fn unbound(open: &impl std::fmt::Display) -> BackendError {
    BackendError::new(format!("{open} has not been looked up"))
}

/// Adds who has this port, if that is what the error is about.
fn with_port_holder(error: BackendError, domains: &Domains, at: &End, port: u16) -> BackendError {
    if !is_taken(&error) {
        return error;
    }
    let holder = || {
        let record = domains.record(at.domain).ok()?.tunnels.remove(at.interface.as_str())?;
        port::holder(domains.namespace(DomainId::new(record.underlay).ok()?).ok()?, port)
    };
    match holder() {
        Some(holder) => error.help(holder),
        None => error,
    }
}

fn is_taken(error: &BackendError) -> bool {
    let source = error.source.as_deref();
    let by_socket = source.and_then(|source| source.downcast_ref::<io::Error>()?.raw_os_error());
    let by_kernel = source.and_then(|source| source.downcast_ref::<NetlinkError>()?.errno());
    by_socket.map(Errno::from_raw).or(by_kernel) == Some(Errno::EADDRINUSE)
}
