//! Which place of the file each object comes from, so that a kernel's refusal can point at the line it is about.

use std::collections::BTreeMap;

use crate::diagnostic::Place;
use crate::model::Object;

/// The places of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    places: BTreeMap<Object, Place>,
}

impl Origins {
    /// Where the file says this, or else what it is part of; `None` where the file says neither.
    pub fn place(&self, object: &Object) -> Option<Place> {
        let mut object = object.clone();
        loop {
            if let Some(&place) = self.places.get(&object) {
                return Some(place);
            }
            object = object.parent()?;
        }
    }

    /// Where the file says exactly this.
    pub fn own_place(&self, object: &Object) -> Option<Place> {
        self.places.get(object).copied()
    }

    pub(super) fn add(&mut self, object: Object, place: Place) {
        self.places.insert(object, place);
    }

    pub(super) fn rename(&mut self, rename: impl Fn(&mut Object)) {
        let places = std::mem::take(&mut self.places).into_iter();
        self.places = places
            .map(|(mut object, place)| {
                rename(&mut object);
                (object, place)
            })
            .collect();
    }
}
