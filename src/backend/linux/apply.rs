//! Takes one step: each function here is one, whole or not at all.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::domains::{Domains, Inside};
use super::explain::{Doing, no_ipv6, unknown_kind};
use super::link::{self, Change, Driver, Link};
use super::mark::Mark;
use super::netlink::NetlinkError;
use super::tunnel::Session;
use super::tunnels::Tunnels;
use super::{addresses, namespace_id, observe, route, sysctl};
use crate::backend::BackendError;
use crate::model::{DomainId, DomainName, End, InterfaceName, Kind, Object, Route, SysctlName, Target};
use crate::plan::Step;

/// How long a link may take to show that it has a carrier.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_micros(500);

/// Takes this step.
pub(super) fn step(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    mark: &Mark,
    step: &Step,
) -> Result<(), BackendError> {
    domains.complete(DomainId::DEFAULT)?;
    domains.complete(domain_of(step.object()))?;
    match step {
        Step::CreateDomain { domain, name, .. } => domains.create(*domain, name),
        Step::DeleteDomain { domain, name } => delete_domain(domains, tunnels, mark, *domain, name),
        Step::RequireInterface { at } => require(domains, at),
        Step::CreateInterface { at, kind } => create_interface(domains, tunnels, mark, at, kind),
        Step::DeleteInterface { at } => delete_interface(domains, tunnels, mark, at),
        Step::SetMtu { at, mtu } => set_mtu(domains, at, *mtu),
        Step::SetController { at, controller } => set_controller(domains, mark, at, controller.as_ref()),
        Step::SetUp { at, up } => {
            set_up(domains, mark, at, if *up { Change::Up(true) } else { Change::Up(false) })
        }
        Step::AddAddress { at, address } => addresses::add(domains, at, *address),
        Step::RemoveAddress { at, address } => addresses::remove(domains, at, *address),
        Step::SetTunnel { at, tunnel } => tunnels.set(domains, at, tunnel),
        Step::SetPeer { at, key, peer, new_session } => {
            let session = if *new_session { Session::Ended } else { Session::Kept };
            tunnels.set_peer(domains, at, key, peer, session)
        }
        Step::RemovePeer { at, key } => tunnels.remove_peer(domains, at, key),
        Step::AddRoute { domain, route, .. } => add_route(domains, *domain, route),
        Step::RemoveRoute { domain, route, .. } => remove_route(domains, *domain, route),
        Step::AddRule { .. } | Step::RemoveRule { .. } => {
            Err(BackendError::new(format!("{step}: not supported")))
        }
        Step::SetSysctl { domain, name, value } => set_sysctl(domains, *domain, name, value),
        Step::ResetSysctl { domain, name } => reset_sysctl(domains, *domain, name),
    }
}

fn domain_of(object: Object) -> DomainId {
    match object {
        Object::Domain(domain) | Object::Route(domain, ..) => domain,
        Object::Rule(domain, _) | Object::Sysctl(domain, _) => domain,
        Object::Interface(at) | Object::Address(at, _) | Object::Peer(at, _) => at.domain,
    }
}

/// Links that reach into the default domain are removed first: with the namespace they would go some time later, and
/// be in the way of the next network until then.
fn delete_domain(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    mark: &Mark,
    domain: DomainId,
    name: &DomainName,
) -> Result<(), BackendError> {
    let what = || format!("delete domain {domain} (namespace {name})");
    for tunnel in domains.record(domain)?.tunnels.into_keys() {
        let Ok(interface) = InterfaceName::new(tunnel) else { continue };
        tunnels.stop(domains, &End { domain, interface })?;
    }
    let default = domains.namespace(DomainId::DEFAULT)?.fd().try_clone().doing(what)?;
    let socket = &mut domains.enter(domain)?.route;
    let default = namespace_id::of(socket, &default).doing(what)?;
    for link in observe::outliving(socket, mark, default).doing(what)? {
        link::delete(socket, link.index).doing(what)?;
    }
    domains.delete(domain, name)
}

fn require(domains: &mut Domains, at: &End) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    match inside.find(&at.interface)? {
        Some(_) => Ok(()),
        None => Err(BackendError::new(format!("interface {at} does not exist"))
            .help("the file relies on it: correct its name, make it first, or give it a kind or a link")),
    }
}

fn create_interface(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    mark: &Mark,
    at: &End,
    kind: &Kind,
) -> Result<(), BackendError> {
    make_room(domains, tunnels, mark, at)?;
    match kind {
        Kind::Veth { peer } => {
            make_room(domains, tunnels, mark, peer)?;
            create_link(domains, mark, at, peer)
        }
        Kind::Bridge => create_bridge(domains, mark, at),
        Kind::WireGuard(tunnel) => tunnels.create(domains, at, tunnel, mark),
        Kind::Loopback | Kind::Existing | Kind::Vrf { .. } | Kind::Dummy | Kind::Vlan { .. } => {
            Err(BackendError::new(format!("{} {at} cannot be created", kind.word())))
        }
        Kind::Macvlan { .. } | Kind::Vxlan(_) => {
            Err(BackendError::new(format!("{} {at} cannot be created", kind.word())))
        }
    }
}

