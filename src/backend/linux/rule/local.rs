//! The kernel's rule for local addresses, which is asked first (priority 0), and is not ours: it is put behind rules of
//! ours of the same priority and given back as it was.
//!
//! Rules of one priority are asked in the order of their making (`fib_nl_newrule`, net/core/fib_rules.c). So a second
//! rule like the kernel's is made behind ours, and then the one before ours removed: there is one at every moment. When
//! ours goes, what is left is what was there at first. Whoever calls holds the namespace's lock, for two networks that
//! did this at the same time might remove both.

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::{Family, Part, is_of, messages, read};
use crate::backend::linux::mark::Whose;
use crate::backend::linux::netlink::{Netlink, NetlinkError};

/// The table of local addresses (linux/rtnetlink.h, `RT_TABLE_LOCAL`).
const LOCAL: u8 = 255;

/// Whether this is the rule for local addresses where the kernel has it.
pub(super) fn is_first_local(message: &RuleMessage) -> bool {
    let mut attributes = message.attributes.iter();
    let is_plain = attributes.all(|attribute| match attribute {
        RuleAttribute::Priority(priority) => *priority == 0,
        RuleAttribute::Table(table) => *table == u32::from(LOCAL),
        RuleAttribute::Protocol(protocol) => *protocol == RouteProtocol::Kernel,
        RuleAttribute::SuppressPrefixLen(length) => *length == u32::MAX,
        RuleAttribute::SuppressIfGroup(group) => *group == u32::MAX,
        _ => false,
    });
    is_plain
        && message.header.action == RuleAction::ToTable
        && message.header.table == LOCAL
        && (message.header.src_len, message.header.dst_len) == (0, 0)
}

/// Puts it behind these, those of them that are to be asked before it.
pub(in crate::backend::linux) fn hold_back(socket: &mut Netlink, parts: &[Part]) -> Result<(), NetlinkError> {
    for part in parts.iter().filter(|part| part.is_before_local()) {
        let rules = messages(socket, part.family)?;
        let local = rules.iter().position(is_first_local);
        let ours =
            rules.iter().position(|rule| is_of(rule, Whose::Ours) && read(rule).as_ref() == Some(part));
        if let (Some(local), Some(ours)) = (local, ours)
            && local < ours
        {
            socket.request(Message::NewRule(like_the_kernels(part.family)), NLM_F_CREATE)?;
            socket.request(Message::DelRule(like_the_kernels(part.family)), 0)?;
        }
    }
    restore(socket)
}

/// Removes all but one of each family: a second one is what a crash has left.
pub(in crate::backend::linux) fn restore(socket: &mut Netlink) -> Result<(), NetlinkError> {
    for family in [Family::V4, Family::V6] {
        let Ok(rules) = messages(socket, family) else { continue };
        for _ in rules.iter().filter(|rule| is_first_local(rule)).skip(1) {
            socket.request(Message::DelRule(like_the_kernels(family)), 0)?;
        }
    }
    Ok(())
}

/// As `fib_default_rule_add` makes it. Asked to remove it, the kernel removes the first one.
fn like_the_kernels(family: Family) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family.number();
    message.header.action = RuleAction::ToTable;
    message.header.table = LOCAL;
    message.attributes = vec![
        RuleAttribute::Priority(0),
        RuleAttribute::Table(LOCAL.into()),
        RuleAttribute::Protocol(RouteProtocol::Kernel),
    ];
    message
}
