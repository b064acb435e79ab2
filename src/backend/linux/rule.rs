//! Policy rules: rtnetlink(7) `RTM_*RULE` messages, and what is read from them (linux/fib_rules.h).
//!
//! One rule of the model is one of the kernel's for each family that it is about. What is read is put together again; of
//! a rule that is there for one family only, that part is seen as a rule of its own, so that a plan removes it. A rule
//! for a whole family has its prefix as `from`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RuleUidRange};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::mark;
use super::netlink::{Netlink, NetlinkError};
use super::tables::Tables;
use crate::model::{Fwmark, InterfaceName, Prefix, Rule, Selector};

/// One rule of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    family: Family,
    priority: u32,
    from: Option<Prefix>,
    to: Option<Prefix>,
    iif: Option<InterfaceName>,
    uid: Option<(u32, u32)>,
    fwmark: Option<Fwmark>,
    table: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// Whether the kernel runs with IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6 {
    There,
    Missing,
}

/// Every rule of ours in the socket's namespace.
pub(super) fn dump(socket: &mut Netlink) -> Result<(BTreeSet<Part>, Ipv6), NetlinkError> {
    let mut parts = read_family(socket, AddressFamily::Inet)?;
    match read_family(socket, AddressFamily::Inet6) {
        Err(error) if matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {
            Ok((parts, Ipv6::Missing))
        }
        result => {
            parts.extend(result?);
            Ok((parts, Ipv6::There))
        }
    }
}

fn read_family(socket: &mut Netlink, family: AddressFamily) -> Result<BTreeSet<Part>, NetlinkError> {
    let mut query = RuleMessage::default();
    query.header.family = family;
    let answers = socket.dump(Message::GetRule(query))?;
    Ok(answers.iter().filter_map(of_answer).collect())
}

fn of_answer(answer: &Message) -> Option<Part> {
    match answer {
        Message::NewRule(message) => read(message),
        _ => None,
    }
}

/// A rule from the kernel's message; `None` if it is not ours.
fn read(message: &RuleMessage) -> Option<Part> {
    let header = &message.header;
    let family = if header.family == AddressFamily::Inet6 { Family::V6 } else { Family::V4 };
    let table = header.table.into();
    let mut part =
        Part { family, priority: 0, from: None, to: None, iif: None, uid: None, fwmark: None, table };
    let (mut ours, mut mark, mut mask) = (false, 0, None);
    let prefix = |address: &IpAddr, length| Some(Prefix::containing(IpNetwork::new(*address, length).ok()?));
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Protocol(protocol) => ours = mark::is_our_route(*protocol),
            RuleAttribute::Priority(priority) => part.priority = *priority,
            RuleAttribute::Source(address) => part.from = prefix(address, header.src_len),
            RuleAttribute::Destination(address) => part.to = prefix(address, header.dst_len),
            RuleAttribute::Iifname(name) => part.iif = InterfaceName::new(name.as_str()).ok(),
            RuleAttribute::UidRange(range) => part.uid = Some((range.start, range.end)),
            RuleAttribute::FwMark(value) => mark = *value,
            RuleAttribute::FwMask(value) => mask = Some(*value),
            RuleAttribute::Table(table) => part.table = *table,
            _ => {}
        }
    }
    part.fwmark = mask.map(|mask| Fwmark { value: mark, mask });
    (ours && header.action == RuleAction::ToTable).then_some(part)
}

/// The model's rules that these are, for a domain with these tables.
pub(super) fn whole(parts: &BTreeSet<Part>, ipv6: Ipv6, tables: Tables) -> BTreeSet<Rule> {
    let mut left = parts.clone();
    let mut rules = BTreeSet::new();
    while let Some(part) = left.first().cloned() {
        left.remove(&part);
        let fits = |rule: &Rule| parts_of(rule, ipv6, tables).iter().all(|part| parts.contains(part));
        let named = |rule: &Rule| parts_of(rule, ipv6, tables).contains(&part);
        let mut candidates = candidates(&part, tables).into_iter();
        let Some(rule) = candidates.find(|rule| named(rule) && fits(rule)) else { continue };
        for part in parts_of(&rule, ipv6, tables) {
            left.remove(&part);
        }
        rules.insert(rule);
    }
    rules
}

/// What a part may be of, the most general first.
fn candidates(part: &Part, tables: Tables) -> Vec<Rule> {
    let Some(rtable) = tables.rtable_of(part.table) else { return Vec::new() };
    let Part { from, to, iif, uid, fwmark, .. } = part.clone();
    let of_any_family = Selector { from, to, iif, uid, fwmark };
    let of_family = Selector { from: from.or(Some(part.family.whole())), ..of_any_family.clone() };
    [of_any_family, of_family].map(|selector| Rule { priority: part.priority, selector, rtable }).into()
}

/// The kernel's rules that a rule of a domain with these tables is made of, in the order of their making.
pub(super) fn parts_of(rule: &Rule, ipv6: Ipv6, tables: Tables) -> Vec<Part> {
    let Selector { from, to, iif, uid, fwmark } = &rule.selector;
    let families = match from.or(*to).map(Prefix::is_ipv6) {
        Some(true) => &[Family::V6][..],
        Some(false) => &[Family::V4],
        None if ipv6 == Ipv6::There => &[Family::V4, Family::V6],
        None => &[Family::V4],
    };
    let part = |&family: &Family| Part {
        family,
        priority: rule.priority,
        from: from.filter(|from| !from.is_default()),
        to: to.filter(|to| !to.is_default()),
        iif: iif.clone(),
        uid: *uid,
        fwmark: *fwmark,
        table: tables.number_of(rule.rtable),
    };
    families.iter().map(part).collect()
}

