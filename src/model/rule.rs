//! Policy rules: which rtable a packet is looked up in (ip-rule(8), linux/fib_rules.h).

use std::fmt;

use super::name::{InterfaceName, RtableId};
use super::prefix::Prefix;

/// A rule of a domain. Rules are asked in the order of their priorities, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Its place in the order; a file's are unique in their domain. Before the kernel's rule for local addresses is 0.
    pub priority: u32,
    /// Which packets it is about.
    pub selector: Selector,
    /// What becomes of them.
    pub action: Action,
}

/// What a rule does with its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// They are looked up in an rtable; if that has no route for them, the next rule is asked.
    Lookup(RtableId),
    /// The next rule that is asked is the one of this priority. If there is none, the rule means nothing.
    GoTo(u32),
    /// The next rule is asked.
    Continue,
}

/// What a packet must be like; what is `None` does not matter. Without an address it is about both families.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Its source.
    pub from: Option<Prefix>,
    /// Its destination.
    pub to: Option<Prefix>,
    /// The interface that it came in by.
    pub iif: Option<InterfaceName>,
    /// The user whose socket it is of: first and last id.
    pub uid: Option<(u32, u32)>,
    /// Its mark.
    pub fwmark: Option<Fwmark>,
    /// Whether it must belong to a VRF device, by the interface that it came in by or the one that its socket is bound to.
    pub in_vrf: bool,
}

/// A mark of a packet under a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fwmark {
    /// The mark.
    pub value: u32,
    /// The bits of it that matter.
    pub mask: u32,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.priority, self.selector, self.action)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Lookup(rtable) => write!(f, "rtable {rtable}"),
            Action::GoTo(priority) => write!(f, "goto {priority}"),
            Action::Continue => f.write_str("nop"),
        }
    }
}

/// In the words of ip-rule(8), each part followed by a space; nothing for a selector that every packet meets.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Selector { from, to, iif, uid, fwmark, in_vrf } = self;
        from.iter().try_for_each(|from| write!(f, "from {from} "))?;
        to.iter().try_for_each(|to| write!(f, "to {to} "))?;
        iif.iter().try_for_each(|iif| write!(f, "iif {iif} "))?;
        uid.iter().try_for_each(|(first, last)| write!(f, "uid {first}-{last} "))?;
        fwmark.iter().try_for_each(|fwmark| write!(f, "fwmark {fwmark} "))?;
        f.write_str(if *in_vrf { "l3mdev " } else { "" })
    }
}

impl fmt::Display for Fwmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask == u32::MAX { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
    }
}
