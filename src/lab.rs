//! Networks that are tested: what is done to one while it is up.

mod stage;

pub use stage::Stage;
