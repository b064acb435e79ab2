//! How an object in an OpenBSD kernel is known to be ours.
//!
//! Interfaces have a description, `rdom:NETWORK`; a domain is its loopback, whose description ends with the domain's
//! name, `rdom:NETWORK/NAME`. Routes have a label, `rdom:NETWORK`. Addresses have no such thing: all of an interface
//! of ours are ours, those on others' interfaces are remembered (the backend).

use crate::model::{DomainName, NetworkName};

/// What fits into a description (net/if.h, `IFDESCRSIZE`, less the NUL).
pub const DESCRIPTION_MAX: usize = 63;

/// What fits into a label (net/route.h, `RTLABEL_LEN`, less the NUL).
pub const LABEL_MAX: usize = 31;

/// What objects of one network carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The mark of this network.
    pub fn of(network: &NetworkName) -> Self {
        Self(format!("rdom:{network}"))
    }

    /// The network whose object this describes.
    pub fn network(description: &str) -> Option<NetworkName> {
        let rest = description.strip_prefix("rdom:")?;
        NetworkName::new(rest.split('/').next()?).ok()
    }

    /// The description of an interface and the label of a route.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The description of a domain's loopback.
    pub fn of_domain(&self, name: &DomainName) -> String {
        format!("{}/{name}", self.0)
    }

    /// Whether a description is ours.
    pub fn is_on(&self, description: &str) -> bool {
        description == self.0 || self.domain(description).is_some()
    }

    /// The name of the domain whose loopback this describes.
    pub fn domain(&self, description: &str) -> Option<DomainName> {
        let name = description.strip_prefix(&self.0)?.strip_prefix('/')?;
        DomainName::new(name).ok()
    }
}
