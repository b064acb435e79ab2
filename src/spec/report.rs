//! Collects what is wrong while reading goes on.

use std::fmt;

use crate::diagnostic::{Diagnostic, Place};

/// A value and the place where the file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> Placed<T> {
    pub(super) fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

impl<T: fmt::Display> fmt::Display for Placed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// What is wrong so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    list: Vec<Diagnostic>,
    errors: usize,
}

impl Report {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.is_error());
        self.list.push(diagnostic);
    }

    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    pub(super) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }
}
