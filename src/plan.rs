//! The ordered difference between two networks. Pure: no IO, cannot fail.

mod step;

pub use step::Step;
