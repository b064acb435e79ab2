//! Links: rtnetlink(7) `RTM_*LINK` messages, and what is read from them.

pub(super) mod new;

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVlan, InfoVrf, InfoVxlan,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, State,
};
use nix::errno::Errno;

use super::mark::Mark;
use super::netlink::{Netlink, NetlinkError};
use crate::model::{Engine, InterfaceName};

/// `IFLA_NEW_IFINDEX` (linux/if_link.h).
const NEW_IFINDEX: u16 = 49;

nix::ioctl_readwrite_bad!(
    /// Finds the index of the link that the request names (netdevice(7)).
    find_index,
    libc::SIOCGIFINDEX,
    libc::ifreq
);

/// What drives a link, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Loopback,
    Veth,
    Bridge,
    WireGuard,
    Tun,
    Vrf { table: u32 },
    Dummy,
    Vlan { id: u16 },
    Macvlan,
    Vxlan(Vxlan),
    Other,
}

impl Driver {
    /// What runs it, if it is a tunnel.
    pub(super) fn engine(self) -> Option<Engine> {
        match self {
            Driver::Tun => Some(Engine::Userspace),
            Driver::WireGuard => Some(Engine::Kernel),
            Driver::Loopback | Driver::Veth | Driver::Bridge | Driver::Vrf { .. } | Driver::Dummy => None,
            Driver::Vlan { .. } | Driver::Macvlan | Driver::Vxlan(_) | Driver::Other => None,
        }
    }
}

/// How a VXLAN interface is set up (`IFLA_VXLAN_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vxlan {
    pub(super) id: u32,
    pub(super) local: Option<IpAddr>,
    pub(super) remote: Option<IpAddr>,
    pub(super) port: u16,
    /// The index of the device that its sockets are bound to, in their namespace.
    pub(super) device: Option<u32>,
}

/// A link that this one hangs together with, the other end of a veth or what a VLAN stands on: its index, and its
/// namespace's number in this one unless it is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FarEnd {
    pub(super) index: u32,
    pub(super) namespace_id: Option<i32>,
}

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// Its hardware address; empty if it has none.
    pub(super) hardware: Vec<u8>,
    pub(super) driver: Driver,
    pub(super) alias: Option<String>,
    pub(super) group: u32,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// Whether it has a carrier that its state does not show yet (net/core/link_watch.c works behind).
    pub(super) unsettled: bool,
    pub(super) controller: Option<u32>,
    /// The name of its queueing discipline.
    pub(super) discipline: String,
    pub(super) far_end: Option<FarEnd>,
    /// What a VLAN or macvlan stands on.
    pub(super) parent: Option<FarEnd>,
    /// The number of the namespace that it was made from, where the sockets of a VXLAN and of a tunnel are.
    pub(super) birthplace: Option<i32>,
}

impl Link {
    /// Whether it is the device of a VRF.
    pub(super) fn is_vrf(&self) -> bool {
        matches!(self.driver, Driver::Vrf { .. })
    }

    /// Whether it is this network's: marked, or half-made.
    pub(super) fn is_ours(&self, mark: &Mark) -> bool {
        match &self.alias {
            Some(alias) => mark.is_on(alias),
            None => self.group == mark.group(),
        }
    }
}

/// Every link of the socket's namespace.
pub(super) fn dump(socket: &mut Netlink) -> Result<Vec<Link>, NetlinkError> {
    let mut query = LinkMessage::default();
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answers = socket.dump(Message::GetLink(query))?;
    Ok(answers.iter().filter_map(of_answer).collect())
}

/// The link of this name, if there is one.
pub(super) fn find(socket: &mut Netlink, name: &InterfaceName) -> Result<Option<Link>, NetlinkError> {
    let mut query = LinkMessage::default();
    query.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    one(socket, query)
}

/// The index of the link of this name, which must be there: at a tenth of the price of all else about it.
pub(super) fn index(socket: &Netlink, name: &InterfaceName) -> Result<u32, NetlinkError> {
    let mut request = request(name);
    // SAFETY: the request is a whole `struct ifreq`, whose index the call fills in.
    let index = unsafe {
        find_index(socket.as_raw_fd(), &raw mut request)
            .map_err(|errno| NetlinkError::Refused { errno, text: None })?;
        request.ifr_ifru.ifru_ifindex
    };
    u32::try_from(index).map_err(|_| NetlinkError::Malformed(format!("index {index}")))
}

