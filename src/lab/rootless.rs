//! A process that makes itself root of a user namespace before it has a second thread.
//!
//! A process of several threads cannot enter a user namespace (unshare(2), EINVAL), and `cargo test` starts a thread
//! for each test. So it is done before `main`, by a function that the program's list of constructors names
//! (`.init_array` of the ELF specification).

use std::env;
use std::process::{self, ExitCode};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::probe::{self, Unsupported};
use crate::sandbox::{self, SandboxError};

/// Why this process is not root of a user namespace although it was to be.
static REFUSED: OnceLock<Unsupported> = OnceLock::new();

/// Whether the program says it.
static SAID: AtomicBool = AtomicBool::new(false);

/// What [`rootless!`](crate::rootless) has called at the start of a program. It must have one thread.
///
/// A lab's services are kept by this program under another name: `rdom` then is what runs.
#[doc(hidden)]
pub fn before_main(rdom: fn() -> ExitCode) {
    SAID.store(true, Ordering::Relaxed);
    let words: Vec<_> = env::args_os().take(2).collect();
    if words.first().is_some_and(|name| name == "rdom")
        && words.get(1).is_some_and(|verb| verb == "services" || verb == "become")
    {
        process::exit(i32::from(rdom() != ExitCode::SUCCESS));
    }
    let refused = match sandbox::become_root() {
        Ok(()) => return,
        Err(SandboxError::Unsupported(unsupported)) => unsupported,
        Err(SandboxError::Call { source, .. }) => probe::refused_user_namespace(source),
    };
    let _is_called_once = REFUSED.set(refused);
}

/// Whether this program can keep services.
pub(super) fn is_said() -> bool {
    SAID.load(Ordering::Relaxed)
}

/// Whether this process may bring labs up.
pub(super) fn check() -> Result<(), Unsupported> {
    probe::administration().map_err(|lack| {
        REFUSED.get().cloned().unwrap_or(Unsupported {
            remedy:
                "write `rdomain::rootless!();` in the test program, outside of functions, or run it as root"
                    .into(),
            ..lack
        })
    })
}
