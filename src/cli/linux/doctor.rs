//! `rdom doctor [FILE]`: what this system can do, and what FILE, or the network that is up, makes of it.
//!
//! A file that needs something missing is exit status 4, a tunnel whose sockets are astray 1.

mod copy;
mod live;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::file::{self, Document};
use super::trouble::Trouble;
use super::{Common, Ended, Which, print};
use crate::exec::group;
use crate::model::{Domain, Network};
use crate::plan::bind;
use crate::probe::{self, Finding, Hazard, Need, State, Unsupported};
use crate::state::{Missing, Roots, Store};
use crate::status::{ChoiceView, DoctorView, FileView, FindingView, HazardView, MissingView};
use crate::supervisor::Ahead;

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The file; without it the system alone, and the network that is up
    file: Option<PathBuf>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let document = match &words.file {
        Some(path) => Some(file::read(Some(path))?),
        None => None,
    };
    let desired = document.as_ref().map(|document| bound(document).map(|desired| (document, desired)));
    let desired = desired.transpose()?;
    let (findings, missing) = examine(desired.as_ref())?;
    let view = DoctorView {
        findings,
        file: desired.map(|(_, desired)| file_view(&desired, missing)),
        live: live::view(common)?,
    };
    print(&view, common)?;
    let lacks = view.file.is_some_and(|file| !file.missing.is_empty());
    let astray = view.live.is_some_and(|live| !live.misplaced.is_empty());
    Ok(match (lacks, astray) {
        (true, _) => ExitCode::from(4),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    })
}

/// A file, and its network as `up` would have it.
type Desired<'d> = (&'d Document, Network);

/// The file's network as `up` would have it, as far as it can be known without making keys.
fn bound(document: &Document) -> Result<Network, Trouble> {
    let lowered = &document.lowered;
    let store = Store::of(&Roots::of_environment().of(&lowered.network.name));
    let stored = store.bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    let bindings = stored.map_err(Trouble::failed)?.bindings;
    Ok(bind(&lowered.network, &bindings, &probe::capabilities()))
}

/// What the host, a private copy and a new namespace can do, and what of it the network lacks. Who may make
/// namespaces only in a copy is examined there. The copy comes first, while this process has one thread.
fn examine(desired: Option<&Desired>) -> Result<(Vec<FindingView>, Vec<MissingView>), Trouble> {
    let administers = probe::administration().is_ok();
    let copy = copy::examine(|| match administers {
        true => (Vec::new(), Vec::new()),
        false => namespace(desired),
    });
    let (in_copy, of_copy) = copy.map_err(Trouble::failed)?;
    let mut findings = probe::look_at_host();
    findings.push(Finding::of(
        "bpf on cgroups",
        group::permitted().map(|()| "a program was loaded and attached".to_owned()),
        ["programs in vrf domains and further rtables", "no programs in vrf domains and further rtables"],
    ));
    let mut findings: Vec<_> = findings.into_iter().map(finding_view).collect();
    findings.extend(in_copy);
    if !administers {
        return Ok((findings, of_copy));
    }
    let (here, missing) = namespace(desired);
    findings.extend(here);
    Ok((findings, missing))
}

fn namespace(desired: Option<&Desired>) -> (Vec<FindingView>, Vec<MissingView>) {
    let findings = probe::try_namespace().into_iter().map(finding_view).collect();
    let missing = desired.into_iter().flat_map(|(document, desired)| {
        let lacks = probe::unmet(desired, &probe::Ground::default()).into_iter();
        lacks.map(|(need, lack)| missing_view(&need, lack, document))
    });
    (findings, missing.collect())
}

fn file_view(desired: &Network, missing: Vec<MissingView>) -> FileView {
    let isolation = |(id, domain): (_, &Domain)| ChoiceView {
        what: format!("domain {id}"),
        with: format!("isolation {}", domain.isolation),
    };
    let apart = desired.domains.iter().filter(|(id, _)| !id.is_default());
    let mut choices: Vec<_> = apart.map(isolation).collect();
    choices.extend(
        desired.tunnels().map(|(at, tunnel)| ChoiceView {
            what: at.to_string(),
            with: format!("engine {}", tunnel.engine),
        }),
    );
    let hazards = probe::hazards(desired, &Ahead::of(desired)).into_iter().map(hazard_view).collect();
    FileView { network: desired.name.to_string(), choices, missing, hazards }
}

fn finding_view(finding: Finding) -> FindingView {
    let Finding { item, state, seen, used, remedy } = finding;
    let state = match state {
        State::Available => "available",
        State::Limited => "limited",
        State::Missing => "missing",
    };
    FindingView { item: item.to_owned(), state: state.to_owned(), seen, used: used.to_owned(), remedy }
}

fn missing_view(need: &Need, lack: Unsupported, document: &Document) -> MissingView {
    let place = document.lowered.origins.place(&need.object);
    let place = place.map(|place| format!("{}:{}:{}", document.source.file, place.line, place.column));
    MissingView { who: need.object.to_string(), place, missing: lack.missing, remedy: lack.remedy }
}

fn hazard_view(hazard: Hazard) -> HazardView {
    HazardView { name: hazard.name.to_owned(), message: hazard.message, remedy: hazard.remedy }
}