/// Adds one of the kernel's rules.
pub(super) fn add(socket: &mut Netlink, part: &Part) -> Result<(), NetlinkError> {
    socket.request(Message::NewRule(message(part)), NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
}

/// Removes one of the kernel's rules.
pub(super) fn remove(socket: &mut Netlink, part: &Part) -> Result<(), NetlinkError> {
    socket.request(Message::DelRule(message(part)), 0).map(|_| ())
}

fn message(part: &Part) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = part.family.number();
    message.header.action = RuleAction::ToTable;
    message.header.src_len = part.from.map_or(0, Prefix::length);
    message.header.dst_len = part.to.map_or(0, Prefix::length);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(part.priority));
    attributes.push(RuleAttribute::Table(part.table));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(mark::PROTOCOL)));
    attributes.extend(part.from.map(|from| RuleAttribute::Source(from.address())));
    attributes.extend(part.to.map(|to| RuleAttribute::Destination(to.address())));
    attributes.extend(part.iif.iter().map(|name| RuleAttribute::Iifname(name.to_string())));
    attributes.extend(part.uid.map(|(start, end)| RuleAttribute::UidRange(RuleUidRange { start, end })));
    if let Some(Fwmark { value, mask }) = part.fwmark {
        attributes.extend([RuleAttribute::FwMark(value), RuleAttribute::FwMask(mask)]);
    }
    message
}

impl Family {
    fn number(self) -> AddressFamily {
        match self {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }

    fn whole(self) -> Prefix {
        Prefix::everything_like(match self {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        })
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};

    use super::*;
    use crate::model::{DomainId, Isolation, RtableId};

    fn tables(isolation: Isolation) -> Tables {
        Tables::of(DomainId::new(5).unwrap(), isolation)
    }

    fn wire(part: &Part) -> Part {
        let message = message(part);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        read(&RuleMessage::parse(&bytes[..]).unwrap()).unwrap()
    }

    fn rule(priority: u32, rtable: u32, selector: Selector) -> Rule {
        Rule { priority, selector, rtable: RtableId::new(rtable).unwrap() }
    }

    fn of_every_selector() -> BTreeSet<Rule> {
        let prefix = |text: &str| Some(text.parse().unwrap());
        let any = Selector::default;
        BTreeSet::from([
            rule(1, 10, any()),
            rule(2, 5, any()),
            rule(3, 10, Selector { from: prefix("10.0.0.0/8"), ..any() }),
            rule(4, 10, Selector { from: prefix("0.0.0.0/0"), ..any() }),
            rule(5, 10, Selector { to: prefix("fd00::/8"), ..any() }),
            rule(6, 10, Selector { iif: Some(InterfaceName::new("veth0").unwrap()), ..any() }),
            rule(7, 10, Selector { uid: Some((1000, 1999)), ..any() }),
            rule(8, 10, Selector { fwmark: Some(Fwmark { value: 7, mask: u32::MAX }), ..any() }),
            rule(9, 300, Selector { fwmark: Some(Fwmark { value: 0, mask: 0xff }), ..any() }),
        ])
    }

    #[test]
    fn what_is_added_is_put_together_again() {
        for isolation in [Isolation::Netns, Isolation::NetnsVrf, Isolation::Vrf] {
            for ipv6 in [Ipv6::There, Ipv6::Missing] {
                let tables = tables(isolation);
                let mut rules = of_every_selector();
                if ipv6 == Ipv6::Missing {
                    rules.retain(|rule| rule.priority != 4);
                }
                let parts = rules.iter().flat_map(|rule| parts_of(rule, ipv6, tables));
                let parts = parts.map(|part| wire(&part)).collect();
                assert_eq!(whole(&parts, ipv6, tables), rules, "{isolation} {ipv6:?}");
            }
        }
    }

    #[test]
    fn half_a_rule_is_seen_and_is_not_that_rule() {
        let tables = tables(Isolation::Netns);
        let wanted = rule(1, 10, Selector::default());
        for half in parts_of(&wanted, Ipv6::There, tables) {
            let there = BTreeSet::from([half]);
            let seen = whole(&there, Ipv6::There, tables);
            assert!(seen.len() == 1 && !seen.contains(&wanted), "{seen:?}");
            let named = seen.iter().flat_map(|rule| parts_of(rule, Ipv6::There, tables));
            assert_eq!(named.collect::<BTreeSet<_>>(), there, "removing what is seen removes all");
        }
    }

    #[test]
    fn rules_of_others_are_left_out() {
        let part =
            parts_of(&rule(1, 10, Selector::default()), Ipv6::There, tables(Isolation::Netns)).remove(0);
        let mut foreign = message(&part);
        foreign.attributes.retain(|attribute| !matches!(attribute, RuleAttribute::Protocol(_)));
        assert_eq!(read(&foreign), None);
    }
}
