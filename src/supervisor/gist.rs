//! What of a document is of use once its network is what it says: the network itself is desired by then, and where the
//! file says what was needed to tell of failures.

use std::collections::BTreeMap;

use super::services;
use crate::model::{Control, Drift, End, Impairment, Service};
use crate::spec::{Document, Source};

/// A document, less what is needed no more.
pub(super) struct Gist {
    pub(super) source: Source,
    pub(super) drift: Drift,
    pub(super) control: Control,
    /// As [`services::of`] has them.
    pub(super) services: Vec<Service>,
    impairments: BTreeMap<End, Impairment>,
}

impl Gist {
    pub(super) fn of(document: &Document) -> Self {
        let lowered = &document.lowered;
        let impaired = lowered.network.interfaces().map(|(at, interface)| (at, interface.impairment));
        Self {
            source: document.source.clone(),
            drift: lowered.drift,
            control: lowered.control.clone(),
            services: services::of(document),
            impairments: impaired.filter(|(_, impairment)| *impairment != Impairment::default()).collect(),
        }
    }

    /// Whether another document has, beside its network, all that this one has.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.drift, &self.control, &self.services) == (other.drift, &other.control, &other.services)
    }

    /// What the file has an interface do to packets.
    pub(super) fn impairment(&self, at: &End) -> Impairment {
        self.impairments.get(at).copied().unwrap_or_default()
    }
}
