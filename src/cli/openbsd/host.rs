//! This machine as one that has routing domains, and one network on it.

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;

use nix::unistd::geteuid;

use super::Common;
use super::file::Document;
use super::say::complain;
use super::trouble::Trouble;
use crate::backend::openbsd::{Captured, OpenBsd, Programs, SecretsBy, Tools, bound, networks};
use crate::backend::{Backend, BackendError, Nature};
use crate::diagnostic::Unsupported;
use crate::model::{Network, NetworkName};
use crate::state::{Directories, KeyRing, Lock, LockError, Missing, Roots, Store, Stored};
use crate::status::INTERRUPTED;
use crate::transaction::{Cause, Failure, Signals, converge, explain};

/// Where stand-ins for the tools are, if there are any.
const STAND_INS: &str = "RDOM_OPENBSD_TOOLS";

/// How a kernel is given keys, if not by a request: `argv`.
const KEYS: &str = "RDOM_OPENBSD_KEYS";

/// Whether the tools of an OpenBSD are to be taken from somewhere.
pub(in crate::cli) fn is_stood_in_for() -> bool {
    env::var_os(STAND_INS).is_some()
}

/// The tools of this machine.
pub(super) fn programs() -> Result<Programs, Trouble> {
    match env::var_os(STAND_INS) {
        Some(directory) => Ok(Programs::StandIns(directory.into())),
        None if cfg!(target_os = "openbsd") => Ok(Programs::BaseSystem),
        None => Err(Trouble::Unsupported(Unsupported {
            missing: format!("{} has no routing domains that this program knows of", env::consts::OS),
            remedy: "`rdom plan` prints what an OpenBSD would be given".to_owned(),
        })),
    }
}

/// One network on this machine.
pub(super) struct Host {
    pub(super) name: NetworkName,
    pub(super) directories: Directories,
    programs: Programs,
}

impl Host {
    pub(super) fn of(name: &NetworkName) -> Result<Self, Trouble> {
        let directories = Roots::of_environment().of(name);
        Ok(Self { name: name.clone(), directories, programs: programs()? })
    }

    /// The network that `-n` names, else the only one there is; none if there is none.
    pub(super) fn find(common: &Common) -> Result<Option<Self>, Trouble> {
        let mut found = all()?;
        found.retain(|name| common.network.as_ref().is_none_or(|named| named == name));
        match found.iter().collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [name] => Self::of(name).map(Some),
            several => {
                let several: Vec<_> = several.iter().map(|name| name.as_str()).collect();
                let message = format!("several networks are up: {}", several.join(", "));
                Err(Trouble::Usage { message, help: Some("say which: -n NETWORK".into()) })
            }
        }
    }

    /// What the kernel has of it.
    pub(super) fn observe(&self) -> Result<Network, Trouble> {
        self.backend(KeyRing::default()).and_then(|mut backend| backend.observe()).map_err(Trouble::failed)
    }

    /// The right to change it.
    pub(super) fn lock(&self) -> Result<Lock, Trouble> {
        Lock::take(&self.directories).map_err(|error| match error {
            LockError::Held(Some(pid)) => Trouble::Usage {
                message: format!("network {} is kept by process {pid}", self.name),
                help: Some(format!("rdom down -n {} ends it", self.name)),
            },
            other => Trouble::failed(other),
        })
    }

    /// What the document asks for, with nothing left open, and its secrets.
    pub(super) fn desired(&self, document: &Document) -> Result<(Network, KeyRing), Trouble> {
        let (network, secrets) = (&document.lowered.network, &document.lowered.secrets);
        let stored = Store::of(&self.directories).bindings(network, secrets, Missing::Generate);
        let Stored { bindings, keys, warnings } = stored.map_err(Trouble::failed)?;
        warnings.iter().for_each(|warning| complain(format_args!("warning: {warning}")));
        Ok((bound(network, &bindings), keys))
    }

    /// Makes it what the document asks for; how many steps that took.
    pub(super) fn change_to(&self, document: &Document, signals: &Signals) -> Result<usize, Trouble> {
        let (desired, keys) = self.desired(document)?;
        let mut backend = self.backend(keys).map_err(Trouble::failed)?;
        let outcome = converge(&mut backend, &desired, &|| signals.pending());
        outcome.map(|outcome| outcome.taken.len()).map_err(|failure| explained(&failure, document))
    }

    /// Removes all of it; how many steps that took.
    pub(super) fn clear(&self) -> Result<usize, Trouble> {
        let mut backend = self.backend(KeyRing::default()).map_err(Trouble::failed)?;
        let outcome = converge(&mut backend, &Network::empty(self.name.clone()), &|| false);
        let steps = outcome.map_err(Trouble::failed)?.taken.len();
        let _ = std::fs::remove_dir_all(&self.directories.runtime);
        Ok(steps)
    }

    fn backend(&self, keys: KeyRing) -> Result<OpenBsd<Tools>, BackendError> {
        let tools = Tools::new(self.programs.clone(), self.given());
        let given = tools.kept()?;
        let by = if env::var_os(KEYS).is_some_and(|way| way == "argv") {
            SecretsBy::CommandLine
        } else {
            SecretsBy::Request
        };
        Ok(OpenBsd::new(self.name.clone(), tools, keys, given).with_secrets(by))
    }

    fn given(&self) -> PathBuf {
        self.directories.runtime.join("given")
    }
}

/// The networks of which something is there: in the kernel, or in files only.
pub(super) fn all() -> Result<BTreeSet<NetworkName>, Trouble> {
    let captured = captured()?;
    let mut found = networks(&captured.ifconfig).map_err(Trouble::failed)?;
    found.extend(Roots::of_environment().networks());
    Ok(found)
}

/// What the tools print of everything.
pub(super) fn captured() -> Result<Captured, Trouble> {
    Captured::by(&mut tools()?).map_err(Trouble::failed)
}

/// The tools, to look at what they print.
pub(super) fn tools() -> Result<Tools, Trouble> {
    Ok(Tools::new(programs()?, PathBuf::new()))
}

/// Only root changes anything; whoever named stand-ins is root there.
pub(super) fn administration() -> Result<(), Trouble> {
    if is_stood_in_for() || geteuid().is_root() {
        return Ok(());
    }
    let missing = "only root may change interfaces and routes".to_owned();
    Err(Trouble::Unsupported(Unsupported { missing, remedy: "doas rdom ..".to_owned() }))
}

/// A failed step at its place in the file, and the exit status that goes with it.
fn explained(failure: &Failure, document: &Document) -> Trouble {
    let status = match &failure.cause {
        Cause::Backend(error) if error.nature == Nature::Unsupported => 4,
        Cause::Interrupted => INTERRUPTED,
        Cause::Backend(_) | Cause::Unsettled(_) => 1,
    };
    Trouble::Diagnostics(Box::new(explain(failure, document)), status)
}