/// A request about the link of this name, of the older kind (netdevice(7)).
pub(super) fn request(name: &InterfaceName) -> libc::ifreq {
    // SAFETY: `struct ifreq` is made of integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from as libc::c_char;
    }
    request
}

/// The other end of a veth, wherever it is, if the caller may look there.
pub(super) fn find_far_end(socket: &mut Netlink, far_end: FarEnd) -> Result<Option<Link>, NetlinkError> {
    let mut query = LinkMessage::default();
    query.header.index = far_end.index;
    query.attributes.extend(far_end.namespace_id.map(LinkAttribute::IfNetnsId));
    one(socket, query)
}

fn one(socket: &mut Netlink, mut query: LinkMessage) -> Result<Option<Link>, NetlinkError> {
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match socket.request(Message::GetLink(query), 0) {
        Ok(answers) => Ok(answers.iter().find_map(of_answer)),
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn of_answer(answer: &Message) -> Option<Link> {
    match answer {
        Message::NewLink(message) => read(message),
        _ => None,
    }
}

/// A link from the kernel's message; `None` if it has no name.
pub(super) fn read(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        hardware: Vec::new(),
        driver: if flags.contains(LinkFlags::Loopback) { Driver::Loopback } else { Driver::Other },
        alias: None,
        group: 0,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        unsettled: false,
        controller: None,
        discipline: String::new(),
        far_end: None,
        parent: None,
        birthplace: None,
    };
    let mut state = State::Unknown;
    let (mut lower, mut namespace_id) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(address) => link.hardware.clone_from(address),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.controller = Some(*index).filter(|&index| index != 0),
            LinkAttribute::Qdisc(name) => link.discipline.clone_from(name),
            LinkAttribute::OperState(now) => state = *now,
            LinkAttribute::Link(index) => lower = Some(*index).filter(|&index| index != 0),
            LinkAttribute::LinkNetNsId(id) => namespace_id = Some(*id),
            LinkAttribute::LinkInfo(infos) => {
                link.driver = driver(infos).unwrap_or(link.driver);
            }
            _ => {}
        }
    }
    link.unsettled =
        flags.contains(LinkFlags::LowerUp) && matches!(state, State::Down | State::LowerLayerDown);
    let lower = lower.map(|index| FarEnd { index, namespace_id });
    match link.driver {
        Driver::Veth => link.far_end = lower,
        Driver::Vlan { .. } | Driver::Macvlan => link.parent = lower,
        Driver::Vxlan(_) | Driver::WireGuard => link.birthplace = namespace_id,
        Driver::Loopback | Driver::Bridge | Driver::Tun => {}
        Driver::Vrf { .. } | Driver::Dummy | Driver::Other => {}
    }
    (!link.name.is_empty()).then_some(link)
}

fn driver(infos: &[LinkInfo]) -> Option<Driver> {
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match (kind?, data) {
        (InfoKind::Veth, _) => Some(Driver::Veth),
        (InfoKind::Bridge, _) => Some(Driver::Bridge),
        (InfoKind::Wireguard, _) => Some(Driver::WireGuard),
        (InfoKind::Tun, _) => Some(Driver::Tun),
        (InfoKind::Dummy, _) => Some(Driver::Dummy),
        (InfoKind::MacVlan, _) => Some(Driver::Macvlan),
        (InfoKind::Vrf, Some(InfoData::Vrf(attributes))) => vrf(attributes),
        (InfoKind::Vlan, Some(InfoData::Vlan(attributes))) => vlan(attributes),
        (InfoKind::Vxlan, Some(InfoData::Vxlan(attributes))) => Some(Driver::Vxlan(vxlan(attributes))),
        _ => None,
    }
}

fn vrf(attributes: &[InfoVrf]) -> Option<Driver> {
    attributes.iter().find_map(|attribute| match attribute {
        InfoVrf::TableId(table) => Some(Driver::Vrf { table: *table }),
        _ => None,
    })
}

fn vlan(attributes: &[InfoVlan]) -> Option<Driver> {
    attributes.iter().find_map(|attribute| match attribute {
        InfoVlan::Id(id) => Some(Driver::Vlan { id: *id }),
        _ => None,
    })
}

fn vxlan(attributes: &[InfoVxlan]) -> Vxlan {
    let mut vxlan = Vxlan { id: 0, local: None, remote: None, port: 0, device: None };
    for attribute in attributes {
        match attribute {
            InfoVxlan::Id(id) => vxlan.id = *id,
            InfoVxlan::Local(address) => vxlan.local = Some((*address).into()),
            InfoVxlan::Local6(address) => vxlan.local = Some((*address).into()),
            InfoVxlan::Group(address) => vxlan.remote = Some((*address).into()),
            InfoVxlan::Group6(address) => vxlan.remote = Some((*address).into()),
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Link(index) => vxlan.device = Some(*index).filter(|&index| index != 0),
            _ => {}
        }
    }
    vxlan
}

