//! Addresses: rtnetlink(7) `RTM_*ADDR` messages, and what is read from them.
//!
//! Ours carry `IFA_PROTO`, or are in the ledger where the kernel drops that. IPv6 addresses are usable at once (`IFA_F_NODAD`) unless duplicate detection was asked for.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};

use super::mark;
use super::netlink::{Netlink, NetlinkError};
use crate::model::Address;
use crate::state::DomainRecord;

/// An address as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) index: u32,
    pub(super) address: Address,
    pub(super) ours: bool,
}

impl Held {
    /// The same, with what the ledger knows of whose it is.
    pub(super) fn judged_by(self, record: &DomainRecord) -> Self {
        Self { ours: self.ours || self.is_noted(record), ..self }
    }

    /// Whether the ledger names it as this network's.
    pub(super) fn is_noted(&self, record: &DomainRecord) -> bool {
        let text = self.address.network.to_string();
        record.addresses.get(&self.index).is_some_and(|held| held.contains(&text))
    }

    /// Whether it reaches no farther than the link, as those that the kernel makes of itself do (RFC 4291, 2.5.6).
    pub(super) fn is_link_local(&self) -> bool {
        match self.address.network.ip() {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
    }
}

/// Every address of the socket's namespace.
pub(super) fn dump(socket: &mut Netlink) -> Result<Vec<Held>, NetlinkError> {
    Ok(messages(socket)?.iter().filter_map(read).collect())
}

/// The same in the kernel's words.
pub(super) fn messages(socket: &mut Netlink) -> Result<Vec<AddressMessage>, NetlinkError> {
    let answers = socket.dump(Message::GetAddress(AddressMessage::default()))?;
    let address = |answer| match answer {
        Message::NewAddress(message) => Some(message),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(address).collect())
}

/// Adds an address again as the kernel told of it.
pub(super) fn add_again(socket: &mut Netlink, message: AddressMessage) -> Result<(), NetlinkError> {
    socket.request(Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

/// An address from the kernel's message.
///
/// `IFA_LOCAL` is the address; `IFA_ADDRESS` is the same or, on a point-to-point link, the other side's.
pub(super) fn read(message: &AddressMessage) -> Option<Held> {
    let (mut local, mut remote, mut ours) = (None, None, false);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Flags(all) => flags = *all,
            AddressAttribute::Protocol(protocol) => ours = mark::is_our_address(*protocol),
            _ => {}
        }
    }
    let network = IpNetwork::new(local.or(remote)?, message.header.prefix_len).ok()?;
    let duplicate_detection = network.is_ipv6() && !flags.contains(AddressFlags::Nodad);
    Some(Held { index: message.header.index, address: Address { network, duplicate_detection }, ours })
}

/// Adds an address of ours to the link of this index, and fails if it has it already.
pub(super) fn add(socket: &mut Netlink, index: u32, address: Address) -> Result<(), NetlinkError> {
    socket.request(Message::NewAddress(added(index, address)), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

/// Removes an address from the link of this index.
pub(super) fn remove(socket: &mut Netlink, index: u32, address: Address) -> Result<(), NetlinkError> {
    socket.request(Message::DelAddress(message(index, address)), 0).map(|_| ())
}

fn added(index: u32, address: Address) -> AddressMessage {
    let mut message = message(index, address);
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(mark::PROTOCOL)));
    if address.network.is_ipv6() && !address.duplicate_detection {
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    message
}

fn message(index: u32, address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = address.network.ip();
    message.header.index = index;
    message.header.prefix_len = address.network.prefix();
    message.header.family = if ip.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.scope = if ip.is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};

    use super::*;

    fn address(text: &str) -> Address {
        Address::new(text.parse().unwrap())
    }

    fn wire(message: &AddressMessage) -> AddressMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        AddressMessage::parse(&bytes[..]).unwrap()
    }

    #[test]
    fn what_is_added_is_read_back_as_ours() {
        let detected = Address { duplicate_detection: true, ..address("fd00::2/64") };
        for address in [address("192.168.5.1/24"), address("fd00::1/64"), address("10.0.0.1/32"), detected] {
            let held = read(&wire(&added(3, address)));
            assert_eq!(held, Some(Held { index: 3, address, ours: true }));
        }
    }

    /// What Linux 6.18 dumped of a namespace whose `lo` had just gone up.
    const LO: [&[u8]; 2] = [
        &[
            2, 8, 128, 254, 1, 0, 0, 0, 8, 0, 1, 0, 127, 0, 0, 1, 8, 0, 2, 0, 127, 0, 0, 1, 7, 0, 3, 0, 108,
            111, 0, 0, 8, 0, 8, 0, 128, 0, 0, 0, 20, 0, 6, 0, 255, 255, 255, 255, 255, 255, 255, 255, 235,
            228, 5, 0, 235, 228, 5, 0,
        ],
        &[
            10, 128, 128, 254, 1, 0, 0, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 20,
            0, 6, 0, 255, 255, 255, 255, 255, 255, 255, 255, 235, 228, 5, 0, 235, 228, 5, 0, 8, 0, 8, 0, 128,
            0, 0, 0, 5, 0, 11, 0, 1, 0, 0, 0,
        ],
    ];

    #[test]
    fn the_kernels_own_addresses_are_not_ours() {
        let held = LO.map(|bytes| read(&AddressMessage::parse(bytes).unwrap()).unwrap());
        assert_eq!(held[0], Held { index: 1, address: address("127.0.0.1/8"), ours: false });
        assert_eq!((held[1].address.network, held[1].ours), (address("::1/128").network, false));
        assert!(held.iter().all(|held| !held.is_link_local()));
    }

    #[test]
    fn the_near_address_of_a_point_to_point_link_counts() {
        let mut message = message(5, address("10.1.0.1/32"));
        message.attributes[1] = AddressAttribute::Address("10.1.0.2".parse().unwrap());
        assert_eq!(read(&wire(&message)).map(|held| held.address), Some(address("10.1.0.1/32")));
    }
}
