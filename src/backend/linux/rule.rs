//! Policy rules: rtnetlink(7) `RTM_*RULE` messages, and what is read from them (linux/fib_rules.h).
//!
//! One rule of the model is one of the kernel's for each family that it is about. What is read is put together again; of
//! a rule that is there for one family only, that part is seen as a rule of its own, so that a plan removes it. A rule
//! for a whole family has its prefix as `from`.

mod local;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RuleUidRange};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use nix::errno::Errno;

use super::mark::{self, Whose};
use super::netlink::{Netlink, NetlinkError};
use super::tables::Tables;
use crate::model::{Action, Fwmark, InterfaceName, Prefix, Rule, Selector};
pub(super) use local::{hold_back, restore};

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
    in_vrf: bool,
    act: Act,
}

/// What one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Table(u32),
    GoTo(u32),
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Part {
    /// Whether it is to be asked before the kernel's rule for local addresses.
    pub(super) fn is_before_local(&self) -> bool {
        self.priority == 0
    }
}

/// Whether the kernel runs with IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ipv6 {
    There,
    Missing,
}

/// The rules of ours in a namespace.
#[derive(Debug)]
pub(super) struct Dump {
    pub(super) parts: BTreeSet<Part>,
    /// Those that are to come before the kernel's rule for local addresses, and do not.
    pub(super) misplaced: BTreeSet<Part>,
    /// The priorities of others' rules for which there is no [`Part`].
    strange: BTreeSet<u32>,
    pub(super) ipv6: Ipv6,
}

/// Every rule of ours in the socket's namespace.
pub(super) fn dump(socket: &mut Netlink) -> Result<Dump, NetlinkError> {
    dump_of(socket, Whose::Ours)
}

/// Every rule of theirs in the socket's namespace.
pub(super) fn dump_of(socket: &mut Netlink, whose: Whose) -> Result<Dump, NetlinkError> {
    let (parts, misplaced, strange) = Default::default();
    let mut dump = Dump { parts, misplaced, strange, ipv6: Ipv6::There };
    dump.add(&messages(socket, Family::V4)?, whose);
    match messages(socket, Family::V6) {
        Err(error) if matches!(error.errno(), Some(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP)) => {
            dump.ipv6 = Ipv6::Missing;
        }
        result => dump.add(&result?, whose),
    }
    Ok(dump)
}

impl Dump {
    /// Takes the rules of a family, in the order in which they are asked.
    fn add(&mut self, messages: &[RuleMessage], whose: Whose) {
        let local = messages.iter().position(local::is_first_local);
        let theirs = messages.iter().enumerate().filter(|(_, message)| is_of(message, whose));
        for (place, message) in theirs {
            let whole = whose == Whose::Ours || !says_more(message);
            let Some(part) = read(message).filter(|_| whole) else {
                self.strange.insert(priority(message));
                continue;
            };
            if part.is_before_local() && local.is_some_and(|local| local < place) {
                self.misplaced.insert(part.clone());
            }
            self.parts.insert(part);
        }
    }

    /// The priorities of what is not in these rules, which are made of it.
    pub(super) fn left_by(&self, rules: &BTreeSet<Rule>, tables: Tables) -> BTreeSet<u32> {
        let told: BTreeSet<Part> = rules.iter().flat_map(|rule| parts_of(rule, self.ipv6, tables)).collect();
        let untold = self.parts.difference(&told).map(|part| part.priority);
        untold.chain(self.strange.iter().copied()).collect()
    }
}

fn is_of(message: &RuleMessage, whose: Whose) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, RuleAttribute::Protocol(protocol) if whose.has(*protocol)))
}

fn priority(message: &RuleMessage) -> u32 {
    let priority = message.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Priority(priority) => Some(*priority),
        _ => None,
    });
    priority.unwrap_or(0)
}

/// Whether a rule asks or does what a [`Part`] has no words for, or means the opposite.
fn says_more(message: &RuleMessage) -> bool {
    let is_known = |attribute: &RuleAttribute| match attribute {
        RuleAttribute::Protocol(_) | RuleAttribute::Priority(_) | RuleAttribute::Table(_) => true,
        RuleAttribute::Source(_) | RuleAttribute::Destination(_) | RuleAttribute::Iifname(_) => true,
        RuleAttribute::UidRange(_) | RuleAttribute::FwMark(_) | RuleAttribute::FwMask(_) => true,
        RuleAttribute::L3MDev(_) | RuleAttribute::Goto(_) => true,
        // None.
        RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::SuppressIfGroup(u32::MAX) => true,
        _ => false,
    };
    message.header.tos != 0
        || message.header.flags.contains(RuleFlags::Invert)
        || !message.attributes.iter().all(is_known)
}

