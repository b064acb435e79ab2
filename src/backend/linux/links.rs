//! Makes, changes and removes links: each public function is one step, whole or not at all.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkMessage;
use nix::errno::Errno;

use super::domains::{Domains, Inside};
use super::explain::{Doing, unknown_kind};
use super::link::{self, Change, Driver, Link, new};
use super::mark::Mark;
use super::netlink::NetlinkError;
use super::tunnels::Tunnels;
use super::{addresses, qdisc};
use crate::backend::BackendError;
use crate::model::{DomainId, End, Impairment, InterfaceName, Kind, RtableId, Vxlan};

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_micros(500);

/// Makes an interface, down and bare.
pub(super) fn create(
    domains: &mut Domains,
    tunnels: &mut Tunnels,
    at: &End,
    kind: &Kind,
) -> Result<(), BackendError> {
    make_room(domains, tunnels, at)?;
    let mark = domains.mark(at.domain);
    match kind {
        Kind::Veth { peer } => {
            make_room(domains, tunnels, peer)?;
            create_link(domains, at, peer)
        }
        Kind::Bridge => create_here(domains, at, kind, new::bridge(&at.interface, &mark)),
        Kind::Dummy => create_here(domains, at, kind, new::dummy(&at.interface, &mark)),
        Kind::Vrf { rtable } => {
            require_free_table(domains, at, *rtable)?;
            create_here(domains, at, kind, new::vrf(&at.interface, *rtable, &mark))
        }
        Kind::Vlan { parent, .. } | Kind::Macvlan { parent } => create_on(domains, at, kind, parent),
        Kind::Vxlan(vxlan) => create_vxlan(domains, at, kind, vxlan),
        Kind::WireGuard(tunnel) => tunnels.create(domains, at, tunnel),
        Kind::Loopback | Kind::Existing | Kind::Physical { .. } => {
            Err(BackendError::new(format!("{} {at} cannot be created", kind.word())))
        }
    }
}

/// Two VRF devices of one table would be one routing domain.
fn require_free_table(domains: &mut Domains, at: &End, rtable: RtableId) -> Result<(), BackendError> {
    let socket = &mut domains.enter(at.domain)?.route;
    let links = link::dump(socket).doing(|| format!("look for vrf devices of rtable {rtable}"))?;
    match links.iter().find(|link| link.driver == Driver::Vrf { table: rtable.number() }) {
        None => Ok(()),
        Some(other) => Err(BackendError::new(format!(
            "cannot create vrf {at}: table {rtable} is that of {} already",
            other.name
        ))
        .help("remove that device, or give the domain another number")),
    }
}

/// A tunnel of ours whose engine is gone is removed; whatever else has the name is in the way.
fn make_room(domains: &mut Domains, tunnels: &mut Tunnels, at: &End) -> Result<(), BackendError> {
    while domains.is_something_leaving() && domains.enter(at.domain)?.find(&at.interface)?.is_some() {
        thread::sleep(ASK_EVERY);
    }
    let mark = domains.mark(at.domain);
    let whose = domains.network_mark().clone();
    let inside = domains.enter(at.domain)?;
    let Some(link) = inside.find(&at.interface)? else { return Ok(()) };
    if !link.is_ours(&mark) {
        let error =
            BackendError::new(format!("cannot create {at}: an interface of this name exists already"));
        return Err(error.help(match link.is_ours(&whose) {
            true => {
                "it is of another domain in the same namespace: where a domain has `isolation: vrf`, its \
                     interfaces need names that no other such domain has, nor the default domain"
            }
            false => "it was not made by rdom: rename it or remove it, or choose another name",
        }));
    }
    match tunnels.is_dead(&inside.namespace, at, &link)? {
        true => tunnels.delete(domains, at, &link),
        false => Err(BackendError::new(format!("cannot create {at}: it exists already"))),
    }
}

fn create_link(domains: &mut Domains, at: &End, peer: &End) -> Result<(), BackendError> {
    let what = || format!("create link {at} to {peer}");
    let far = domains.namespace(peer.domain)?.fd().try_clone().doing(what)?;
    let mark = domains.mark(at.domain);
    let near = domains.enter(at.domain)?;
    let message = new::veth(&at.interface, &peer.interface, &far, &mark);
    link::create(&mut near.route, message)
        .doing_or(what, |errno| unknown_kind(errno, "veth", "CONFIG_VETH"))?;
    finished(domains, &[at, peer])
}

