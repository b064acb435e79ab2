//! Which network is meant, and where its domains are.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access, geteuid};

use super::Common;
use super::trouble::Trouble;
use crate::backend::linux::Survey;
use crate::backend::linux::view::Which;
use crate::control::{self, Client, ClientError};
use crate::model::{DomainId, NetworkName};
use crate::state::{Directories, Ledger, Lock, Roots};
use crate::supervisor::Entrances;

/// A network that is up, or that something is left of.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: NetworkName,
    pub(super) directories: Directories,
}

impl Live {
    /// The network that `-n` names, else the only one; an error if there is none.
    pub(super) fn find(common: &Common) -> Result<Self, Trouble> {
        Self::find_any(common)?.ok_or_else(|| not_up(common))
    }

    /// The same for a verb that does no more than ask its supervisor: one of root's is as good, if that lets this user ask.
    pub(super) fn find_to_ask(common: &Common) -> Result<Self, Trouble> {
        Self::find_any_to_ask(common)?.ok_or_else(|| not_up(common))
    }

    /// The network that `-n` names, else the only one, if there is one.
    pub(super) fn find_any(common: &Common) -> Result<Option<Self>, Trouble> {
        let roots = Roots::of_environment();
        Self::meant(&roots, common, |live| is_there(&live.directories))
    }

    /// The same for a verb that does no more than ask.
    pub(super) fn find_any_to_ask(common: &Common) -> Result<Option<Self>, Trouble> {
        match Self::find_any(common)? {
            Some(own) => Ok(Some(own)),
            None => Self::meant(&Roots::of_root(), common, Self::is_shared),
        }
    }

    /// The network of this name, alive or not; one of root's if it is none of this user's and may be asked.
    pub(super) fn named(name: NetworkName) -> Self {
        let of = |roots: Roots| Self { directories: roots.of(&name), name: name.clone() };
        let (own, roots) = (of(Roots::of_environment()), of(Roots::of_root()));
        if !own.is_there() && roots.is_shared() { roots } else { own }
    }

    fn meant(
        roots: &Roots,
        common: &Common,
        is_meant: impl Fn(&Self) -> bool,
    ) -> Result<Option<Self>, Trouble> {
        let all = roots.networks().into_iter().map(|name| Self { directories: roots.of(&name), name });
        let mut found: Vec<_> = all.filter(is_meant).collect();
        if let Some(named) = &common.network {
            found.retain(|live| live.name == *named);
        }
        match (found.pop(), found.as_slice()) {
            (None, _) => Ok(None),
            (Some(live), []) => Ok(Some(live)),
            (Some(last), others) => Err(several(others.iter().chain([&last]).map(|live| &live.name))),
        }
    }

    /// Whether it is up, or something is left of it.
    pub(super) fn is_there(&self) -> bool {
        is_there(&self.directories) || self.is_shared()
    }

    /// Whether it is another user's, whose supervisor lets this one ask.
    fn is_shared(&self) -> bool {
        let runtime = &self.directories.runtime;
        let is_anothers = runtime.metadata().is_ok_and(|found| found.uid() != geteuid().as_raw());
        is_anothers
            && !geteuid().is_root()
            && access(&control::socket(&self.directories), AccessFlags::W_OK).is_ok()
    }

    /// The networks, or the one that `-n` names, of which nothing is left but files.
    pub(super) fn leavings(common: &Common) -> Vec<Self> {
        let roots = Roots::of_environment();
        let all = roots.networks().into_iter().map(|name| Self { directories: roots.of(&name), name });
        let named = all.filter(|live| common.network.as_ref().is_none_or(|named| *named == live.name));
        named.filter(|live| !is_there(&live.directories)).collect()
    }

    /// What its supervisor answers; nothing if it has none.
    pub(super) fn ask<A>(
        &self,
        question: impl Fn(&Client) -> Result<A, ClientError>,
    ) -> Result<Option<A>, Trouble> {
        // Another user's lock cannot be looked at.
        let is_shared = self.is_shared();
        let deadline = Instant::now() + Lock::DYING;
        while is_shared || Lock::holder(&self.directories).is_some() {
            match question(&Client::of(&self.directories)) {
                Ok(answer) => return Ok(Some(answer)),
                Err(ClientError::HungUp(_)) if !is_shared && self.is_abandoned() => return Ok(None),
                // One that comes up does not listen yet, one that was killed a moment ago not any more.
                Err(ClientError::Unreachable { .. }) if !is_shared && Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(Trouble::failed(error)),
            }
        }
        Ok(None)
    }

    /// Whether it has no supervisor, or soon has none: one that was killed a moment ago still holds its lock.
    fn is_abandoned(&self) -> bool {
        let deadline = Instant::now() + Lock::DYING;
        while Lock::holder(&self.directories).is_some() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// That nobody is there who could be asked.
    pub(super) fn has_no_supervisor(&self) -> Trouble {
        Trouble::Usage {
            message: format!("network {} has no supervisor: it was killed", self.name),
            help: Some("rdom up -d FILE takes over what it left, and goes back or waits on".into()),
        }
    }

    /// A look at all of its domains.
    pub(super) fn survey(&self) -> Result<Survey, Trouble> {
        Survey::of(&self.directories).map_err(Trouble::failed)
    }

    /// A look at the domain that a user's word means.
    pub(super) fn view(&self, word: &str) -> Result<Survey, Trouble> {
        self.entrances().view(word).map_err(Trouble::failed)
    }

    /// The rtable that a user's word means: a domain's own by its number or name, or a further one by its number.
    pub(super) fn rtable(&self, survey: &Survey, word: &str) -> Result<(DomainId, Which), Trouble> {
        self.entrances().rtable(survey, word).map_err(Trouble::failed)
    }

    /// The ways into its domains.
    pub(super) fn entrances(&self) -> Entrances<'_> {
        Entrances { network: &self.name, directories: &self.directories }
    }
}

/// There is none, or not the one that is meant.
pub(super) fn not_up(common: &Common) -> Trouble {
    Trouble::Usage {
        message: match &common.network {
            Some(name) => format!("network {name} is not up"),
            None => "no network is up".to_owned(),
        },
        help: Some(match roots_networks_are_hidden() {
            true => {
                "what root brought up only root can see; in a private copy: rdom run FILE -- COMMAND".into()
            }
            false => "rdom up FILE, or in a private copy: rdom run FILE -- COMMAND".into(),
        }),
    }
}

/// Which one is meant cannot be told.
pub(super) fn several<'n>(networks: impl Iterator<Item = &'n NetworkName>) -> Trouble {
    let all: Vec<_> = networks.map(NetworkName::as_str).collect();
    let message = format!("several networks are up: {}", all.join(", "));
    Trouble::Usage { message, help: Some("say which: -n NETWORK".into()) }
}

/// Whether there may be networks that this user does not get to see.
pub(super) fn roots_networks_are_hidden() -> bool {
    !geteuid().is_root() && Path::new("/run/rdom").exists()
}

fn is_there(directories: &Directories) -> bool {
    let recorded = || Ledger::of(directories).domains().is_ok_and(|domains| !domains.is_empty());
    Lock::holder(directories).is_some() || recorded()
}
