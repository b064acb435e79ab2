//! Whether the kernel has a WireGuard driver: its generic netlink family can be resolved (linux/wireguard.h).
//!
//! Asking for the family makes the kernel load the module where there is one.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

/// Whether the kernel can run WireGuard interfaces itself.
pub fn kernel_wireguard() -> bool {
    resolve("wireguard").unwrap_or(false)
}

fn resolve(family: &str) -> io::Result<bool> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(family), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<GenlMessage<GenlCtrl>>::deserialize(&answer).map_err(io::Error::other)?;
    Ok(matches!(answer.payload, NetlinkPayload::InnerMessage(_)))
}

fn request(family: &str) -> Vec<u8> {
    let nlas = vec![GenlCtrlAttrs::FamilyName(family.to_owned())];
    let payload = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas });
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(payload));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_itself_is_always_there_and_nonsense_never() {
        assert!(resolve("nlctrl").unwrap());
        assert!(!resolve("no-such-family").unwrap());
    }
}
