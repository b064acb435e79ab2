//! `rdom engine`: the userspace engine's process, started by a supervisor with a listening socket as standard input.

use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use super::Ended;
use super::trouble::Trouble;
use crate::engine;

pub(super) fn run() -> Ended {
    let listener = io::stdin().as_fd().try_clone_to_owned().map_err(Trouble::failed)?;
    engine::run(listener).map_err(|error| Trouble::failed(format!("the engine's process: {error}")))?;
    Ok(ExitCode::SUCCESS)
}
