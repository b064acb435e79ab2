//! How an object in the kernel is known to be ours. A name alone never is a mark.
//!
//! Links carry an alias (`IFLA_IFALIAS`), routes a protocol number (`rtm_protocol`), addresses one too
//! (`IFA_PROTO`, linux/if_addr.h), namespaces a record in the ledger. Before Linux 5.18 addresses have none: there
//! the ledger names those that are ours. An alias cannot be given in the message that makes a link, a group can: a
//! link that is being made is in our group until it has its alias, so that one left half-made by a crash is known too.

use netlink_packet_route::address::AddressProtocol;
use netlink_packet_route::route::RouteProtocol;

use crate::model::{DomainId, NetworkName};

/// The protocol number of our routes and addresses: `r`, free in iproute2's rt_protos and in linux/rtnetlink.h.
pub const PROTOCOL: u8 = 114;

/// What links of one network carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    alias: String,
    group: u32,
}

impl Mark {
    /// That of this network.
    pub fn of(network: &NetworkName) -> Self {
        let spread = |hash: u16, byte| hash.wrapping_mul(31).wrapping_add(u16::from(byte));
        let hash = network.as_str().bytes().fold(7, spread);
        Self { alias: format!("rdom:{network}"), group: u32::from_be_bytes(*b"rd\0\0") | u32::from(hash) }
    }

    /// That of the links of a domain that has no namespace of its own: they are told by it from the default domain's.
    pub fn within(&self, domain: DomainId) -> Self {
        Self { alias: format!("{}/{domain}", self.alias), group: self.group }
    }

    /// Whether a link of this alias is of this network or, if this is a domain's mark, of this domain.
    pub fn is_on(&self, alias: &str) -> bool {
        let rest = alias.strip_prefix(&self.alias);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The alias of a finished link.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// The group of a link that has no alias yet.
    pub fn group(&self) -> u32 {
        self.group
    }
}

/// Whose routes and rules are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Ours.
    Ours,
    /// Those that somebody typed, or a script, as well: neither the kernel's nor a routing daemon's.
    Administrators,
}

impl Whose {
    /// Whether those of this protocol number are among them.
    pub(super) fn has(self, protocol: RouteProtocol) -> bool {
        match self {
            Whose::Ours => u8::from(protocol) == PROTOCOL,
            Whose::Administrators => {
                // ip-rule(8) says none.
                let typed = [RouteProtocol::Boot, RouteProtocol::Static, RouteProtocol::Unspec];
                typed.contains(&protocol) || Whose::Ours.has(protocol)
            }
        }
    }
}

/// Whether an address is ours.
pub(super) fn is_our_address(protocol: AddressProtocol) -> bool {
    u8::from(protocol) == PROTOCOL
}

/// Whether this kernel keeps the protocol number of an address; those before Linux 5.18 drop it without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AddressMarks {
    /// No address has been added yet by which it would show.
    #[default]
    Unknown,
    Kept,
    Dropped,
}
