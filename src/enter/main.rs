//! `rdom-enter`: see `rdom-enter --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rdomain::enter::main()
}
