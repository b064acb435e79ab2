//! Which table of its namespace an rtable is (linux/rtnetlink.h, `enum rt_class_t`).
//!
//! A domain's own rtable is the namespace's main table or, where the domain has a VRF device, that device's table,
//! which has the domain's number. Every other rtable is the table of its number.

use netlink_packet_route::route::RouteHeader;

use crate::model::{DomainId, Isolation, RtableId};

/// The main table of a namespace.
const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// The tables of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    own: RtableId,
    own_table: u32,
}

impl Tables {
    pub(super) fn of(domain: DomainId, isolation: Isolation) -> Self {
        let own_table = if isolation.has_vrf() { domain.number() } else { MAIN };
        Self::with(domain, own_table)
    }

    /// Those of a domain whose own rtable is this one of the kernel's.
    pub(super) fn with(domain: DomainId, own_table: u32) -> Self {
        Self { own: domain.into(), own_table }
    }

    /// The kernel's number of an rtable.
    pub(super) fn number_of(self, rtable: RtableId) -> u32 {
        if rtable == self.own { self.own_table } else { rtable.number() }
    }

    /// The rtable that has this number in the kernel.
    pub(super) fn rtable_of(self, table: u32) -> Option<RtableId> {
        match table == self.own_table {
            true => Some(self.own),
            false => RtableId::new(table).ok().filter(|&rtable| rtable != self.own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domains_own_rtable_is_main_or_that_of_its_vrf() {
        let (five, ten) = (DomainId::new(5).unwrap(), RtableId::new(10).unwrap());
        let own: RtableId = five.into();
        for (isolation, table) in [(Isolation::Netns, 254), (Isolation::NetnsVrf, 5), (Isolation::Vrf, 5)] {
            let tables = Tables::of(five, isolation);
            assert_eq!((tables.number_of(own), tables.rtable_of(table)), (table, Some(own)));
            assert_eq!((tables.number_of(ten), tables.rtable_of(10)), (10, Some(ten)));
            assert_eq!(tables.rtable_of(255), None);
        }
        assert_eq!(Tables::of(five, Isolation::Netns).rtable_of(5), None, "nobody's");
        assert_eq!(Tables::of(five, Isolation::NetnsVrf).rtable_of(254), None, "nobody's");
    }
}
