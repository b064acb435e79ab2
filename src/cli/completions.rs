//! `rdom completions SHELL`: what a shell wants to complete this command line.

use std::io;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::Ended;

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The shell: write what is printed to where it looks for completions
    shell: Shell,
}

pub(super) fn run(words: &Words, mut line: Command) -> Ended {
    clap_complete::generate(words.shell, &mut line, "rdom", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}
