//! `netstat -R`: the domains that have an interface, and the rtables of each, as netstat(1) prints them.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::DomainId;

/// A domain, its interfaces and its rtables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdomainView {
    /// Its number.
    pub domain: u32,
    /// Its name.
    pub name: String,
    /// Its interfaces, in the kernel's order.
    pub interfaces: Vec<String>,
    /// Its rtables: its own number, then the others.
    pub rtables: Vec<u32>,
}

impl RdomainView {
    /// A domain with these interfaces, and with rtables of these numbers beside its own.
    pub fn new(domain: DomainId, name: String, interfaces: Vec<String>, others: &BTreeSet<u32>) -> Self {
        let own = domain.number();
        let rtables = [own].into_iter().chain(others.iter().copied().filter(|&other| other != own)).collect();
        Self { domain: own, name, interfaces, rtables }
    }

    /// The same with these rtables among the others.
    pub fn with_rtables(mut self, further: BTreeSet<u32>) -> Self {
        let others: BTreeSet<u32> = self.rtables.drain(1..).chain(further).collect();
        self.rtables.extend(others.into_iter().filter(|&other| other != self.domain));
        self
    }
}

impl fmt::Display for RdomainView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Rdomain {}", self.domain)?;
        let plural = if self.interfaces.len() == 1 { "" } else { "s" };
        writeln!(f, "  Interface{plural}: {}", self.interfaces.join(" "))?;
        let plural = if self.rtables.len() == 1 { "" } else { "s" };
        write!(f, "  Routing table{plural}:")?;
        self.rtables.iter().try_for_each(|rtable| write!(f, " {rtable}"))?;
        writeln!(f, "\n")
    }
}

/// The domains that have an interface, in ascending order.
pub fn render_rdomains(domains: &[RdomainView]) -> String {
    let mut inhabited: Vec<_> = domains.iter().filter(|domain| !domain.interfaces.is_empty()).collect();
    inhabited.sort_by_key(|domain| domain.domain);
    inhabited.into_iter().map(RdomainView::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::domain;
    use super::*;

    fn view(number: u32, interfaces: &[&str], others: &[u32]) -> RdomainView {
        let interfaces = interfaces.iter().map(|name| name.to_string()).collect();
        let others = others.iter().copied().collect();
        RdomainView::new(domain(number), format!("rdom{number}"), interfaces, &others)
    }

    #[test]
    fn domains_print_as_openbsd_does() {
        let domains = [view(1, &["lo", "wg1"], &[]), view(0, &["lo"], &[9, 5, 0]), view(2, &[], &[])];
        assert_eq!(
            render_rdomains(&domains),
            "\
Rdomain 0
  Interface: lo
  Routing tables: 0 5 9

Rdomain 1
  Interfaces: lo wg1
  Routing table: 1

"
        );
    }
}
