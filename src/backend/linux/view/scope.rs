//! What of a namespace is a domain's: all of it, or what belongs to a VRF device, or what belongs to none of them.

use std::collections::BTreeSet;

use crate::model::{DomainId, InterfaceName, Isolation};
use crate::status::LinkFacts;

/// What of a namespace to look at. The default is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The domain's table, where it has a VRF device.
    pub(super) own_table: Option<u32>,
    /// The VRF device that stands for the domain.
    only: Option<String>,
    /// The VRF devices that stand for other domains.
    but: BTreeSet<String>,
    /// The tables of those.
    foreign_tables: BTreeSet<u32>,
}

impl Scope {
    /// Of a domain of this isolation; `guests` are the domains that have no namespace of their own, with the numbers
    /// of their rtables.
    pub fn of(domain: DomainId, isolation: Isolation, guests: &[(DomainId, BTreeSet<u32>)]) -> Self {
        let device = |id| InterfaceName::of_vrf(id).to_string();
        let own_table = isolation.has_vrf().then(|| domain.number());
        if !isolation.has_namespace() {
            let of_others =
                |(other, tables): &(DomainId, BTreeSet<u32>)| (*other != domain).then(|| tables.clone());
            let foreign_tables = guests.iter().filter_map(of_others).flatten().collect();
            return Self { own_table, only: Some(device(domain)), but: BTreeSet::new(), foreign_tables };
        }
        let guests = guests.iter().filter(|_| domain.is_default());
        let (but, tables): (BTreeSet<_>, Vec<_>) =
            guests.map(|(id, tables)| (device(*id), tables.clone())).unzip();
        Self { own_table, only: None, but, foreign_tables: tables.into_iter().flatten().collect() }
    }

    /// Whether the domain shares its namespace and is not the default one.
    pub(super) fn is_guest(&self) -> bool {
        self.only.is_some()
    }

    /// Whether a table that is not the domain's own is one of its further ones.
    pub(super) fn is_further_table(&self, table: u32) -> bool {
        !self.foreign_tables.contains(&table)
    }

    /// Whether a link is the domain's; `links` are all of the namespace.
    pub(super) fn has_link(&self, link: &LinkFacts, links: &[LinkFacts]) -> bool {
        let top = top(link, links);
        match &self.only {
            Some(device) => top == device,
            None => !self.but.contains(top),
        }
    }

    /// Whether a link is the VRF device that stands for the domain.
    pub(super) fn is_device(&self, link: &LinkFacts) -> bool {
        self.only.as_ref() == Some(&link.name)
    }

    /// Whether a socket is the domain's that is bound to the link of this index, 0 for none.
    pub(super) fn has_socket(&self, index: u32, links: &[LinkFacts]) -> bool {
        match links.iter().find(|link| link.index == index) {
            Some(link) => self.has_link(link, links),
            None => !self.is_guest(),
        }
    }
}

/// The name of the link that controls this one, directly or not; its own if none does.
fn top<'l>(link: &'l LinkFacts, links: &'l [LinkFacts]) -> &'l str {
    let mut top = link;
    // Controllers cannot form a circle (netdev_master_upper_dev_link, net/core/dev.c).
    while let Some(controller) = top.master.and_then(|index| links.iter().find(|link| link.index == index)) {
        top = controller;
    }
    &top.name
}
