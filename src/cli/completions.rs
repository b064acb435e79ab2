//! `rdom completions SHELL`: what a shell wants to complete this command line.

use std::io;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Ended, Rdom};

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The shell: write what is printed to where it looks for completions
    shell: Shell,
}

pub(super) fn run(words: &Words) -> Ended {
    clap_complete::generate(words.shell, &mut Rdom::command(), "rdom", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}
