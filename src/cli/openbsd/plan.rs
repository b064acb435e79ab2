//! `rdom plan`: the command lines that an OpenBSD is given; on any system with `--backend openbsd`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::file::{self, Document};
use super::host::{Host, administration};
use super::portability::System;
use super::say::answer;
use super::trouble::Trouble;
use super::{Common, Ended, Which, captured, hostname_if, print_json};
use crate::backend::openbsd::{Command, Given, Renderer, SecretFiles, bound, network, script};
use crate::model::{Bindings, Network, SecretName};
use crate::plan::{Step, plan};
use crate::state::{Missing, Roots, Store};
use crate::status::PlanView;

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A shell script of ifconfig(8) and route(8)
    Commands,
    /// The files of hostname.if(5) that would make the network again at the next boot
    #[value(name = "hostname.if")]
    HostnameIf,
    /// The steps in words
    Steps,
    /// The steps as JSON
    Json,
}

/// How to plan, and from where.
#[derive(Debug, Args)]
pub(in crate::cli) struct Planned {
    /// How to print a plan for OpenBSD; without it `commands`
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(in crate::cli) format: Option<Format>,
    /// Begin with what an OpenBSD printed: DIR/ifconfig-A, DIR/netstat-R, and DIR/route-TN of each rtable N, of
    /// `ifconfig -A`, `netstat -R` and `route -TN -nv show` as root
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) observed: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    #[command(flatten)]
    planned: Planned,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
}

/// From what this machine holds, unless another state was named.
pub(super) fn here(words: &Words, common: &Common) -> Ended {
    let mut document = file::read(words.file.as_deref())?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    let before = match &words.planned.observed {
        Some(_) => None,
        // Who is not root is shown no keys and no peers.
        None => {
            administration()?;
            Some(Host::of(&document.lowered.network.name)?.observe()?)
        }
    };
    run(&words.planned, &document, before, common.json)
}

/// From the state that was named, else from this one, else from nothing.
pub(in crate::cli) fn run(
    words: &Planned,
    document: &Document,
    before: Option<Network>,
    json: bool,
) -> Ended {
    System::Openbsd.require(document)?;
    let lowered = &document.lowered;
    let store = Store::of(&Roots::of_environment().of(&lowered.network.name));
    let stored = store.bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    let bindings = stored.map_err(Trouble::failed)?.bindings;
    let desired = bound(&lowered.network, &bindings);
    let observed = match (&words.observed, before) {
        (Some(directory), _) => {
            let captured = captured::read(directory)?;
            network(&desired.name, &captured, &Given::assumed(&desired)).map_err(Trouble::failed)?
        }
        (None, Some(before)) => before,
        (None, None) => Network::empty(desired.name.clone()),
    };
    let steps = plan(&desired, &observed);
    let usual = if json { Format::Json } else { Format::Commands };
    match words.format.unwrap_or(usual) {
        Format::Json => drop(print_json(&PlanView::new(&steps))?),
        Format::Steps => answer(PlanView::new(&steps))?,
        Format::HostnameIf => answer(hostname_if::shown(&desired)?)?,
        Format::Commands => {
            let commands = commands(&steps, observed)?;
            answer(script(&commands, &secret_files(document, &store, &bindings)))?;
        }
    }
    Ok(ExitCode::from(if steps.is_empty() { 0 } else { 3 }))
}

fn commands(steps: &[Step], observed: Network) -> Result<Vec<Command>, Trouble> {
    let mut renderer = Renderer::new(observed);
    let mut commands = Vec::new();
    for step in steps {
        commands.extend(renderer.commands(step).map_err(Trouble::failed)?);
    }
    Ok(commands)
}

/// Where the secrets lie that the commands need.
fn secret_files(document: &Document, store: &Store<'_>, bindings: &Bindings) -> SecretFiles {
    let mut files = SecretFiles::default();
    for (at, key) in &bindings.public_keys {
        files.private.insert(*key, store.private_key(at));
    }
    for (name, path) in &document.lowered.secrets {
        match name {
            SecretName::PrivateKey(at) => {
                files.private.extend(bindings.public_keys.get(at).map(|key| (*key, path.clone())));
            }
            SecretName::PresharedKey(..) => {
                files.preshared.extend(bindings.fingerprints.get(name).map(|known| (*known, path.clone())));
            }
        }
    }
    files
}