/// A tunnel of ours whose engine is gone is removed; whatever else has the name is in the way.
fn make_room(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    mark: &Mark,
    at: &End,
) -> Result<(), BackendError> {
    while domains.is_something_leaving() && domains.enter(at.domain)?.find(&at.interface)?.is_some() {
        thread::sleep(ASK_EVERY);
    }
    let inside = domains.enter(at.domain)?;
    let Some(link) = inside.find(&at.interface)? else { return Ok(()) };
    if !link.is_ours(mark) {
        let error =
            BackendError::new(format!("cannot create {at}: an interface of this name exists already"));
        return Err(error.help("it was not made by rdom: rename it or remove it, or choose another name"));
    }
    let record = Default::default();
    let dead = link.driver == Driver::Tun && tunnels.read(&inside.namespace, at, &link, &record)?.is_none();
    match dead {
        true => tunnels.delete(domains, at, &link),
        false => Err(BackendError::new(format!("cannot create {at}: it exists already"))),
    }
}

fn create_link(domains: &mut Domains, mark: &Mark, at: &End, peer: &End) -> Result<(), BackendError> {
    let what = || format!("create link {at} to {peer}");
    let far = domains.namespace(peer.domain)?.fd().try_clone().doing(what)?;
    let near = domains.enter(at.domain)?;
    let message = link::veth(&at.interface, &peer.interface, &far, mark);
    link::create(&mut near.route, message)
        .doing_or(what, |errno| unknown_kind(errno, "veth", "CONFIG_VETH"))?;
    let finished = [at, peer].into_iter().try_for_each(|end| finish(domains, mark, end));
    if finished.is_err() {
        undo(domains, at);
    }
    finished
}

fn create_bridge(domains: &mut Domains, mark: &Mark, at: &End) -> Result<(), BackendError> {
    let what = || format!("create bridge {at}");
    let inside = domains.enter(at.domain)?;
    link::create(&mut inside.route, link::bridge(&at.interface, mark))
        .doing_or(what, |errno| unknown_kind(errno, "bridge", "CONFIG_BRIDGE"))?;
    let finished = finish(domains, mark, at);
    if finished.is_err() {
        undo(domains, at);
    }
    finished
}

fn finish(domains: &mut Domains, mark: &Mark, at: &End) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    let index = inside.link(&at.interface)?.index;
    link::change(&mut inside.route, index, &[Change::Finished(mark)]).doing(|| format!("mark {at} as ours"))
}

fn undo(domains: &mut Domains, at: &End) {
    let undone = domains.enter(at.domain).and_then(|inside| {
        let index = inside.link(&at.interface)?.index;
        link::delete(&mut inside.route, index).doing(|| format!("delete interface {at}"))
    });
    if let Err(error) = undone {
        tracing::warn!(%at, %error, "something is left of an interface that could not be made");
    }
}

fn delete_interface(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    mark: &Mark,
    at: &End,
) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    let Some(link) = inside.find(&at.interface)? else { return Ok(()) };
    let ours = link.is_ours(mark) || far_is_ours(inside, &link, mark).doing(|| format!("look at {at}"))?;
    if !ours {
        return Err(BackendError::new(format!(
            "cannot delete interface {at}: it was not made by this network"
        )));
    }
    match link.driver {
        Driver::Tun | Driver::WireGuard => tunnels.delete(domains, at, &link),
        Driver::Veth | Driver::Bridge | Driver::Loopback | Driver::Other => {
            link::delete(&mut inside.route, link.index).doing(|| format!("delete interface {at}"))
        }
    }
}

/// One end of a link may lack its alias if a crash came between the two.
fn far_is_ours(inside: &mut Inside, link: &Link, mark: &Mark) -> Result<bool, NetlinkError> {
    let Some(far) = link.far_end else { return Ok(false) };
    Ok(link::find_far_end(&mut inside.route, far)?.is_some_and(|far| far.is_ours(mark)))
}

fn set_mtu(domains: &mut Domains, at: &End, mtu: u32) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    let index = inside.link(&at.interface)?.index;
    link::change(&mut inside.route, index, &[Change::Mtu(mtu)]).doing(|| format!("set mtu of {at} to {mtu}"))
}

fn set_controller(
    domains: &mut Domains,
    mark: &Mark,
    at: &End,
    bridge: Option<&InterfaceName>,
) -> Result<(), BackendError> {
    let what = || match bridge {
        Some(bridge) => format!("add {at} to bridge {bridge}"),
        None => format!("remove {at} from its bridge"),
    };
    let inside = domains.enter(at.domain)?;
    let port = inside.link(&at.interface)?;
    if let Some(other) = controller(inside, &port).doing(what)?.filter(|other| !other.is_ours(mark)) {
        let error = BackendError::new(format!("cannot {}: it is a port of {}", what(), other.name));
        return Err(error.help(format!("{} was not made by rdom; take {at} out of it first", other.name)));
    }
    let index = bridge.map_or(Ok(0), |bridge| inside.link(bridge).map(|link| link.index))?;
    link::change(&mut inside.route, port.index, &[Change::Controller(index)]).doing(what)
}

