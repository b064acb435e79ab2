//! From one network to another, or back to where it started.
//!
//! There is no hand-written undo: what was there before is observed first, and a failure ends in the plan that leads
//! back to it. So a rollback is as good as a plan, and both are held to the same laws.

mod explain;
mod signals;

use std::{fmt, iter};

use thiserror::Error;
use tracing::{info, warn};

use crate::backend::{Backend, BackendError};
use crate::model::{Kind, Network, Object};
use crate::plan::{Step, plan};

pub use explain::explain;
pub use signals::Signals;

/// What a successful change did.
#[derive(Debug)]
pub struct Outcome {
    /// The steps that were taken, in order; none if there was nothing to do.
    pub taken: Vec<Step>,
    /// What there was before them.
    pub before: Network,
}

/// A change that did not come about.
#[derive(Debug, Error)]
#[error("{what}; {restored}", what = self.what())]
pub struct Failure {
    /// The step that failed or was not reached; none when looking at the kernel failed.
    pub step: Option<Step>,
    /// Why.
    #[source]
    pub cause: Cause,
    /// What became of the steps before it.
    pub restored: Restored,
}

impl Failure {
    fn what(&self) -> String {
        match &self.step {
            Some(step) => format!("cannot {step}"),
            None => "cannot look at the kernel".to_owned(),
        }
    }
}

/// Why a change did not come about.
#[derive(Debug, Error)]
pub enum Cause {
    /// The kernel refused a step, or to be looked at.
    #[error("{0}")]
    Backend(#[from] BackendError),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Every step was taken, and yet the kernel does not hold what was asked for.
    #[error("the kernel took every step and still differs: {}", listed(.0))]
    Unsettled(Vec<Step>),
}

/// What became of the steps that were taken before one failed.
#[derive(Debug)]
pub enum Restored {
    /// Nothing had been changed.
    Untouched,
    /// All were taken back: this many steps.
    Completely(usize),
    /// Some could not be: this one, for this reason.
    Partly(Box<(Step, BackendError)>),
    /// The kernel could not be looked at.
    Unknown(BackendError),
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Restored::Untouched => f.write_str("nothing was changed"),
            Restored::Completely(1) => f.write_str("everything is as it was before (1 step taken back)"),
            Restored::Completely(steps) => {
                write!(f, "everything is as it was before ({steps} steps taken back)")
            }
            Restored::Partly(left) => {
                let (step, error) = &**left;
                write!(f, "not everything could be taken back: cannot {step}: {error}")
            }
            Restored::Unknown(error) => write!(f, "what is left could not be seen: {error}"),
        }
    }
}

/// Makes a kernel hold `desired`: observes, plans, takes each step, and plans again, which must find nothing.
///
/// `interrupted` is asked before each step. On any failure what was there before is restored.
pub fn converge(
    backend: &mut dyn Backend,
    desired: &Network,
    interrupted: &dyn Fn() -> bool,
) -> Result<Outcome, Box<Failure>> {
    let before = backend.observe().map_err(|cause| unseen(cause, Restored::Untouched))?;
    let steps = plan(desired, &before);
    let mut left = steps.as_slice();
    while let Some(step) = left.first() {
        match take(backend, left, interrupted) {
            Ok(taken) => left = &left[taken..],
            Err(cause) => {
                let restored = restore(backend, &before);
                return Err(Box::new(Failure { step: Some(step.clone()), cause, restored }));
            }
        }
    }
    let after = match backend.observe() {
        Ok(after) => after,
        Err(cause) => return Err(unseen(cause, restore(backend, &before))),
    };
    let left = plan(desired, &after);
    let Some(step) = left.first().cloned() else { return Ok(Outcome { taken: steps, before }) };
    let restored = restore(backend, &before);
    Err(Box::new(Failure { step: Some(step), cause: Cause::Unsettled(left), restored }))
}

/// What could be put back, and what not.
#[derive(Debug, Default)]
pub struct Mended {
    /// The steps that were taken.
    pub taken: Vec<Step>,
    /// Those that were refused. What is part of their objects was not tried.
    pub refused: Vec<(Step, BackendError)>,
}

/// Takes each of these steps that is not refused. For what somebody else broke: all or nothing would leave everything
/// broken for the sake of one thing.
pub fn mend(backend: &mut dyn Backend, steps: &[Step]) -> Mended {
    let mut mended = Mended::default();
    let mut left = steps;
    while let Some(step) = left.first() {
        if mended.has_refused(&step.object()) {
            left = &left[1..];
            continue;
        }
        let count = match backend.apply_some(left) {
            Ok(taken) => {
                left[..taken].iter().for_each(|step| info!(%step, "taken"));
                mended.taken.extend_from_slice(&left[..taken]);
                taken
            }
            Err(error) => {
                mended.refused.push((step.clone(), error));
                1
            }
        };
        left = &left[count..];
    }
    mended
}

impl Mended {
    /// Whether a step about this object, or about what it is part of, was refused.
    fn has_refused(&self, object: &Object) -> bool {
        let mut whole = iter::successors(Some(object.clone()), Object::parent);
        whole.any(|part| self.refused.iter().any(|(step, _)| step.object() == part))
    }
}

fn unseen(cause: BackendError, restored: Restored) -> Box<Failure> {
    Box::new(Failure { step: None, cause: cause.into(), restored })
}

/// Takes the first of these steps, and perhaps more; returns how many.
fn take(backend: &mut dyn Backend, steps: &[Step], interrupted: &dyn Fn() -> bool) -> Result<usize, Cause> {
    if interrupted() {
        return Err(Cause::Interrupted);
    }
    let taken = backend.apply_some(steps)?;
    steps[..taken].iter().for_each(|step| info!(%step, "taken"));
    Ok(taken)
}

/// Makes what there was before out of what there is.
///
/// A step may have been taken in part: a backend of command lines cannot take every one whole.
pub fn restore(backend: &mut dyn Backend, before: &Network) -> Restored {
    let now = match backend.observe() {
        Ok(now) => now,
        Err(error) => return Restored::Unknown(error),
    };
    let steps = plan(&without_bystanders(before), &now);
    let mut left = steps.as_slice();
    while let Some(step) = left.first() {
        match backend.apply_some(left) {
            Ok(taken) => {
                left[..taken].iter().for_each(|step| info!(%step, "taken back"));
                left = &left[taken..];
            }
            Err(error) => {
                warn!(%step, %error, "not taken back");
                return Restored::Partly(Box::new((step.clone(), error)));
            }
        }
    }
    if steps.is_empty() { Restored::Untouched } else { Restored::Completely(steps.len()) }
}

/// The network less the interfaces of others that hold nothing of ours: they may come and go.
fn without_bystanders(network: &Network) -> Network {
    let mut network = network.clone();
    for domain in network.domains.values_mut() {
        domain.interfaces.retain(|_, held| held.kind != Kind::Existing || !held.addresses.is_empty());
    }
    network
}

fn listed(steps: &[Step]) -> String {
    steps.iter().map(Step::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_is_counted_as_one_says_it() {
        let told = |steps| Restored::Completely(steps).to_string();
        assert_eq!(told(1), "everything is as it was before (1 step taken back)");
        assert_eq!(told(2), "everything is as it was before (2 steps taken back)");
    }
}
