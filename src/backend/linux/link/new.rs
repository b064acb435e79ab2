//! Messages that make a link (`RTM_NEWLINK`).
//!
//! A veth and its peer get one queue each way: with the kernel's default of one a processor, making a pair waits for
//! two RCU grace periods. Links are made in their places by `IFLA_NET_NS_FD`, for a move waits for more.
//! A peer that is up at birth is refused with ENOTCONN, so links are made down.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, InfoVrf, InfoVxlan, LinkAttribute, LinkInfo,
    LinkMessage, MacVlanMode, VlanFlags,
};

use super::{Mark, Vxlan};
use crate::model::{InterfaceName, RtableId};

/// The largest packet of a VXLAN that is bound to a device, as of one that is not: else it would follow that of the
/// device, which for a VRF device means nothing.
const VXLAN_MTU: u32 = 1500;

/// A veth of the socket's namespace whose peer is in another.
pub(in crate::backend::linux) fn veth(
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
pub(in crate::backend::linux) fn bridge(name: &InterfaceName, mark: &Mark) -> LinkMessage {
    of_kind(name, mark, InfoKind::Bridge)
}

/// A tunnel of the kernel's in this namespace, whose UDP sockets will be in the namespace of the netlink socket
/// that asks for it (drivers/net/wireguard/device.c, `wg_newlink`).
pub(in crate::backend::linux) fn wireguard(
    name: &InterfaceName,
    namespace: &OwnedFd,
    mark: &Mark,
) -> LinkMessage {
    of_kind(name, mark, InfoKind::Wireguard).in_namespace(namespace)
}

/// An interface of the socket's namespace that nothing is behind.
pub(in crate::backend::linux) fn dummy(name: &InterfaceName, mark: &Mark) -> LinkMessage {
    of_kind(name, mark, InfoKind::Dummy)
}

/// A VRF device of the socket's namespace.
pub(in crate::backend::linux) fn vrf(name: &InterfaceName, rtable: RtableId, mark: &Mark) -> LinkMessage {
    let data = InfoData::Vrf(vec![InfoVrf::TableId(rtable.number())]);
    with_data(name, mark, InfoKind::Vrf, data)
}

/// A VLAN in this namespace, on the link of this index in the socket's. It is up and down by itself, whatever
/// becomes of that link (`VLAN_FLAG_LOOSE_BINDING`, linux/if_vlan.h).
pub(in crate::backend::linux) fn vlan(
    name: &InterfaceName,
    id: u16,
    parent: u32,
    namespace: &OwnedFd,
    mark: &Mark,
) -> LinkMessage {
    let own_state = (VlanFlags::LooseBinding, VlanFlags::LooseBinding);
    let data = InfoData::Vlan(vec![InfoVlan::Id(id), InfoVlan::Flags(own_state)]);
    with_data(name, mark, InfoKind::Vlan, data).on(parent).in_namespace(namespace)
}

/// A macvlan in bridge mode in this namespace, on the link of this index in the socket's.
pub(in crate::backend::linux) fn macvlan(
    name: &InterfaceName,
    parent: u32,
    namespace: &OwnedFd,
    mark: &Mark,
) -> LinkMessage {
    let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]);
    with_data(name, mark, InfoKind::MacVlan, data).on(parent).in_namespace(namespace)
}

/// A VXLAN in this namespace, whose sockets will be in that of the netlink socket that asks for it.
pub(in crate::backend::linux) fn vxlan(
    name: &InterfaceName,
    vxlan: &Vxlan,
    namespace: &OwnedFd,
    mark: &Mark,
) -> LinkMessage {
    let mut data = vec![InfoVxlan::Id(vxlan.id), InfoVxlan::Port(vxlan.port)];
    data.extend(vxlan.local.map(|address| match address {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    }));
    data.extend(vxlan.remote.map(|address| match address {
        IpAddr::V4(address) => InfoVxlan::Group(address),
        IpAddr::V6(address) => InfoVxlan::Group6(address),
    }));
    data.extend(vxlan.device.map(InfoVxlan::Link));
    let mut link = with_data(name, mark, InfoKind::Vxlan, InfoData::Vxlan(data)).in_namespace(namespace);
    link.attributes.extend(vxlan.device.map(|_| LinkAttribute::Mtu(VXLAN_MTU)));
    link
}

/// What is added to a message by a word.
trait Placed {
    fn in_namespace(self, namespace: &OwnedFd) -> Self;
    fn on(self, parent: u32) -> Self;
}

impl Placed for LinkMessage {
    fn in_namespace(mut self, namespace: &OwnedFd) -> Self {
        self.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        self
    }

    fn on(mut self, parent: u32) -> Self {
        self.attributes.push(LinkAttribute::Link(parent));
        self
    }
}

fn with_data(name: &InterfaceName, mark: &Mark, kind: InfoKind, data: InfoData) -> LinkMessage {
    let mut link = half_made(name, mark);
    let info = vec![LinkInfo::Kind(kind), LinkInfo::Data(data)];
    link.attributes.push(LinkAttribute::LinkInfo(info));
    link
}

fn of_kind(name: &InterfaceName, mark: &Mark, kind: InfoKind) -> LinkMessage {
    let mut link = half_made(name, mark);
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
    link
}

fn half_made(name: &InterfaceName, mark: &Mark) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
    link.attributes.push(LinkAttribute::Group(mark.group()));
    link
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};
    use netlink_packet_route::link::LinkFlags;

    use super::*;
    use crate::backend::linux::link::{Driver, read};
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
    fn what_is_asked_for_is_read_back() {
        let namespace: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let set_up = Vxlan {
            id: 42,
            local: Some("192.0.2.1".parse().unwrap()),
            remote: Some("2001:db8::2".parse().unwrap()),
            port: 4789,
            device: Some(7),
        };
        let asked = [
            (dummy(&name("d"), &mark()), Driver::Dummy),
            (vrf(&name("v"), RtableId::new(300).unwrap(), &mark()), Driver::Vrf { table: 300 }),
            (vlan(&name("e.7"), 7, 4, &namespace, &mark()), Driver::Vlan { id: 7 }),
            (macvlan(&name("m"), 4, &namespace, &mark()), Driver::Macvlan),
            (vxlan(&name("x"), &set_up, &namespace, &mark()), Driver::Vxlan(set_up)),
        ];
        for (message, driver) in asked {
            let link = read(&wire(&message)).unwrap();
            assert_eq!(link.driver, driver);
            let stands = matches!(driver, Driver::Vlan { .. } | Driver::Macvlan);
            assert_eq!(link.parent.map(|parent| parent.index), stands.then_some(4));
        }
    }
}
