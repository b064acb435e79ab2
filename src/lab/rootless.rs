//! A process that makes itself root of a user namespace before it has a second thread.
//!
//! A process of several threads cannot enter a user namespace (unshare(2), EINVAL), and `cargo test` starts a thread
//! for each test. So it is done before `main`, by a function that the program's list of constructors names
//! (`.init_array` of the ELF specification).

use std::sync::OnceLock;

use crate::probe::{self, Unsupported};
use crate::sandbox::{self, SandboxError};

/// Why this process is not root of a user namespace although it was to be.
static REFUSED: OnceLock<Unsupported> = OnceLock::new();

/// Lets a test program of an ordinary user bring labs up. To be written once in it, outside of functions.
///
/// It becomes root of a user namespace at its start, which it and its children then seem to be everywhere
/// (user_namespaces(7)): files stay the user's, those of others are nobody's, and setgroups(2) is denied. Where it may
/// make namespaces without that, as root, nothing changes. Where user namespaces are forbidden nothing changes either,
/// and [`Blueprint::up`](crate::lab::Blueprint::up) says by what.
#[macro_export]
macro_rules! rootless {
    () => {
        const _: () = {
            #[used]
            #[unsafe(link_section = ".init_array")]
            static BEFORE_MAIN: extern "C" fn() = $crate::lab::rootless::before_main;
        };
    };
}

/// What [`rootless!`](crate::rootless) has called at the start of a program. It must have one thread.
#[doc(hidden)]
pub extern "C" fn before_main() {
    let refused = match sandbox::become_root() {
        Ok(()) => return,
        Err(SandboxError::Unsupported(unsupported)) => unsupported,
        Err(SandboxError::Call { source, .. }) => probe::refused_user_namespace(source),
    };
    let _is_called_once = REFUSED.set(refused);
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
