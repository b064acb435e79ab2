//! `rdom man [DIRECTORY]`: manual pages from the same description of the command line as `--help`.

use std::fs::create_dir_all;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::{Man, generate_to};

use super::say::answer;
use super::trouble::Trouble;
use super::{Ended, unused};

#[derive(Debug, Args)]
#[command(arg = unused("network"), arg = unused("json"))]
pub(super) struct Words {
    /// Where to write rdom.1 and a page for every verb; made if it is not there. Without it rdom.1 goes to standard output
    directory: Option<PathBuf>,
}

pub(super) fn run(words: &Words, line: Command) -> Ended {
    match &words.directory {
        Some(directory) => create_dir_all(directory)
            .and_then(|()| generate_to(line, directory))
            .map_err(|error| Trouble::failed(format!("cannot write to {}: {error}", directory.display())))?,
        None => {
            let mut text = Vec::new();
            Man::new(line).render(&mut text).map_err(Trouble::failed)?;
            answer(String::from_utf8_lossy(&text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
