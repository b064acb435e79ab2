//! `rdom man [DIRECTORY]`: manual pages from the same description of the command line as `--help`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::{Man, generate_to};

use super::trouble::Trouble;
use super::{Ended, Rdom};

#[derive(Debug, Args)]
pub(super) struct Words {
    /// Where to write rdom.1 and a page for every verb; without it rdom.1 goes to standard output
    directory: Option<PathBuf>,
}

pub(super) fn run(words: &Words) -> Ended {
    match &words.directory {
        Some(directory) => generate_to(Rdom::command(), directory)
            .map_err(|error| Trouble::failed(format!("cannot write to {}: {error}", directory.display())))?,
        None => Man::new(Rdom::command()).render(&mut io::stdout()).map_err(Trouble::failed)?,
    }
    Ok(ExitCode::SUCCESS)
}
