//! Links: rtnetlink(7) `RTM_*LINK` messages, and what is read from them.
//!
//! A veth and its peer get one queue each way: with the kernel's default of one a processor, making a pair waits for
//! two RCU grace periods. Both ends are made in their places by `IFLA_NET_NS_FD`, for a move waits for more.
//! A peer that is up at birth is refused with ENOTCONN, so links are made down.

use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage, State,
};
use nix::errno::Errno;

use super::mark::Mark;
use super::netlink::{Netlink, NetlinkError};
use crate::model::InterfaceName;

/// What drives a link, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Loopback,
    Veth,
    Bridge,
    WireGuard,
    Tun,
    Other,
}

/// The other end of a veth: its index, and its namespace's number in this one unless it is this one.
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
    pub(super) driver: Driver,
    pub(super) alias: Option<String>,
    pub(super) group: u32,
    pub(super) mtu: u32,
    pub(super) up: bool,
    /// Whether it has a carrier that its state does not show yet (net/core/link_watch.c works behind).
    pub(super) unsettled: bool,
    pub(super) controller: Option<u32>,
    pub(super) far_end: Option<FarEnd>,
}

impl Link {
    /// Whether it is this network's: marked, or half-made.
    pub(super) fn is_ours(&self, mark: &Mark) -> bool {
        match &self.alias {
            Some(alias) => alias == mark.alias(),
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
        driver: if flags.contains(LinkFlags::Loopback) { Driver::Loopback } else { Driver::Other },
        alias: None,
        group: 0,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        unsettled: false,
        controller: None,
        far_end: None,
    };
    let mut state = State::Unknown;
    let (mut lower, mut namespace_id) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.controller = Some(*index).filter(|&index| index != 0),
            LinkAttribute::OperState(now) => state = *now,
            LinkAttribute::Link(index) => lower = Some(*index).filter(|&index| index != 0),
            LinkAttribute::LinkNetNsId(id) => namespace_id = Some(*id),
            LinkAttribute::LinkInfo(infos) => {
                link.driver = infos.iter().find_map(driver).unwrap_or(link.driver);
            }
            _ => {}
        }
    }
    link.unsettled =
        flags.contains(LinkFlags::LowerUp) && matches!(state, State::Down | State::LowerLayerDown);
    if link.driver == Driver::Veth {
        link.far_end = lower.map(|index| FarEnd { index, namespace_id });
    }
    (!link.name.is_empty()).then_some(link)
}

fn driver(info: &LinkInfo) -> Option<Driver> {
    match info {
        LinkInfo::Kind(InfoKind::Veth) => Some(Driver::Veth),
        LinkInfo::Kind(InfoKind::Bridge) => Some(Driver::Bridge),
        LinkInfo::Kind(InfoKind::Wireguard) => Some(Driver::WireGuard),
        LinkInfo::Kind(InfoKind::Tun) => Some(Driver::Tun),
        _ => None,
    }
}

/// Makes a link, and fails if the name is taken.
pub(super) fn create(socket: &mut Netlink, link: LinkMessage) -> Result<(), NetlinkError> {
    socket.request(Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

/// A veth of the socket's namespace whose peer is in another.
pub(super) fn veth(
    name: &InterfaceName,
    peer: &InterfaceName,
    peer_namespace: &OwnedFd,
    mark: &Mark,
) -> LinkMessage {
    let mut far = half_made(peer, mark);
    far.attributes.extend([LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]);
    far.attributes.push(LinkAttribute::NetNsFd(peer_namespace.as_raw_fd()));
    let mut link = half_made(name, mark);
    link.attributes.extend([LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)]);
    let peer = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far)));
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), peer]));
    link
}

/// A bridge of the socket's namespace.
pub(super) fn bridge(name: &InterfaceName, mark: &Mark) -> LinkMessage {
    let mut link = half_made(name, mark);
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
    link
}

/// A tunnel of the kernel's in this namespace, whose UDP sockets will be in the namespace of the netlink socket
/// that asks for it (drivers/net/wireguard/device.c, `wg_newlink`).
pub(super) fn wireguard(name: &InterfaceName, namespace: &OwnedFd, mark: &Mark) -> LinkMessage {
    let mut link = half_made(name, mark);
    link.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]));
    link
}

fn half_made(name: &InterfaceName, mark: &Mark) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    link.attributes.push(LinkAttribute::Group(mark.group()));
    link
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
    /// Another name, for a link that is down.
    Name(&'a InterfaceName),
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
    use crate::model::NetworkName;

    fn mark() -> Mark {
        Mark::of(&NetworkName::new("test").unwrap())
    }

    fn name(text: &str) -> InterfaceName {
        InterfaceName::new(text).unwrap()
    }

    /// The message as a kernel reads it.
    fn wire(message: &LinkMessage) -> LinkMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        LinkMessage::parse(&bytes[..]).unwrap()
    }

    #[test]
    fn both_ends_of_a_veth_are_single_queue_and_in_our_group() {
        let namespace: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let message = wire(&veth(&name("a"), &name("b"), &namespace, &mark()));
        let single = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
        let group = LinkAttribute::Group(mark().group());
        let infos = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        });
        let Some([LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far)))]) =
            infos.map(Vec::as_slice)
        else {
            panic!("{infos:?}")
        };
        for end in [&message, far] {
            assert!(single.iter().chain([&group]).all(|wanted| end.attributes.contains(wanted)), "{end:?}");
            assert!(!end.header.flags.contains(LinkFlags::Up), "up at birth is refused");
        }
        let there =
            |end: &LinkMessage| end.attributes.contains(&LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        assert!(there(far) && !there(&message));
    }

    #[test]
    fn going_up_says_which_flag_changes() {
        let message = wire(&change_message(7, &[Change::Up(false), Change::Mtu(1400)]));
        assert_eq!((message.header.index, message.header.change_mask), (7, LinkFlags::Up));
        assert!(!message.header.flags.contains(LinkFlags::Up));
        assert_eq!(message.attributes, [LinkAttribute::Mtu(1400)]);
    }

    #[test]
    fn an_alias_tells_whose_a_link_is_and_a_group_only_without_one() {
        let mut message = bridge(&name("b"), &mark());
        assert!(read(&message).unwrap().is_ours(&mark()), "half-made");
        message.attributes.push(LinkAttribute::IfAlias("rdom:other".into()));
        assert!(!read(&message).unwrap().is_ours(&mark()));
        let finished = [LinkAttribute::IfName("b".into()), LinkAttribute::IfAlias("rdom:test".into())];
        message.attributes = finished.to_vec();
        assert!(read(&message).unwrap().is_ours(&mark()));
    }
}
