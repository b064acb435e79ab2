//! Policy rules, whoever made them: `RTM_GETRULE` (rtnetlink(7)), in the words of ip-rule(8).

use std::net::IpAddr;

use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::super::netlink::{Netlink, NetlinkError};
use crate::status::{Family, RuleView};

/// The rules of a family, in the kernel's order, which is that in which they are asked. The kernel's own are left out.
pub(super) fn dump(route: &mut Netlink, family: Family) -> Result<Vec<RuleView>, NetlinkError> {
    let mut query = RuleMessage::default();
    query.header.family = match family {
        Family::Inet => AddressFamily::Inet,
        Family::Inet6 => AddressFamily::Inet6,
    };
    let answers = match route.dump(Message::GetRule(query)) {
        // A kernel without IPv6 has no rules of it.
        Err(error) if matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => Vec::new(),
        result => result?,
    };
    let messages = answers.iter().filter_map(|answer| match answer {
        Message::NewRule(message) => Some(message),
        _ => None,
    });
    Ok(messages.filter(|message| !is_the_kernels(message)).map(read).collect())
}

fn is_the_kernels(message: &RuleMessage) -> bool {
    message.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Kernel))
}

fn read(message: &RuleMessage) -> RuleView {
    let header = &message.header;
    let (mut priority, mut from, mut more) = (0, "all".to_owned(), String::new());
    let (mut table, mut target, mut mark, mut mask) = (u32::from(header.table), 0, 0, u32::MAX);
    let prefix = |address: &IpAddr, length: u8| format!("{address}/{length}");
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Source(address) => from = prefix(address, header.src_len),
            RuleAttribute::Destination(address) => {
                more += &format!(" to {}", prefix(address, header.dst_len))
            }
            RuleAttribute::Iifname(name) => more += &format!(" iif {name}"),
            RuleAttribute::Oifname(name) => more += &format!(" oif {name}"),
            RuleAttribute::UidRange(range) => more += &format!(" uidrange {}-{}", range.start, range.end),
            RuleAttribute::L3MDev(true) => more += " l3mdev",
            RuleAttribute::FwMark(value) => mark = *value,
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Goto(number) => target = *number,
            _ => {}
        }
    }
    match (mark, mask) {
        (0, u32::MAX) => {}
        (mark, u32::MAX) => more += &format!(" fwmark {mark:#x}"),
        (mark, mask) => more += &format!(" fwmark {mark:#x}/{mask:#x}"),
    }
    let action = match header.action {
        RuleAction::ToTable => format!("lookup {table}"),
        RuleAction::Goto => format!("goto {target}"),
        RuleAction::Nop => "nop".to_owned(),
        RuleAction::Blackhole => "blackhole".to_owned(),
        RuleAction::Unreachable => "unreachable".to_owned(),
        RuleAction::Prohibit => "prohibit".to_owned(),
        _ => "do something else".to_owned(),
    };
    RuleView { priority, selector: format!("from {from}{more}"), action }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_ip_rule_prints_it() {
        let mut message = RuleMessage::default();
        message.header.src_len = 8;
        message.header.action = RuleAction::ToTable;
        message.attributes = vec![
            RuleAttribute::Priority(5),
            RuleAttribute::Source("10.0.0.0".parse().unwrap()),
            RuleAttribute::Iifname("eth0".into()),
            RuleAttribute::FwMark(7),
            RuleAttribute::FwMask(0xff),
            RuleAttribute::Table(300),
        ];
        let RuleView { priority, selector, action } = read(&message);
        assert_eq!(priority, 5);
        assert_eq!(
            (selector.as_str(), action.as_str()),
            ("from 10.0.0.0/8 iif eth0 fwmark 0x7/0xff", "lookup 300")
        );
        message.header.action = RuleAction::Prohibit;
        message.attributes.clear();
        assert_eq!(read(&message).action, "prohibit");
        assert_eq!(read(&message).selector, "from all");
    }
}
