//! Whether VRF devices can be made: tried in a network namespace that nobody else sees.
//!
//! Asking for a device makes the kernel load the module where there is one (`rtnl_newlink`, net/core/rtnetlink.c).

use std::io;
use std::thread;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVrf, LinkAttribute, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sched::{CloneFlags, unshare};

/// Whether this process can make VRF devices in a namespace of its own.
pub fn vrf() -> bool {
    let attempt = || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        make(vrf_device())
    };
    thread::scope(|scope| scope.spawn(attempt).join()).is_ok_and(|made| made.is_ok())
}

/// The namespace and what was made in it go with the thread.
fn make(link: LinkMessage) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(link), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.raw_code() != 0 => Err(error.to_io()),
        _ => Ok(()),
    }
}

fn vrf_device() -> LinkMessage {
    let table = LinkInfo::Data(InfoData::Vrf(vec![InfoVrf::TableId(1)]));
    device(vec![LinkInfo::Kind(InfoKind::Vrf), table])
}

fn device(info: Vec<LinkInfo>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName("probe".to_owned()), LinkAttribute::LinkInfo(info)];
    link
}

fn request(link: LinkMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let mut message =
        NetlinkMessage::new(header, NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_bridges_and_none_has_nonsense() {
        let attempt = |kind: InfoKind| {
            let attempt = || {
                unshare(CloneFlags::CLONE_NEWNET)?;
                make(device(vec![LinkInfo::Kind(kind)]))
            };
            thread::scope(|scope| scope.spawn(attempt).join()).unwrap()
        };
        if let Err(error) = attempt(InfoKind::Bridge) {
            // Who may not make namespaces is told so, and no more.
            assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}");
            assert!(!vrf());
            return;
        }
        assert!(attempt(InfoKind::Other("nonsense".to_owned())).is_err());
    }

    #[test]
    fn the_answer_is_the_same_twice_and_leaves_this_thread_where_it_was() {
        let namespace = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = namespace();
        assert_eq!(vrf(), vrf());
        assert_eq!(namespace(), before);
    }
}
