//! What a diagnostic or a kernel's error can be about.

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
