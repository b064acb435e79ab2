//! Who starts another keeper when one was killed: a process that holds the keeper's rights and its listener, and does
//! nothing but wait. A supervisor could not, for it has given these rights up.
//!
//! What services had started becomes the guard's child (prctl(2), PR_SET_CHILD_SUBREAPER), and ends before another
//! keeper starts them again. A keeper does not outlive its guard.

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid, setsid};
use tracing::warn;

use super::orphans::end_children;

/// How long a keeper must have lived for another one to be started at once.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// What a Rust program that panics ends with.
const PANICKED: i32 = 101;

/// Returns in a child of this process, which is guarded from then on; this process ends when the child does by itself.
/// To be called by the only thread of a process.
pub(super) fn stand() -> nix::Result<()> {
    prctl::set_name(c"rdom-guard")?;
    let _leads_already = setsid();
    prctl::set_child_subreaper(true)?;
    let guard = Pid::this();
    loop {
        let begun = Instant::now();
        // SAFETY: there is one thread.
        let keeper = match unsafe { fork() }? {
            ForkResult::Child => return begin(guard),
            ForkResult::Parent { child } => child,
        };
        let status = end_of(keeper)?;
        end_children();
        let Some(how) = status else { process::exit(0) };
        warn!(how, "what keeps the services has ended, and they with it: started again");
        thread::sleep(SHORT_LIFE.saturating_sub(begun.elapsed()));
    }
}

fn begin(guard: Pid) -> nix::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != guard {
        process::exit(0);
    }
    Ok(())
}

/// Waits for the keeper's end: nothing if that was its own will, else how it ended.
fn end_of(keeper: Pid) -> nix::Result<Option<String>> {
    loop {
        return Ok(match waitpid(keeper, None)? {
            WaitStatus::Signaled(_, signal, _) => Some(signal.to_string()),
            WaitStatus::Exited(_, PANICKED) => Some("panic".to_owned()),
            WaitStatus::Exited(..) => None,
            _ => continue,
        });
    }
}