fn messages(socket: &mut Netlink, family: Family) -> Result<Vec<RuleMessage>, NetlinkError> {
    let mut query = RuleMessage::default();
    query.header.family = family.number();
    let answers = socket.dump(Message::GetRule(query))?;
    Ok(answers.into_iter().filter_map(of_answer).collect())
}

fn of_answer(answer: Message) -> Option<RuleMessage> {
    match answer {
        Message::NewRule(message) => Some(message),
        _ => None,
    }
}

/// A rule from the kernel's message; `None` if it does what none of ours does.
fn read(message: &RuleMessage) -> Option<Part> {
    let header = &message.header;
    let family = if header.family == AddressFamily::Inet6 { Family::V6 } else { Family::V4 };
    let mut part = Part {
        family,
        priority: 0,
        from: None,
        to: None,
        iif: None,
        uid: None,
        fwmark: None,
        in_vrf: false,
        act: Act::Continue,
    };
    let (mut mark, mut mask) = (0, None);
    let (mut table, mut target) = (header.table.into(), None);
    let prefix = |address: &IpAddr, length| Some(Prefix::containing(IpNetwork::new(*address, length).ok()?));
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => part.priority = *priority,
            RuleAttribute::Source(address) => part.from = prefix(address, header.src_len),
            RuleAttribute::Destination(address) => part.to = prefix(address, header.dst_len),
            RuleAttribute::Iifname(name) => part.iif = InterfaceName::new(name.as_str()).ok(),
            RuleAttribute::UidRange(range) => part.uid = Some((range.start, range.end)),
            RuleAttribute::FwMark(value) => mark = *value,
            RuleAttribute::FwMask(value) => mask = Some(*value),
            RuleAttribute::L3MDev(in_vrf) => part.in_vrf = *in_vrf,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Goto(priority) => target = Some(*priority),
            _ => {}
        }
    }
    part.fwmark = mask.map(|mask| Fwmark { value: mark, mask });
    part.act = match header.action {
        RuleAction::ToTable => Act::Table(table),
        RuleAction::Goto => Act::GoTo(target?),
        RuleAction::Nop => Act::Continue,
        _ => return None,
    };
    Some(part)
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
    let action = match part.act {
        Act::Table(table) => tables.rtable_of(table).map(Action::Lookup),
        Act::GoTo(priority) => Some(Action::GoTo(priority)),
        Act::Continue => Some(Action::Continue),
    };
    let Some(action) = action else { return Vec::new() };
    let Part { from, to, iif, uid, fwmark, in_vrf, .. } = part.clone();
    let of_any_family = Selector { from, to, iif, uid, fwmark, in_vrf };
    let of_family = Selector { from: from.or(Some(part.family.whole())), ..of_any_family.clone() };
    [of_any_family, of_family].map(|selector| Rule { priority: part.priority, selector, action }).into()
}

/// The kernel's rules that a rule of a domain with these tables is made of, in the order of their making.
pub(super) fn parts_of(rule: &Rule, ipv6: Ipv6, tables: Tables) -> Vec<Part> {
    let Selector { from, to, iif, uid, fwmark, in_vrf } = &rule.selector;
    let act = match rule.action {
        Action::Lookup(rtable) => Act::Table(tables.number_of(rtable)),
        Action::GoTo(priority) => Act::GoTo(priority),
        Action::Continue => Act::Continue,
    };
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
        in_vrf: *in_vrf,
        act,
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
    message.header.action = match part.act {
        Act::Table(_) => RuleAction::ToTable,
        Act::GoTo(_) => RuleAction::Goto,
        Act::Continue => RuleAction::Nop,
    };
    message.header.src_len = part.from.map_or(0, Prefix::length);
    message.header.dst_len = part.to.map_or(0, Prefix::length);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(part.priority));
    match part.act {
        Act::Table(table) => attributes.push(RuleAttribute::Table(table)),
        Act::GoTo(priority) => attributes.push(RuleAttribute::Goto(priority)),
        Act::Continue => {}
    }
    if part.in_vrf {
        attributes.push(RuleAttribute::L3MDev(true));
    }
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
        Rule { priority, selector, action: Action::Lookup(RtableId::new(rtable).unwrap()) }
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
            Rule {
                priority: 0,
                selector: Selector { fwmark: Some(Fwmark { value: 5, mask: 0 }), in_vrf: true, ..any() },
                action: Action::GoTo(1),
            },
            Rule { priority: 1, selector: any(), action: Action::Continue },
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
        assert!(is_of(&message(&part), Whose::Ours) && !is_of(&foreign, Whose::Ours));
    }
}
