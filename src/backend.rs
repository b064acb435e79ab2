//! Looks at a kernel and takes one step. What differs between systems is below here and nowhere else.

#[cfg(target_os = "linux")]
pub mod linux;
pub mod openbsd;
pub mod recorded;

use std::error::Error;

use thiserror::Error;

use crate::model::Network;
use crate::plan::Step;

/// A kernel, or something that behaves like one.
pub trait Backend {
    /// Reads back what this network has there, foreign objects left out but for interfaces of the default domain.
    fn observe(&mut self) -> Result<Network, BackendError>;

    /// Takes one step; what a refused one leaves behind, [`Backend::observe`] sees.
    fn apply(&mut self, step: &Step) -> Result<(), BackendError>;

    /// Takes the first of these steps, of which there is at least one, and as many more as it takes at the price of one;
    /// returns how many. Where the first is refused none is taken.
    fn apply_some(&mut self, steps: &[Step]) -> Result<usize, BackendError> {
        self.apply(&steps[0]).map(|()| 1)
    }
}

/// What a kernel refused, in its own words, and what to do about it where that is known.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct BackendError {
    /// What went wrong, the object named.
    pub message: String,
    /// What to type or change instead.
    pub help: Option<String>,
    /// What it is for a user.
    pub nature: Nature,
    /// The kernel's or the library's own words.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a refusal is for a user: whether another file, or another kernel, is the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// It was refused as things are.
    Refused,
    /// This kernel does not have it.
    Unsupported,
}

impl BackendError {
    /// An error without a cause behind it.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, nature: Nature::Refused, source: None }
    }

    /// The same error, caused by this.
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same error with advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The advice that a backend gave somewhere in the chain.
pub fn help_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e str> {
    let own = error.downcast_ref::<BackendError>().and_then(|error| error.help.as_deref());
    own.or_else(|| help_of(error.source()?))
}
