//! The number by which one namespace knows another (`RTM_GETNSID`, linux/net_namespace.h).

use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::netlink::{Netlink, NetlinkError};

/// That of `namespace` in the socket's; `None` if it has none there, so that no link can lead to it.
pub(super) fn of(socket: &mut Netlink, namespace: &OwnedFd) -> Result<Option<i32>, NetlinkError> {
    let mut query = NsidMessage::default();
    query.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd() as u32));
    let answers = socket.request(Message::GetNsId(query), 0)?;
    Ok(answers.iter().find_map(id).filter(|&id| id >= 0))
}

fn id(answer: &Message) -> Option<i32> {
    let Message::NewNsId(message) = answer else { return None };
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) => Some(*id),
        _ => None,
    })
}
