//! A chain of namespaces, as fast as this kernel makes one: each with its loopback, a link to each neighbour with an IPv4
//! and an IPv6 address, and a default route towards the first. No model, no names, no marks, nothing asked before and
//! nothing looked at after; only that each link has its carrier, for before that packets are lost. `scripts/bench scale`
//! measures `rdom up` against it.
//!
//! Usage: floor N: makes the chain, prints `ready`, and keeps it until standard input ends.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, unshare};

const LOOPBACK: u32 = 1;
/// The link to the domain before.
const LEFT: u32 = 2;
/// The link to the domain behind.
const RIGHT: u32 = 3;

struct Domain {
    file: File,
    socket: Socket,
}

fn main() -> io::Result<()> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok());
    let count: usize = count.ok_or_else(|| io::Error::other("usage: floor N"))?;
    let chain = (0..count).map(|_| domain()).collect::<io::Result<Vec<_>>>()?;
    for (number, pair) in chain.windows(2).enumerate() {
        ask(&pair[0].socket, vec![(Message::NewLink(veth(&pair[1].file)), NLM_F_CREATE | NLM_F_EXCL)])?;
        ask(&pair[0].socket, end(RIGHT, number, 1))?;
        ask(&pair[1].socket, end(LEFT, number, 2))?;
    }
    for (number, domain) in chain.iter().enumerate() {
        let mut last = vec![(Message::SetLink(up(LOOPBACK)), 0)];
        if number > 0 {
            last.push((Message::NewRoute(default_route(number - 1)), NLM_F_CREATE));
        }
        ask(&domain.socket, last)?;
    }
    for (number, domain) in chain.iter().enumerate() {
        let ends = [(LEFT, number > 0), (RIGHT, number + 1 < count)];
        for (index, _) in ends.into_iter().filter(|(_, there)| *there) {
            while !has_carrier(&domain.socket, index)? {}
        }
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new()).map(|_| ())
}

fn domain() -> io::Result<Domain> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let file = File::open("/proc/thread-self/ns/net")?;
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(Domain { file, socket })
}

fn veth(far_namespace: &File) -> LinkMessage {
    let one_queue = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut far = LinkMessage::default();
    far.header.index = LEFT;
    far.attributes.push(LinkAttribute::IfName("left".to_owned()));
    far.attributes.extend(one_queue.clone());
    far.attributes.push(LinkAttribute::NetNsFd(far_namespace.as_raw_fd()));
    let mut near = LinkMessage::default();
    near.header.index = RIGHT;
    near.header.flags = LinkFlags::Up;
    near.header.change_mask = LinkFlags::Up;
    near.attributes.push(LinkAttribute::IfName("right".to_owned()));
    near.attributes.extend(one_queue);
    let peer = LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far)));
    near.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), peer]));
    near
}

/// What the end of a link gets.
fn end(index: u32, link: usize, host: u8) -> Vec<(Message, u16)> {
    let addresses = [(v4(link, host), 30), (v6(link, host), 64)];
    let mut messages = vec![(Message::SetLink(up(index)), 0)];
    messages.extend(addresses.into_iter().map(|(address, length)| {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.index = index;
        message.header.prefix_len = length;
        message.attributes.extend([AddressAttribute::Address(address), AddressAttribute::Local(address)]);
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        (Message::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }));
    messages
}

fn up(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    (link.header.flags, link.header.change_mask) = (LinkFlags::Up, LinkFlags::Up);
    link
}

fn default_route(link: usize) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = libc::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    let IpAddr::V4(gateway) = v4(link, 1) else { return route };
    route.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
    route
}

fn v4(link: usize, host: u8) -> IpAddr {
    Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + 4 * link as u32 + u32::from(host)).into()
}

fn v6(link: usize, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, link as u16, 0, 0, 0, u16::from(host)).into()
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Sends all of these at once; only the last one is answered, and none may fail.
fn ask(socket: &Socket, messages: Vec<(Message, u16)>) -> io::Result<()> {
    let (mut bytes, last) = (Vec::new(), messages.len() - 1);
    for (number, (message, flags)) in messages.into_iter().enumerate() {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags | if number == last { NLM_F_ACK } else { 0 };
        let mut whole = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        whole.finalize();
        let from = bytes.len();
        bytes.resize(from + whole.buffer_len(), 0);
        whole.serialize(&mut bytes[from..]);
    }
    socket.send(&bytes, 0)?;
    match answer(socket)?.payload {
        NetlinkPayload::Error(error) if error.raw_code() != 0 => Err(error.to_io()),
        _ => Ok(()),
    }
}

fn has_carrier(socket: &Socket, index: u32) -> io::Result<bool> {
    let mut query = LinkMessage::default();
    query.header.index = index;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut whole = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(Message::GetLink(query)));
    whole.finalize();
    let mut bytes = vec![0; whole.buffer_len()];
    whole.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let NetlinkPayload::InnerMessage(Message::NewLink(link)) = answer(socket)?.payload else {
        return Err(io::Error::other("no link"));
    };
    Ok(link.attributes.contains(&LinkAttribute::OperState(State::Up)))
}

fn answer(socket: &Socket) -> io::Result<NetlinkMessage<Message>> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    socket.recv(&mut buffer, 0)?;
    NetlinkMessage::deserialize(&buffer).map_err(io::Error::other)
}