/// Makes a link in its own namespace.
fn create_here(
    domains: &mut Domains,
    at: &End,
    kind: &Kind,
    message: LinkMessage,
) -> Result<(), BackendError> {
    let what = || format!("create {} {at}", kind.word());
    let inside = domains.enter(at.domain)?;
    link::create(&mut inside.route, message).doing_or(what, |errno| lacks(errno, kind))?;
    finished(domains, &[at])
}

/// Makes a VLAN or macvlan: asked for where its parent is.
fn create_on(domains: &mut Domains, at: &End, kind: &Kind, parent: &End) -> Result<(), BackendError> {
    let index = domains.enter(parent.domain)?.index(&parent.interface)?;
    let message = |name: &_, namespace: &_, mark: &_| match kind {
        Kind::Vlan { id, .. } => new::vlan(name, *id, index, namespace, mark),
        _ => new::macvlan(name, index, namespace, mark),
    };
    let what = || format!("create {} {at} on {parent}", kind.word());
    create_from(domains, parent.domain, at, what, |errno| lacks(errno, kind), message)?;
    finished(domains, &[at])
}

/// Makes a VXLAN: asked for where its sockets shall be.
fn create_vxlan(domains: &mut Domains, at: &End, kind: &Kind, vxlan: &Vxlan) -> Result<(), BackendError> {
    let Vxlan { id, underlay, local, remote, port } = *vxlan;
    let device = match domains.device(underlay)? {
        Some(device) => Some(domains.enter(underlay)?.index(&device)?),
        None => None,
    };
    let set_up = link::Vxlan { id, local, remote, port, device };
    let message = |name: &_, namespace: &_, mark: &_| new::vxlan(name, &set_up, namespace, mark);
    let what = || format!("create vxlan {at}, sockets in domain {underlay}");
    create_from(domains, underlay, at, what, |errno| lacks(errno, kind), message)?;
    finished(domains, &[at])
}

/// Has a link made from another domain's namespace, where what it stands on or its sockets are. The kernel looks for
/// its name there, though the link will be elsewhere (net/core/rtnetlink.c, `rtnl_newlink`): if the name is taken
/// there, the link is born with another.
pub(super) fn create_from(
    domains: &mut Domains,
    origin: DomainId,
    at: &End,
    what: impl Fn() -> String,
    advice: impl FnOnce(Errno) -> Option<String>,
    message: impl FnOnce(&InterfaceName, &OwnedFd, &Mark) -> LinkMessage,
) -> Result<(), BackendError> {
    let (mark, same) = (domains.mark(at.domain), domains.share_a_namespace(origin, at.domain));
    let namespace = domains.namespace(at.domain)?.fd().try_clone().doing(&what)?;
    let from = domains.enter(origin)?;
    if same || from.find(&at.interface)?.is_none() {
        let message = message(&at.interface, &namespace, &mark);
        return link::create(&mut from.route, message).doing_or(what, advice);
    }
    let birth_name = birth_name();
    link::create(&mut from.route, message(&birth_name, &namespace, &mark)).doing_or(&what, advice)?;
    let inside = domains.enter(at.domain)?;
    let born = inside.index(&birth_name)?;
    let named = link::change(&mut inside.route, born, &[Change::Name(&at.interface)]).doing(what);
    if named.is_err() {
        link::delete(&mut inside.route, born).doing(|| format!("delete what was to be {at}"))?;
    }
    named
}

fn birth_name() -> InterfaceName {
    InterfaceName::new("rdom-new").expect("a plain word")
}

/// Ends the making of links, each with the mark of its domain; what was made is unmade if that fails.
fn finished(domains: &mut Domains, ends: &[&End]) -> Result<(), BackendError> {
    let finished = ends.iter().try_for_each(|end| finish(domains, end));
    if finished.is_err() {
        ends.iter().take(1).for_each(|end| undo(domains, end));
    }
    finished
}

