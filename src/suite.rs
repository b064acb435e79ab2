//! Runs what a file asserts about its network, from inside the domains that it names.
//!
//! What must become true is asked again until it is, or its time is over; what must not happen is watched for all of
//! its time. So no test sleeps, and none passes only because it looked too early.

mod assertion;
mod evidence;
mod ground;
mod inside;
mod recording;
mod report;
mod wires;

pub use crate::status::{FileReport, Kept, Outcome, Verdict, exit_status};
pub use ground::{Enter, Ground, Perform, Services};
pub use report::{github, junit, summary, tap};

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::spec::{Act, Assertion, Lowered, Test, Turn};

/// Runs tests in their order, each with its number among those of its file, and tells what came of each.
///
/// What must not happen is watched while the tests behind it run, until the next program is.
fn run_all(tests: &[(usize, Test)], ground: &Ground, mut tell: impl FnMut(Verdict)) {
    let is_alone = |test: &Test| matches!(test.assertion, Assertion::Exec { .. });
    for group in tests.chunk_by(|(_, one), (_, next)| !is_alone(one) && !is_alone(next)) {
        thread::scope(|scope| {
            let mut watched = Vec::new();
            for (number, test) in group {
                let judge = move || run(*number, test, ground);
                match test.assertion.is_watch() {
                    true => watched.push(scope.spawn(judge)),
                    false => tell(judge()),
                }
            }
            // A test that nothing came of must not be forgotten.
            let verdicts =
                watched.into_iter().map(|watched| watched.join().unwrap_or_else(|it| resume_unwind(it)));
            verdicts.for_each(&mut tell);
        });
    }
}

/// Carries out a file's tests and then its steps, and tells what came of each test that `is_chosen`. A step that cannot be taken is a failure, and nothing is done after it.
pub fn carry_out(
    lowered: &Lowered,
    is_chosen: impl Fn(&Test) -> bool,
    ground: &mut Ground,
    mut tell: impl FnMut(Verdict),
) {
    let turns = lowered.tests.iter().cloned().map(Turn::Test).chain(lowered.steps.iter().cloned());
    let mut due = Vec::new();
    for (number, turn) in turns.enumerate() {
        match turn {
            Turn::Test(test) if is_chosen(&test) => due.push((number, test)),
            Turn::Test(_) => {}
            Turn::Act(act) => {
                run_all(&std::mem::take(&mut due), ground, &mut tell);
                let started = Instant::now();
                if let Err(failure) = ground.perform(&act.action) {
                    return tell(not_done(&act, number, started, failure, ground));
                }
            }
        }
    }
    run_all(&due, ground, tell);
}

/// What came of a step that could not be taken.
fn not_done(act: &Act, number: usize, started: Instant, failure: String, ground: &Ground) -> Verdict {
    Verdict {
        number,
        domain: None,
        name: act.text.clone(),
        asserted: act.text.clone(),
        duration_secs: started.elapsed().as_secs_f64(),
        failure: Some(failure),
        evidence: Some(Box::new(evidence::of_step(ground))),
        capture: None,
        line: act.place.line,
    }
}

/// Runs one test; `number` is its place among the tests and steps of its file, from 0.
fn run(number: usize, test: &Test, ground: &Ground) -> Verdict {
    let started = Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hasty = test.within.is_none() && assertion::is_settled(test, ground);
    let deadline = if hasty { started } else { started + test.time() };
    let mut failure = assertion::failure(test, ground, deadline);
    let duration_secs = started.elapsed().as_secs_f64();
    let evidence = failure.is_some().then(|| Box::new(evidence::of(test, ground)));
    let saved = evidence.as_ref().and_then(|it| ground.save(test.place.line, &it.interfaces, since));
    if let (Some(failure), Some(Err(error))) = (&mut failure, &saved) {
        failure.push_str(&format!("\nits packets could not be kept: {error}"));
    }
    Verdict {
        number,
        domain: test.inside.map(|inside| inside.number()),
        name: test.name.clone(),
        asserted: test.asserted.clone(),
        duration_secs,
        failure,
        evidence,
        capture: saved.and_then(Result::ok),
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
        thread::sleep(PAUSE);
    }
}

/// Looks again and again until there is something to complain of, or until the deadline.
fn throughout(deadline: Instant, mut complaint: impl FnMut(Duration) -> Option<String>) -> Option<String> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if let Some(complaint) = complaint(left) {
            return Some(complaint);
        }
        if Instant::now() + PAUSE >= deadline {
            return None;
        }
        thread::sleep(PAUSE);
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

    #[test]
    fn what_happens_at_any_time_is_seen() {
        let mut looks = 0;
        let seen = throughout(Instant::now() + Duration::from_millis(200), |_| {
            looks += 1;
            (looks == 3).then(|| "there".to_owned())
        });
        assert_eq!((seen.as_deref(), looks), (Some("there"), 3));
        assert_eq!(throughout(Instant::now() + Duration::from_millis(50), |_| None), None);
    }
}
