//! `rdom plan`: the command lines that an OpenBSD is given; on any system with `--backend openbsd`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::file::{self, Document};
use super::host::{Host, say_limits};
use super::trouble::Trouble;
use super::{Common, Ended, Which, print_json};
use crate::backend::openbsd::{
    Captured, Command, Given, Renderer, SecretFiles, Word, bound, hostname_if, network, script,
};
use crate::model::{Bindings, Key, Network, Preshared, SecretName};
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
        None => Some(Host::of(&document.lowered.network.name)?.observe()?),
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
    say_limits(document)?;
    let lowered = &document.lowered;
    let store = Store::of(&Roots::of_environment().of(&lowered.network.name));
    let stored = store.bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    let bindings = stored.map_err(Trouble::failed)?.bindings;
    let desired = bound(&lowered.network, &bindings);
    let observed = match (&words.observed, before) {
        (Some(directory), _) => observed(directory, &desired)?,
        (None, Some(before)) => before,
        (None, None) => Network::empty(desired.name.clone()),
    };
    let steps = plan(&desired, &observed);
    let usual = if json { Format::Json } else { Format::Commands };
    match words.format.unwrap_or(usual) {
        Format::Json => drop(print_json(&PlanView::new(&steps))?),
        Format::Steps => print!("{}", PlanView::new(&steps)),
        Format::HostnameIf => print_files(&desired)?,
        Format::Commands => {
            let commands = commands(&steps, observed)?;
            print!("{}", script(&commands, &secret_files(document, &store, &bindings)));
        }
    }
    Ok(ExitCode::from(if steps.is_empty() { 0 } else { 3 }))
}

fn observed(directory: &Path, desired: &Network) -> Result<Network, Trouble> {
    let read = |path: PathBuf| {
        fs::read_to_string(&path)
            .map_err(|error| Trouble::usage(format!("cannot read {}: {error}", path.display())))
    };
    let mut captured = Captured {
        ifconfig: read(directory.join("ifconfig-A"))?,
        netstat: read(directory.join("netstat-R"))?,
        routes: BTreeMap::new(),
    };
    for table in 0..=u8::MAX {
        let path = directory.join(format!("route-T{table}"));
        if path.exists() {
            captured.routes.insert(table, read(path)?);
        }
    }
    network(&desired.name, &captured, &Given::assumed(desired)).map_err(Trouble::failed)
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
fn secret_files(document: &Document, store: &Store, bindings: &Bindings) -> SecretFiles {
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

fn print_files(desired: &Network) -> Result<(), Trouble> {
    let spell = |word: &Word| match word {
        Word::Text(text) => text.clone(),
        Word::PublicKey(Key::Public(key)) => key.to_string(),
        Word::PublicKey(Key::Of(end)) => format!("<public key of {end}>"),
        Word::PrivateKey(Key::Of(end)) => format!("<private key of {end}>"),
        Word::PrivateKey(Key::Public(key)) => format!("<private key of {key}>"),
        Word::Preshared(Preshared::Of(name)) => format!("<{name}>"),
        Word::Preshared(known @ Preshared::Known(_)) => format!("<{known}>"),
    };
    for (interface, lines) in hostname_if(desired, &spell).map_err(Trouble::failed)? {
        println!("# /etc/hostname.{interface}\n{}\n", lines.join("\n"));
    }
    Ok(())
}