fn lacks(errno: Errno, kind: &Kind) -> Option<String> {
    let (module, option) = match kind {
        Kind::Bridge => ("bridge", "CONFIG_BRIDGE"),
        Kind::Vrf { .. } => ("vrf", "CONFIG_NET_VRF, or choose `isolation: netns`"),
        Kind::Dummy => ("dummy", "CONFIG_DUMMY"),
        Kind::Vlan { .. } => ("8021q", "CONFIG_VLAN_8021Q"),
        Kind::Macvlan { .. } => ("macvlan", "CONFIG_MACVLAN"),
        Kind::Vxlan(_) => ("vxlan", "CONFIG_VXLAN"),
        Kind::Veth { .. } => ("veth", "CONFIG_VETH"),
        Kind::WireGuard(_) => ("wireguard", "CONFIG_WIREGUARD"),
        Kind::Loopback | Kind::Existing | Kind::Physical { .. } => return None,
    };
    unknown_kind(errno, module, option)
}

fn lacks_discipline(errno: Errno, impairment: &Impairment) -> Option<String> {
    let (module, option) = match impairment.is_emulated() {
        true => ("sch_netem", "CONFIG_NET_SCH_NETEM"),
        false => ("sch_tbf", "CONFIG_NET_SCH_TBF"),
    };
    // What tc(8) calls a discipline is looked for among those that are there.
    let errno = if errno == Errno::ENOENT { Errno::EOPNOTSUPP } else { errno };
    unknown_kind(errno, module, option)
}

fn finish(domains: &mut Domains, at: &End) -> Result<(), BackendError> {
    let mark = domains.mark(at.domain);
    let inside = domains.enter(at.domain)?;
    let index = inside.index(&at.interface)?;
    link::change(&mut inside.route, index, &[Change::Finished(&mark)]).doing(|| format!("mark {at} as ours"))
}

fn undo(domains: &mut Domains, at: &End) {
    let undone = domains.enter(at.domain).and_then(|inside| {
        let index = inside.index(&at.interface)?;
        link::delete(&mut inside.route, index).doing(|| format!("delete interface {at}"))
    });
    if let Err(error) = undone {
        tracing::warn!(%at, %error, "something is left of an interface that could not be made");
    }
}

/// Removes an interface of ours; one that is gone already is no error.
pub(super) fn delete(domains: &mut Domains, tunnels: &mut Tunnels, at: &End) -> Result<(), BackendError> {
    let (mark, network) = (domains.mark(at.domain), domains.network_mark().clone());
    let inside = domains.enter(at.domain)?;
    let Some(link) = inside.find(&at.interface)? else { return Ok(()) };
    let ours =
        link.is_ours(&mark) || far_is_ours(inside, &link, &network).doing(|| format!("look at {at}"))?;
    if !ours {
        return Err(BackendError::new(format!(
            "cannot delete interface {at}: it was not made by this network"
        )));
    }
    match link.driver {
        Driver::Tun | Driver::WireGuard => tunnels.delete(domains, at, &link),
        Driver::Veth
        | Driver::Bridge
        | Driver::Loopback
        | Driver::Vrf { .. }
        | Driver::Dummy
        | Driver::Other
        | Driver::Vlan { .. }
        | Driver::Macvlan
        | Driver::Vxlan(_) => {
            link::delete(&mut inside.route, link.index).doing(|| format!("delete interface {at}"))
        }
    }
}

/// Removes every link of a domain that has no namespace to go with.
pub(super) fn delete_all(domains: &mut Domains, domain: DomainId) -> Result<(), BackendError> {
    let what = || format!("remove the interfaces of domain {domain}");
    let mark = domains.mark(domain);
    let socket = &mut domains.enter(domain)?.route;
    let links = link::dump(socket).doing(what)?;
    for link in links.iter().filter(|link| link.alias.as_deref() == Some(mark.alias())) {
        link::delete(socket, link.index).doing(what)?;
    }
    Ok(())
}

/// One end of a link may lack its alias if a crash came between the two.
fn far_is_ours(inside: &mut Inside, link: &Link, network: &Mark) -> Result<bool, NetlinkError> {
    let Some(far) = link.far_end else { return Ok(false) };
    Ok(link::find_far_end(&mut inside.route, far)?.is_some_and(|far| far.is_ours(network)))
}

