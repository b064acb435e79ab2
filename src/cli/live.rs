//! Which network is meant, and where its domains are.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;

use super::Common;
use super::trouble::Trouble;
use crate::backend::Backend;
use crate::backend::linux::view::Which;
use crate::backend::linux::{Linux, Survey};
use crate::control::{Client, ClientError};
use crate::exec::Place;
use crate::exec::group::Membership;
use crate::model::{DomainId, DomainName, NetworkName, RtableId};
use crate::state::{Directories, KeyRing, Ledger, Lock, Roots};
use crate::supervisor::NoEngines;

/// How long a process may take to die.
const DYING: Duration = Duration::from_secs(1);

/// A network that is up, or that something is left of.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: NetworkName,
    pub(super) directories: Directories,
}

impl Live {
    /// The network that `-n` names, else the only one; an error if there is none.
    pub(super) fn find(common: &Common) -> Result<Self, Trouble> {
        Self::find_any(common)?.ok_or_else(|| Trouble::Usage {
            message: match &common.network {
                Some(name) => format!("network {name} is not up"),
                None => "no network is up".to_owned(),
            },
            help: Some(match roots_networks_are_hidden() {
                true => "what root brought up only root can see; in a private copy: rdom run FILE -- COMMAND"
                    .into(),
                false => "rdom up FILE, or in a private copy: rdom run FILE -- COMMAND".into(),
            }),
        })
    }

    /// The network that `-n` names, else the only one, if there is one.
    pub(super) fn find_any(common: &Common) -> Result<Option<Self>, Trouble> {
        let roots = Roots::of_environment();
        let mut found: Vec<_> =
            roots.networks().into_iter().filter(|name| is_there(&roots.of(name))).collect();
        if let Some(named) = &common.network {
            found.retain(|name| name == named);
        }
        match (found.pop(), found.as_slice()) {
            (None, _) => Ok(None),
            (Some(name), []) => Ok(Some(Self { directories: roots.of(&name), name })),
            (Some(last), others) => {
                let all: Vec<_> = others.iter().chain([&last]).map(NetworkName::as_str).collect();
                let message = format!("several networks are up: {}", all.join(", "));
                Err(Trouble::Usage { message, help: Some("say which: -n NETWORK".into()) })
            }
        }
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
        if Lock::holder(&self.directories).is_none() {
            return Ok(None);
        }
        match question(&Client::of(&self.directories)) {
            Ok(answer) => Ok(Some(answer)),
            Err(ClientError::Unreachable { .. } | ClientError::HungUp(_)) if self.is_abandoned() => Ok(None),
            Err(error) => Err(Trouble::failed(error)),
        }
    }

    /// Whether it has no supervisor, or soon has none: one that was killed a moment ago still holds its lock.
    fn is_abandoned(&self) -> bool {
        let deadline = Instant::now() + DYING;
        while Lock::holder(&self.directories).is_some() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// A look at all of its domains.
    pub(super) fn survey(&self) -> Result<Survey, Trouble> {
        Survey::of(&self.directories).map_err(Trouble::failed)
    }

    /// The rtable that a user's word means: a domain's own by its number or name, or a further one by its number.
    pub(super) fn rtable(&self, survey: &Survey, word: &str) -> Result<(DomainId, Which), Trouble> {
        let unknown = match self.domain(survey, word) {
            Ok(domain) => return Ok((domain, Which::Own)),
            Err(unknown) => unknown,
        };
        let Ok(number) = word.parse::<RtableId>().map(RtableId::number) else { return Err(unknown) };
        let domains = survey.rdomains().map_err(Trouble::failed)?;
        let home = domains.into_iter().find(|domain| domain.rtables.contains(&number));
        let home = home.and_then(|home| DomainId::new(home.domain).ok());
        home.map(|home| (home, Which::Further(number))).ok_or(unknown)
    }

    /// A further rtable, which must be the network's own: only then does a mark lead to it.
    fn own_rtable(&self, domain: DomainId, number: u32) -> Result<RtableId, Trouble> {
        let engines = Box::new(NoEngines);
        let opened = Linux::open(self.name.clone(), &self.directories, KeyRing::default(), engines);
        let observed = opened.and_then(|mut backend| backend.observe()).map_err(Trouble::failed)?;
        let rtables = observed.domains.get(&domain).into_iter().flat_map(|domain| domain.rtables.keys());
        let found = rtables.copied().find(|rtable| rtable.number() == number);
        let foreign =
            || format!("routing table {number} of domain {domain} is not one of network {}", self.name);
        found.ok_or_else(|| Trouble::failed(foreign()))
    }

    /// The domain that a user's word means, a number or a name, in the words of route(8) if there is none.
    pub(super) fn domain(&self, survey: &Survey, word: &str) -> Result<DomainId, Trouble> {
        let mut domains = survey.namespaces().iter();
        let found = domains.find(|(id, place)| word == place.name.as_str() || word.parse() == Ok(*id));
        found.map(|(id, _)| id).ok_or_else(|| {
            let known: Vec<_> =
                survey.namespaces().iter().map(|(id, place)| label(id, &place.name)).collect();
            let (network, known) = (&self.name, known.join(", "));
            let message =
                format!("routing table {word}: No such file or directory (network {network} has {known})");
            Trouble::failed(message)
        })
    }
}

/// Where a program of that domain, in one of its rtables, lives.
pub(super) fn place_in(
    live: &Live,
    survey: Survey,
    domain: DomainId,
    which: Which,
) -> Result<Place, Trouble> {
    let wireguard = survey.sockets().directory(domain);
    let device = survey.vrf_device(domain).map_err(Trouble::failed)?;
    let (rtable, mark) = match which {
        Which::Own => (domain.into(), None),
        Which::Further(number) => (live.own_rtable(domain, number)?, Some(number)),
    };
    let membership = (device.is_some() || mark.is_some()).then(|| Membership {
        network: live.name.clone(),
        rtable,
        device,
        mark,
    });
    let mut places = survey.into_namespaces().into_iter();
    let (_, place) =
        places.find(|(id, _)| *id == domain).ok_or_else(|| Trouble::failed("the domain has gone"))?;
    let has_its_own = !domain.is_default() && device.is_none();
    let namespace = has_its_own.then(|| place.namespace.into());
    Ok(Place { name: place.name.to_string(), namespace, wireguard, membership })
}

fn label(id: DomainId, name: &DomainName) -> String {
    if *name == DomainName::of_number(id) { id.to_string() } else { name.to_string() }
}

/// Whether there may be networks that this user does not get to see.
fn roots_networks_are_hidden() -> bool {
    !geteuid().is_root() && Path::new("/run/rdom").exists()
}

fn is_there(directories: &Directories) -> bool {
    let recorded = || Ledger::of(directories).domains().is_ok_and(|domains| !domains.is_empty());
    Lock::holder(directories).is_some() || recorded()
}
