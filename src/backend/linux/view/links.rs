//! Links, without their addresses: `RTM_GETLINK` (rtnetlink(7)).

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, Stats64};

use super::super::netlink::{Netlink, NetlinkError};
use crate::status::{Counters, LinkFacts, LinkKind};

/// How our marks begin; a mark is no description.
const MARK: &str = "rdom:";

/// Every link of the namespace, in the kernel's order.
pub(super) fn dump(route: &mut Netlink) -> Result<Vec<LinkFacts>, NetlinkError> {
    let answers = route.dump(Message::GetLink(LinkMessage::default()))?;
    Ok(answers.iter().filter_map(of_answer).collect())
}

fn of_answer(answer: &Message) -> Option<LinkFacts> {
    match answer {
        Message::NewLink(message) => read(message),
        _ => None,
    }
}

/// A link from the kernel's message; `None` if it has no name.
fn read(message: &LinkMessage) -> Option<LinkFacts> {
    let (mut name, mut driver, mut mtu, mut lladdr, mut alias, mut master) =
        (None, None, 0, None, None, None);
    let mut counters = Counters::default();
    let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Mtu(bytes) => mtu = *bytes,
            LinkAttribute::Address(bytes) if is_ethernet => lladdr = Some(ethernet_address(bytes)),
            LinkAttribute::IfAlias(text) => alias = Some(text.clone()),
            LinkAttribute::Controller(index) => master = Some(*index).filter(|&index| index != 0),
            LinkAttribute::Stats64(stats) => counters = counters_of(stats),
            LinkAttribute::LinkInfo(infos) => driver = infos.iter().find_map(driver_word),
            _ => {}
        }
    }
    let flags = message.header.flags.bits();
    Some(LinkFacts {
        index: message.header.index,
        name: name?,
        kind: LinkKind::of(driver, flags, lladdr.as_ref()),
        flags,
        mtu,
        lladdr,
        alias: alias.filter(|alias: &String| !alias.starts_with(MARK)),
        master,
        counters,
        addresses: Vec::new(),
    })
}

fn counters_of(stats: &Stats64) -> Counters {
    Counters {
        rx_bytes: stats.rx_bytes,
        rx_packets: stats.rx_packets,
        rx_errors: stats.rx_errors,
        rx_dropped: stats.rx_dropped,
        tx_bytes: stats.tx_bytes,
        tx_packets: stats.tx_packets,
        tx_errors: stats.tx_errors,
        tx_dropped: stats.tx_dropped,
    }
}

fn driver_word(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// Six bytes as everybody writes them.
pub(super) fn ethernet_address(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
