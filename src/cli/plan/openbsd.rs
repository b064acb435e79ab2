//! `rdom plan --backend openbsd`: the command lines that an OpenBSD would be given, on any system.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::super::file::Document;
use super::super::portability::System;
use super::super::say::complain;
use super::super::trouble::{Trouble, paint};
use super::super::{Ended, print_json};
use crate::backend::openbsd::{
    Captured, Command, Given, Renderer, SecretFiles, Word, bound, hostname_if, network, script,
};
use crate::model::{Bindings, Key, Network, Preshared, SecretName};
use crate::plan::{Step, plan};
use crate::state::{Missing, Roots, Store};
use crate::status::PlanView;

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
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

#[derive(Debug, Args)]
pub(super) struct Elsewhere {
    /// Plan for this system; `openbsd` looks at no kernel: it begins with nothing, or with what --observed holds
    #[arg(long, value_enum, default_value = "linux", value_name = "SYSTEM")]
    backend: System,
    /// How to print a plan for OpenBSD; without it `commands`
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Begin with what an OpenBSD printed: DIR/ifconfig-A, DIR/netstat-R, and DIR/route-TN of each rtable N, of
    /// `ifconfig -A`, `netstat -R` and `route -TN -nv show` as root
    #[arg(long, value_name = "DIR")]
    observed: Option<PathBuf>,
}

impl Elsewhere {
    pub(super) fn is_openbsd(&self) -> Result<bool, Trouble> {
        match self.backend {
            System::Openbsd => Ok(true),
            System::Linux if self.format.is_some() || self.observed.is_some() => {
                Err(Trouble::usage("--format and --observed are for --backend openbsd"))
            }
            System::Linux => Ok(false),
        }
    }
}

pub(super) fn run(words: &Elsewhere, document: &Document, json: bool) -> Ended {
    say_limits(document)?;
    let lowered = &document.lowered;
    let store = Store::of(&Roots::of_environment().of(&lowered.network.name));
    let stored = store.bindings(&lowered.network, &lowered.secrets, Missing::LeaveOpen);
    let bindings = stored.map_err(Trouble::failed)?.bindings;
    let desired = bound(&lowered.network, &bindings);
    let observed = match &words.observed {
        Some(directory) => observed(directory, &desired)?,
        None => Network::empty(desired.name.clone()),
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

/// What OpenBSD cannot do ends it with status 4; what has to be done by hand is said.
fn say_limits(document: &Document) -> Result<(), Trouble> {
    let limits = System::Openbsd.limits(&document.source, &document.lowered);
    if limits.errors() > 0 {
        return Err(Trouble::Diagnostics(Box::new(limits), 4));
    }
    if !limits.is_empty() {
        complain(limits.render(paint()));
    }
    Ok(())
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
