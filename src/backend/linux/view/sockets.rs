//! Sockets that wait for somebody: sock_diag(7), `SOCK_DIAG_BY_FAMILY`.
//!
//! TCP sockets in state LISTEN and UDP sockets in state CLOSE, which is that of an unconnected one
//! (net/ipv4/udp_diag.c); of these only those that have a port.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::SockDiagMessage as Message;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags};

use super::super::netlink::{Netlink, NetlinkError};
use super::scope::Scope;
use crate::status::{LinkFacts, Protocol, SocketView};

/// The listening sockets of a domain.
pub(super) fn dump(
    diag: &mut Netlink,
    scope: &Scope,
    links: &[LinkFacts],
) -> Result<Vec<SocketView>, NetlinkError> {
    let mut sockets = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for request in [request(AF_INET, protocol), request(AF_INET6, protocol)] {
            for answer in diag.dump(Message::InetRequest(request))? {
                let Message::InetResponse(response) = answer else { continue };
                if !scope.has_socket(response.header.socket_id.interface_id, links) {
                    continue;
                }
                sockets.extend(read(protocol, &response.header, links));
            }
        }
    }
    Ok(sockets)
}

/// The local addresses of a domain's connected sockets, TCP and UDP, one a socket.
pub(super) fn connected(
    diag: &mut Netlink,
    scope: &Scope,
    links: &[LinkFacts],
) -> Result<Vec<IpAddr>, NetlinkError> {
    let mut addresses = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for family in [AF_INET, AF_INET6] {
            let request = InetRequest { states: StateFlags::ESTABLISHED, ..request(family, protocol) };
            for answer in diag.dump(Message::InetRequest(request))? {
                let Message::InetResponse(response) = answer else { continue };
                let id = &response.header.socket_id;
                let ours = scope.has_socket(id.interface_id, links);
                addresses.extend(ours.then_some(id.source_address.to_canonical()));
            }
        }
    }
    Ok(addresses)
}

fn request(family: u8, protocol: Protocol) -> InetRequest {
    let (number, states) = match protocol {
        Protocol::Tcp => (IPPROTO_TCP, StateFlags::LISTEN),
        Protocol::Udp => (IPPROTO_UDP, StateFlags::CLOSE),
    };
    InetRequest {
        family,
        protocol: number,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id: if family == AF_INET6 { SocketId::new_v6() } else { SocketId::new_v4() },
    }
}

fn read(protocol: Protocol, header: &InetResponseHeader, links: &[LinkFacts]) -> Option<SocketView> {
    let id = &header.socket_id;
    let link = links.iter().find(|link| link.index == id.interface_id);
    let bound = id.source_port != 0 && id.destination_port == 0;
    bound.then(|| SocketView {
        protocol,
        local: SocketAddr::new(id.source_address, id.source_port),
        dev: link.map(|link| link.name.clone()),
        receive_queue: header.recv_queue,
        send_queue: match protocol {
            // For a listener this is the length of its backlog, not of a queue.
            Protocol::Tcp => 0,
            Protocol::Udp => header.send_queue,
        },
    })
}
