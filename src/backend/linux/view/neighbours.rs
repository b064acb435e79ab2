//! Hosts on the links whose link addresses the kernel knows: `RTM_GETNEIGH` (rtnetlink(7)).
//!
//! Entries of links that resolve nothing (`NUD_NOARP`) and those that got no answer (`NUD_FAILED`) are no hosts.

use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as Nud,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::super::netlink::{Netlink, NetlinkError};
use super::links::ethernet_address;
use crate::status::{NeighbourFacts, NeighbourState};

/// Every neighbour of the namespace.
pub(super) fn dump(route: &mut Netlink) -> Result<Vec<NeighbourFacts>, NetlinkError> {
    let mut neighbours = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut query = NeighbourMessage::default();
        query.header.family = family;
        let answers = route.dump(Message::GetNeighbour(query))?;
        neighbours.extend(answers.iter().filter_map(of_answer));
    }
    Ok(neighbours)
}

fn of_answer(answer: &Message) -> Option<NeighbourFacts> {
    match answer {
        Message::NewNeighbour(message) => read(message),
        _ => None,
    }
}

fn read(message: &NeighbourMessage) -> Option<NeighbourFacts> {
    let (mut address, mut lladdr) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => lladdr = Some(ethernet_address(bytes)),
            _ => {}
        }
    }
    let state = match message.header.state {
        Nud::Incomplete => NeighbourState::Incomplete,
        Nud::Reachable | Nud::Stale | Nud::Delay | Nud::Probe | Nud::Permanent => {
            NeighbourState::Resolved(lladdr?)
        }
        _ => return None,
    };
    Some(NeighbourFacts { address: address?, index: message.header.ifindex, state })
}
