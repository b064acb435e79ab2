//! Addresses of links: `RTM_GETADDR` (rtnetlink(7)).

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};

use super::super::netlink::{Netlink, NetlinkError};
use crate::status::{AddressFacts, LinkFacts};

/// Adds the addresses of the namespace to its links, IPv4 first.
pub(super) fn dump_into(route: &mut Netlink, links: &mut [LinkFacts]) -> Result<(), NetlinkError> {
    for answer in route.dump(Message::GetAddress(AddressMessage::default()))? {
        let Message::NewAddress(message) = answer else { continue };
        let link = links.iter_mut().find(|link| link.index == message.header.index);
        if let (Some(link), Some(address)) = (link, read(&message)) {
            link.addresses.push(address);
        }
    }
    for link in links {
        link.addresses.sort_by_key(|address| address.network.is_ipv6());
    }
    Ok(())
}

/// An address from the kernel's message.
///
/// `IFA_LOCAL` is the address; `IFA_ADDRESS` is the same or, on a point-to-point link, the other side's.
fn read(message: &AddressMessage) -> Option<AddressFacts> {
    let (mut local, mut remote, mut broadcast) = (None, None, None);
    let mut flags = u32::from(message.header.flags.bits());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Broadcast(address) => broadcast = Some(*address),
            AddressAttribute::Flags(all) => flags = all.bits(),
            _ => {}
        }
    }
    let own: IpAddr = local.or(remote)?;
    Some(AddressFacts {
        network: IpNetwork::new(own, message.header.prefix_len).ok()?,
        destination: remote.filter(|&remote| remote != own),
        broadcast,
        flags,
    })
}
