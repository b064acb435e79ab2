//! `rdom completions SHELL`: what a shell wants to complete this command line.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::say::answer;
use super::{Ended, unused};

#[derive(Debug, Args)]
#[command(arg = unused("network"), arg = unused("json"))]
pub(super) struct Words {
    /// The shell: write what is printed to where it looks for completions
    shell: Shell,
}

pub(super) fn run(words: &Words, line: Command) -> Ended {
    let mut text = Vec::new();
    let verbs = line.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    let mut line = Command::new("rdom").args(line.get_arguments()).subcommands(verbs);
    clap_complete::generate(words.shell, &mut line, "rdom", &mut text);
    answer(String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}