/// Makes a link, and fails if the name is taken.
pub(super) fn create(socket: &mut Netlink, link: LinkMessage) -> Result<(), NetlinkError> {
    socket.request(Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

/// One change to a link that exists.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// It gets its alias and leaves the group of half-made links.
    Finished(&'a Mark),
    Mtu(u32),
    /// The index of a bridge, 0 for none.
    Controller(u32),
    Up(bool),
    /// The kernel shall give it no link-local address by itself.
    NoLinkLocal,
    /// Another name, for a link that is down, or that moves.
    Name(&'a InterfaceName),
    /// Another alias, `""` for none.
    Alias(&'a str),
    /// Another namespace, where it is down and bare.
    Namespace(&'a OwnedFd),
    /// The index there; kernels before 5.13 give one of their own choice.
    Index(u32),
}

/// Changes the link of this index.
pub(super) fn change(socket: &mut Netlink, index: u32, changes: &[Change<'_>]) -> Result<(), NetlinkError> {
    socket.request(Message::SetLink(change_message(index, changes)), 0).map(|_| ())
}

fn change_message(index: u32, changes: &[Change<'_>]) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    for change in changes {
        match change {
            Change::Finished(mark) => {
                let alias = LinkAttribute::IfAlias(mark.alias().to_owned());
                link.attributes.extend([alias, LinkAttribute::Group(0)]);
            }
            Change::Mtu(mtu) => link.attributes.push(LinkAttribute::Mtu(*mtu)),
            Change::Controller(index) => link.attributes.push(LinkAttribute::Controller(*index)),
            Change::Name(name) => {
                link.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
            }
            Change::Alias(alias) => link.attributes.push(LinkAttribute::IfAlias((*alias).to_owned())),
            Change::Namespace(namespace) => {
                link.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
            }
            Change::Index(index) => {
                let value = index.to_ne_bytes().to_vec();
                link.attributes.push(LinkAttribute::Other(DefaultNla::new(NEW_IFINDEX, value)));
            }
            Change::Up(up) => {
                link.header.change_mask |= LinkFlags::Up;
                link.header.flags.set(LinkFlags::Up, *up);
            }
            Change::NoLinkLocal => {
                let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
                link.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])]));
            }
        }
    }
    link
}

/// Removes the link of this index; one that is gone already is no error.
pub(super) fn delete(socket: &mut Netlink, index: u32) -> Result<(), NetlinkError> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    match socket.request(Message::DelLink(link), 0) {
        Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(()),
        result => result.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};

    use super::*;
    use crate::model::{DomainId, NetworkName};

    fn mark() -> Mark {
        Mark::of(&NetworkName::new("test").unwrap())
    }

    #[test]
    fn going_up_says_which_flag_changes() {
        let message = change_message(7, &[Change::Up(false), Change::Mtu(1400)]);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let message = LinkMessage::parse(&bytes[..]).unwrap();
        assert_eq!((message.header.index, message.header.change_mask), (7, LinkFlags::Up));
        assert!(!message.header.flags.contains(LinkFlags::Up));
        assert_eq!(message.attributes, [LinkAttribute::Mtu(1400)]);
    }

    #[test]
    fn an_alias_tells_whose_a_link_is_and_a_group_only_without_one() {
        let mut message = new::bridge(&InterfaceName::new("b").unwrap(), &mark());
        assert!(read(&message).unwrap().is_ours(&mark()), "half-made");
        message.attributes.push(LinkAttribute::IfAlias("rdom:other".into()));
        assert!(!read(&message).unwrap().is_ours(&mark()));
        let finished = [LinkAttribute::IfName("b".into()), LinkAttribute::IfAlias("rdom:test".into())];
        message.attributes = finished.to_vec();
        assert!(read(&message).unwrap().is_ours(&mark()));
    }

    #[test]
    fn an_alias_may_carry_a_domain() {
        let five = mark().within(DomainId::new(5).unwrap());
        assert_eq!(five.alias(), "rdom:test/5");
        assert!(five.is_on("rdom:test/5") && mark().is_on("rdom:test/5"));
        assert!(!five.is_on("rdom:test/51") && !five.is_on("rdom:test") && !mark().is_on("rdom:test2"));
    }
}
