//! `rdom-enter`: see `rdom-enter --help`.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    rdomain::enter::main()
}

/// On OpenBSD everybody may go from domain 0 into another one (getrtable(2)).
#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "rdom-enter: for Linux only; here: route -T N exec COMMAND");
    ExitCode::from(4)
}
