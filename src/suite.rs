//! Runs what a file asserts about its network, from inside the domains that it names.
//!
//! What must become true is asked again until it is, or its time is over; what must not happen is watched for all of
//! its time. So no test sleeps, and none passes only because it looked too early.

mod assertion;
mod inside;
mod report;
mod verdict;

pub use report::{github, junit, summary, tap};
pub use verdict::{FileReport, Kept, Outcome, Verdict, exit_status};

use std::time::{Duration, Instant};

use crate::backend::BackendError;
use crate::backend::linux::Namespace;
use crate::model::{DomainId, InterfaceName};
use crate::spec::Test;
use crate::status::SocketTable;
use inside::Inside;

/// Where tests run: the domains of a network that is up.
pub trait Ground {
    /// The namespace of a domain.
    fn namespace(&self, domain: DomainId) -> Option<&Namespace>;

    /// The device that sockets of a domain are bound to, if it has no namespace of its own.
    fn device(&self, domain: DomainId) -> Option<InterfaceName>;

    /// The sockets of a domain that wait for somebody.
    fn sockets(&self, domain: DomainId) -> Result<SocketTable, BackendError>;

    /// A command that becomes these words as a citizen of a domain.
    fn command(&self, domain: DomainId, words: &[String]) -> std::process::Command;
}

/// Runs one test; `number` is its own among those of its file, from 0.
pub fn run(number: usize, test: &Test, ground: &dyn Ground) -> Verdict {
    let started = Instant::now();
    let failure = match ground.namespace(test.inside) {
        None => Some(format!("there is no domain {}", test.inside)),
        Some(namespace) => {
            let inside = Inside { namespace, device: ground.device(test.inside) };
            assertion::failure(test, &inside, ground, started + test.within)
        }
    };
    Verdict {
        number,
        domain: test.inside.number(),
        name: test.name.clone(),
        asserted: test.assertion.to_string(),
        duration_secs: started.elapsed().as_secs_f64(),
        failure,
        line: test.place.line,
    }
}

/// The time between two looks at something that is not yet as it should be.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is nothing to complain of, or until the deadline: then the last complaint.
fn until(deadline: Instant, mut complaint: impl FnMut(Duration) -> Option<String>) -> Option<String> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let complaint = complaint(left)?;
        if Instant::now() + PAUSE >= deadline {
            return Some(complaint);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_true_in_time_is_no_failure_and_what_does_not_is() {
        let soon = Instant::now() + Duration::from_millis(200);
        let mut looks = 0;
        let third_time = until(soon, |_| {
            looks += 1;
            (looks < 3).then(|| "not yet".to_owned())
        });
        assert_eq!((third_time, looks), (None, 3));
        let soon = Instant::now() + Duration::from_millis(50);
        assert_eq!(until(soon, |_| Some("never".into())), Some("never".into()));
    }
}
