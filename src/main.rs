//! `rdom`: see `rdom --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    rdomain::cli::main()
}
