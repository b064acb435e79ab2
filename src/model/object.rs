//! What a diagnostic or a kernel's error can be about.

use std::fmt;

use super::interface::Address;
use super::name::{DomainId, End, RtableId, SysctlName};
use super::prefix::Prefix;

/// An object of a network: what a step changes, and what has a place in the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A domain.
    Domain(DomainId),
    /// An interface.
    Interface(End),
    /// An address of an interface.
    Address(End, Address),
    /// A peer of a tunnel, by the file's word for it.
    Peer(End, String),
    /// A route: rtable, destination and metric.
    Route(DomainId, RtableId, Prefix, u32),
    /// A policy rule, by its priority.
    Rule(DomainId, u32),
    /// A sysctl.
    Sysctl(DomainId, SysctlName),
}

/// As a message names it: `1/wg1`, `route 10.0.0.0/8 of rtable 10 of domain 1`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Domain(domain) => write!(f, "domain {domain}"),
            Object::Interface(end) => end.fmt(f),
            Object::Address(end, address) => write!(f, "address {address} of {end}"),
            Object::Peer(end, peer) => write!(f, "peer {peer} of {end}"),
            Object::Route(domain, rtable, to, _) => match *rtable == RtableId::from(*domain) {
                true => write!(f, "route {to} of domain {domain}"),
                false => write!(f, "route {to} of rtable {rtable} of domain {domain}"),
            },
            Object::Rule(domain, priority) => write!(f, "rule {priority} of domain {domain}"),
            Object::Sysctl(domain, name) => write!(f, "sysctl {name} of domain {domain}"),
        }
    }
}

impl Object {
    /// The domain that it is, or is in.
    pub fn domain(&self) -> DomainId {
        match self {
            Object::Domain(domain) | Object::Route(domain, ..) => *domain,
            Object::Rule(domain, _) | Object::Sysctl(domain, _) => *domain,
            Object::Interface(at) | Object::Address(at, _) | Object::Peer(at, _) => at.domain,
        }
    }

    /// What it is part of.
    pub fn parent(&self) -> Option<Object> {
        match self {
            Object::Domain(_) => None,
            Object::Interface(end) => Some(Object::Domain(end.domain)),
            Object::Address(end, _) | Object::Peer(end, _) => Some(Object::Interface(end.clone())),
            Object::Route(domain, ..) | Object::Rule(domain, _) | Object::Sysctl(domain, _) => {
                Some(Object::Domain(*domain))
            }
        }
    }
}