fn controller(inside: &mut Inside, port: &Link) -> Result<Option<Link>, NetlinkError> {
    match port.controller {
        Some(index) => Ok(link::dump(&mut inside.route)?.into_iter().find(|link| link.index == index)),
        None => Ok(None),
    }
}

/// A link of ours that was left half-made is finished by this, too.
fn set_up(domains: &mut Domains, mark: &Mark, at: &End, up: Change<'_>) -> Result<(), BackendError> {
    let what = || match up {
        Change::Up(true) => format!("set {at} up"),
        _ => format!("set {at} down"),
    };
    let inside = domains.enter(at.domain)?;
    let link = inside.link(&at.interface)?;
    let half_made = link.alias.is_none() && link.is_ours(mark);
    let going_up = matches!(up, Change::Up(true));
    let changes = if half_made { vec![Change::Finished(mark), up] } else { vec![up] };
    let before = addresses::on_link(inside, &link).doing(what)?;
    link::change(&mut inside.route, link.index, &changes).doing(what)?;
    if going_up && addresses::is_own_loopback(at, &link) {
        addresses::remove_all_but(&before, inside, &link).doing(what)?;
    }
    settle(inside, &at.interface).doing(what)
}

/// Waits until both ends of a link show their carrier. Before, the first packet is lost: its ARP request leaves by
/// a queue that is not active yet (net/core/link_watch.c).
fn settle(inside: &mut Inside, interface: &InterfaceName) -> Result<(), NetlinkError> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    while Instant::now() < deadline {
        let Some(link) = link::find(&mut inside.route, interface)? else { return Ok(()) };
        let Some(far_end) = link.far_end else { return Ok(()) };
        let far = link::find_far_end(&mut inside.route, far_end).ok().flatten();
        if !link.unsettled && !far.is_some_and(|far| far.unsettled) {
            return Ok(());
        }
        thread::sleep(ASK_EVERY);
    }
    Ok(())
}

fn add_route(domains: &mut Domains, domain: DomainId, route: &Route) -> Result<(), BackendError> {
    let what = || format!("add route {route} to domain {domain}");
    let inside = domains.enter(domain)?;
    let index = interface_of(inside, &route.target)?;
    route::add(&mut inside.route, route, index).doing_or(what, |errno| match errno {
        Errno::EEXIST => Some(
            "a route to there with this metric exists already, and it was not added by rdom: remove it, or give \
             this one another `metric`"
                .to_owned(),
        ),
        Errno::ENETUNREACH => Some("no connected route reaches the gateway: is its interface up?".to_owned()),
        Errno::ENETDOWN => Some("its interface is down".to_owned()),
        errno if route.to.is_ipv6() => no_ipv6(errno),
        _ => None,
    })
}

fn remove_route(domains: &mut Domains, domain: DomainId, route: &Route) -> Result<(), BackendError> {
    let what = || format!("remove route {route} from domain {domain}");
    let inside = domains.enter(domain)?;
    let index = interface_of(inside, &route.target)?;
    match route::remove(&mut inside.route, route, index) {
        Err(error) if error.errno() == Some(Errno::ESRCH) => Ok(()),
        result => result.doing(what),
    }
}

fn interface_of(inside: &mut Inside, target: &Target) -> Result<u32, BackendError> {
    match target {
        Target::Unicast { dev, .. } => inside.link(dev).map(|link| link.index),
        Target::Multipath { .. } | Target::Blackhole | Target::Unreachable | Target::Prohibit => Ok(0),
    }
}

/// The value from before the first change is noted before the change.
fn set_sysctl(
    domains: &mut Domains,
    domain: DomainId,
    name: &SysctlName,
    value: &str,
) -> Result<(), BackendError> {
    let known = domains.record(domain)?.sysctls.contains_key(name.as_str());
    let before = sysctl::read(domains.namespace(domain)?, domain, name)?.filter(|_| !known);
    let noted = before.is_some();
    if let Some(before) = before {
        domains.change(domain, |record| {
            record.sysctls.insert(name.as_str().to_owned(), before);
        })?;
    }
    let written = sysctl::write(domains.namespace(domain)?, domain, name, value);
    if written.is_err() && noted {
        forget_sysctl(domains, domain, name)?;
    }
    written
}

fn reset_sysctl(domains: &mut Domains, domain: DomainId, name: &SysctlName) -> Result<(), BackendError> {
    let record = domains.record(domain)?;
    let Some(before) = record.sysctls.get(name.as_str()) else { return Ok(()) };
    let namespace = domains.namespace(domain)?;
    if sysctl::read(namespace, domain, name)?.is_some() {
        sysctl::write(namespace, domain, name, before)?;
    }
    forget_sysctl(domains, domain, name)
}

fn forget_sysctl(domains: &Domains, domain: DomainId, name: &SysctlName) -> Result<(), BackendError> {
    domains.change(domain, |record| {
        record.sysctls.remove(name.as_str());
    })
}
