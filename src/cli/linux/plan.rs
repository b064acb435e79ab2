//! `rdom plan [FILE]`: what `up` or `apply` would change, by which line of the file, and what that would interrupt (`!`);
//! exit status 3 if there is something. Makes no keys and no files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::portability::System;
use super::say::{answer, complain};
use super::trouble::Trouble;
use super::{Common, Ended, Which, file, lending, openbsd, print_json};
use crate::backend::Backend;
use crate::backend::linux::{Linux, Survey};
use crate::model::{DomainId, End, Network};
use crate::plan::{Connections, Interruption, Step, bind, interruption, plan};
use crate::probe;
use crate::spec::Origins;
use crate::state::{Directories, Missing, Roots, Store};
use crate::status::{InterruptionView, PlanView};
use crate::supervisor::{NoEngines, explain_lacks, residents};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// Plan for this system; `openbsd` looks at no kernel: it begins with nothing, or with what --observed holds
    #[arg(long, value_enum, default_value = "linux", value_name = "SYSTEM")]
    backend: System,
    #[command(flatten)]
    elsewhere: openbsd::Planned,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut document = file::read(words.file.as_deref())?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    let elsewhere = &words.elsewhere;
    match words.backend {
        System::Openbsd => return openbsd::plan(elsewhere, &document, None, common.json),
        System::Linux if elsewhere.format.is_some() || elsewhere.observed.is_some() => {
            return Err(Trouble::usage("--format and --observed are for --backend openbsd"));
        }
        System::Linux => {}
    }
    let lowered = &document.lowered;
    probe::administration()?;
    let directories = Roots::of_environment().of(&lowered.network.name);
    let stored = Store::of(&directories).bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    let stored = stored.map_err(Trouble::failed)?;
    let ground = probe::Ground::default();
    let (capabilities, held_back) = probe::capabilities_for(&lowered.network, &ground);
    let desired = bind(&lowered.network, &stored.bindings, &capabilities);
    if let Some(held_back) = held_back {
        complain(format_args!("note: {held_back}"));
    }
    let lacks = probe::unmet(&desired, &ground);
    if !lacks.is_empty() {
        return Err(Trouble::Diagnostics(Box::new(explain_lacks(&lacks, &document)), 4));
    }
    let opened = Linux::open(desired.name.clone(), &directories, stored.keys, Box::new(NoEngines));
    let observed = opened.and_then(|mut backend| backend.observe()).map_err(Trouble::failed)?;
    let planned = plan(&desired, &observed);
    let mut steps = PlanView::new(&planned);
    add_places(&mut steps, &planned, &document.source.file, &lowered.origins);
    add_interruptions(&mut steps, &planned, &observed, &directories)?;
    for loss in lending::losses(&desired, &directories).map_err(Trouble::failed)? {
        complain(format_args!("! {loss}"));
    }
    let nothing = steps.steps.is_empty();
    if common.json {
        print_json(&steps)?;
    } else if nothing {
        answer(format_args!("network {} is as the file says: nothing to do\n", desired.name))?;
    } else {
        answer(steps)?;
    }
    Ok(ExitCode::from(if nothing { 0 } else { 3 }))
}

/// Each step's line of the file.
fn add_places(view: &mut PlanView, steps: &[Step], file: &str, origins: &Origins) {
    view.file = Some(file.to_owned());
    for (shown, step) in view.steps.iter_mut().zip(steps) {
        let object = step.object();
        let place = match step {
            Step::RemovePeer { .. } => None,
            step if step.removes() => origins.own_place(&object),
            _ => origins.place(&object),
        };
        shown.line = place.map(|place| place.line);
    }
}

/// What each step interrupts of what passes now.
fn add_interruptions(
    view: &mut PlanView,
    steps: &[Step],
    observed: &Network,
    directories: &Directories,
) -> Result<(), Trouble> {
    let interrupted: Vec<_> = steps.iter().map(|step| interruption(step, observed)).collect();
    if interrupted.iter().all(Option::is_none) {
        return Ok(());
    }
    let survey = Survey::of(directories).map_err(Trouble::failed)?;
    let deletes = steps.iter().any(|step| matches!(step, Step::DeleteDomain { .. }));
    let all = deletes.then(|| residents(&observed.name, directories)).transpose();
    let all = all.map_err(Trouble::failed)?.unwrap_or_default();
    let interfaces = survey.interfaces().map_err(Trouble::failed)?;
    for ((shown, step), interrupted) in view.steps.iter_mut().zip(steps).zip(interrupted) {
        let Some(Interruption { tunnels, mut connections }) = interrupted else { continue };
        if let Step::LendInterface { home, .. } = step {
            // Its addresses are the host's, and no part of a network.
            let at_home = interfaces.iter().find(|held| held.domain == 0 && held.name == home.as_str());
            let held = at_home.map(|held| held.addresses.iter().map(|own| own.address.ip()).collect());
            connections = Some((DomainId::DEFAULT, Connections::From(held.unwrap_or_default())));
        }
        let sockets = match &connections {
            None => 0,
            Some((domain, which)) => {
                let connected = survey.connected(*domain).map_err(Trouble::failed)?;
                connected.iter().filter(|from| which.has(**from)).count()
            }
        };
        let tunnels = tunnels.iter().map(End::to_string).collect();
        let deleted = if let Step::DeleteDomain { domain, .. } = step { Some(domain) } else { None };
        let residents = all.iter().filter(|resident| Some(&resident.domain) == deleted).count();
        shown.interrupts = Some(InterruptionView { tunnels, sockets, residents });
    }
    Ok(())
}
