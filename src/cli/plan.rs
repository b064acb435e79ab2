//! `rdom plan [FILE]`: what `up` would change; exit status 3 if there is something. Makes no keys and no files.

mod openbsd;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::say::complain;
use super::trouble::Trouble;
use super::{Common, Ended, Which, file, print_json};
use crate::backend::Backend;
use crate::backend::linux::Linux;
use crate::plan::{bind, plan};
use crate::probe;
use crate::state::{Missing, Roots, Store};
use crate::status::PlanView;
use crate::supervisor::NoEngines;

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    elsewhere: openbsd::Elsewhere,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut document = file::read(words.file.as_deref())?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    if words.elsewhere.is_openbsd()? {
        return openbsd::run(&words.elsewhere, &document, common.json);
    }
    let lowered = document.lowered;
    probe::administration()?;
    let directories = Roots::of_environment().of(&lowered.network.name);
    let stored = Store::of(&directories).bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    let stored = stored.map_err(Trouble::failed)?;
    let desired = bind(&lowered.network, &stored.bindings, &probe::capabilities());
    if let Some(held_back) = probe::isolation_held_back(&lowered.network) {
        complain(format_args!("note: {held_back}"));
    }
    let opened = Linux::open(desired.name.clone(), &directories, stored.keys, Box::new(NoEngines));
    let observed = opened.and_then(|mut backend| backend.observe()).map_err(Trouble::failed)?;
    let steps = PlanView::new(&plan(&desired, &observed));
    let nothing = steps.steps.is_empty();
    if common.json {
        print_json(&steps)?;
    } else if nothing {
        println!("network {} is as the file says: nothing to do", desired.name);
    } else {
        print!("{steps}");
    }
    Ok(ExitCode::from(if nothing { 0 } else { 3 }))
}
