//! How names are looked up in a domain. No kernel knows of it, so no plan is about it.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Who answers a domain's programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dns {
    /// Whom the host's resolv.conf(5) names, as far as the domain reaches them; no daemon of the default domain.
    #[default]
    Unsaid,
    /// The daemons of the default domain as well: lookups leave the domain.
    Host,
    /// Whom the file names, and nobody else.
    Own(Resolver),
}

/// Where a domain's programs look names up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolver {
    /// Servers, in the order in which they are asked.
    pub servers: Vec<IpAddr>,
    /// Domains (in DNS's sense of the word) that a short name is tried in, in their order.
    pub search: Vec<String>,
    /// Names that need no server.
    pub hosts: BTreeMap<String, IpAddr>,
}

impl Dns {
    /// The files in /etc that the domain's programs see others in place of.
    pub fn files(&self) -> &'static [&'static str] {
        match self {
            Dns::Unsaid | Dns::Host => &[],
            Dns::Own(resolver) if resolver.servers.is_empty() && resolver.search.is_empty() => &["hosts"],
            Dns::Own(_) => &["resolv.conf", "hosts"],
        }
    }
}