/// Sets the largest packet, in bytes. A bridge follows its ports until it is told another than it has (net/bridge/br_if.c,
/// `br_mtu_auto_adjust`), so it is told another one first.
pub(super) fn set_mtu(domains: &mut Domains, at: &End, mtu: u32) -> Result<(), BackendError> {
    let what = || format!("set mtu of {at} to {mtu}");
    let inside = domains.enter(at.domain)?;
    let link = inside.link(&at.interface)?;
    if link.driver == Driver::Bridge && link.mtu == mtu {
        let other = if mtu == 1500 { 1501 } else { 1500 };
        link::change(&mut inside.route, link.index, &[Change::Mtu(other)]).doing(what)?;
    }
    link::change(&mut inside.route, link.index, &[Change::Mtu(mtu)]).doing(what)
}

/// Makes an end of a link do this to packets.
pub(super) fn set_impairment(
    domains: &mut Domains,
    at: &End,
    impairment: &Impairment,
) -> Result<(), BackendError> {
    let inside = domains.enter(at.domain)?;
    let index = inside.index(&at.interface)?;
    let what = || format!("impair {at} by {impairment}");
    qdisc::set(&mut inside.route, index, impairment)
        .doing_or(what, |errno| lacks_discipline(errno, impairment))
}

/// Makes an interface a port or member, or none. The kernel takes the IPv6 addresses of one that joins or leaves a
/// VRF device (drivers/net/vrf.c, `cycle_netdev`); ours are added again.
pub(super) fn set_controller(
    domains: &mut Domains,
    at: &End,
    controller: Option<&InterfaceName>,
) -> Result<(), BackendError> {
    let what = || match controller {
        Some(controller) => format!("add {at} to {controller}"),
        None => format!("remove {at} from what it belongs to"),
    };
    let mark = domains.mark(at.domain);
    let before = addresses::ours(domains, at)?;
    let inside = domains.enter(at.domain)?;
    let port = inside.link(&at.interface)?;
    if let Some(other) = current_controller(inside, &port).doing(what)?.filter(|other| !other.is_ours(&mark))
    {
        let error = BackendError::new(format!("cannot {}: it is a port of {}", what(), other.name));
        return Err(error.help(format!("{} was not made by rdom; take {at} out of it first", other.name)));
    }
    let index = controller.map_or(Ok(0), |controller| inside.index(controller))?;
    link::change(&mut inside.route, port.index, &[Change::Controller(index)]).doing(what)?;
    addresses::add_lost(domains, at, &before)
}

fn current_controller(inside: &mut Inside, port: &Link) -> Result<Option<Link>, NetlinkError> {
    match port.controller {
        Some(index) => Ok(link::dump(&mut inside.route)?.into_iter().find(|link| link.index == index)),
        None => Ok(None),
    }
}

/// Sets an interface up or down. A link of ours that was left half-made is finished by this, too. Whether it has its
/// carrier is looked at later: see [`settle`].
pub(super) fn set_up(domains: &mut Domains, at: &End, up: Change<'_>) -> Result<(), BackendError> {
    let what = || match up {
        Change::Up(true) => format!("set {at} up"),
        _ => format!("set {at} down"),
    };
    let mark = domains.mark(at.domain);
    let inside = domains.enter(at.domain)?;
    let link = inside.link(&at.interface)?;
    let half_made = link.alias.is_none() && link.is_ours(&mark);
    let changes = if half_made { vec![Change::Finished(&mark), up] } else { vec![up] };
    let change = |inside: &mut Inside| link::change(&mut inside.route, link.index, &changes);
    addresses::keep_to_ours(inside, at, &link, change).doing(what)?;
    if let Change::Up(true) = up {
        domains.last_rise = Some(Instant::now());
    }
    Ok(())
}

/// Waits until ends of links that have a carrier show it, if any was set up a moment ago. Before, the first packet is lost:
/// its ARP request leaves by a queue that is not active yet (net/core/link_watch.c). Asking for one by its name makes
/// newer kernels settle it.
pub(super) fn settle(domains: &mut Domains, unsettled: &[End]) -> Result<(), BackendError> {
    for at in unsettled {
        while domains.is_something_rising() && !has_settled(domains.enter(at.domain)?, &at.interface)? {
            thread::sleep(ASK_EVERY);
        }
    }
    Ok(())
}

/// What is gone by now needs no carrier.
fn has_settled(inside: &mut Inside, interface: &InterfaceName) -> Result<bool, BackendError> {
    Ok(!inside.find(interface)?.is_some_and(|link| link.unsettled))
}
