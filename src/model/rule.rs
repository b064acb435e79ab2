//! Policy rules: which rtable a packet is looked up in (ip-rule(8), linux/fib_rules.h).

use std::fmt;

use super::name::{InterfaceName, RtableId};
use super::prefix::Prefix;

/// A rule of a domain. Rules are asked in the order of their priorities, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Its place in the order; unique in its domain.
    pub priority: u32,
    /// Which packets it is about.
    pub selector: Selector,
    /// Where they are looked up.
    pub rtable: RtableId,
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
        write!(f, "{}: {}rtable {}", self.priority, self.selector, self.rtable)
    }
}

/// Each part followed by a space; nothing for a selector that every packet meets.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Selector { from, to, iif, uid, fwmark } = self;
        from.iter().try_for_each(|from| write!(f, "from {from} "))?;
        to.iter().try_for_each(|to| write!(f, "to {to} "))?;
        iif.iter().try_for_each(|iif| write!(f, "iif {iif} "))?;
        uid.iter().try_for_each(|(first, last)| write!(f, "uid {first}-{last} "))?;
        fwmark.iter().try_for_each(|fwmark| write!(f, "fwmark {fwmark} "))
    }
}

impl fmt::Display for Fwmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask == u32::MAX { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
    }
}
