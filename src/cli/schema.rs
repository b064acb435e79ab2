//! `rdom schema [DOCUMENT]`: what programs may rely on in what `--json` prints and the control socket answers.

use std::process::ExitCode;

use clap::Args;

use super::say::answer;
use super::trouble::Trouble;
use super::{Ended, print_json, unused};
use crate::status::{DOCUMENTS, schema};

#[derive(Debug, Args)]
#[command(arg = unused("network"), arg = unused("json"))]
pub(super) struct Words {
    /// The document; without it all of them are named
    document: Option<String>,
}

pub(super) fn run(words: &Words) -> Ended {
    let Some(name) = &words.document else {
        for (name, what) in DOCUMENTS {
            answer(format_args!("{name:9} {what}\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    match schema(name) {
        Some(schema) => print_json(&schema),
        None => Err(Trouble::Usage {
            message: format!("no document `{name}`"),
            help: Some("`rdom schema` names them all".into()),
        }),
    }
}
