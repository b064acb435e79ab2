//! Which network is meant, and where its domains are.

use super::Common;
use super::trouble::Trouble;
use crate::backend::linux::Survey;
use crate::exec::Place;
use crate::model::{DomainId, DomainName, NetworkName};
use crate::state::{Directories, Ledger, Lock, Roots};

/// A network that is up, or that something is left of.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) name: NetworkName,
    pub(super) directories: Directories,
}

impl Live {
    /// The network that `-n` names, else the only one.
    pub(super) fn find(common: &Common) -> Result<Self, Trouble> {
        let roots = Roots::of_environment();
        if let Some(name) = &common.network {
            return Ok(Self { name: name.clone(), directories: roots.of(name) });
        }
        let mut found: Vec<_> =
            roots.networks().into_iter().filter(|name| is_there(&roots.of(name))).collect();
        match (found.pop(), found.as_slice()) {
            (None, _) => Err(Trouble::Usage {
                message: "no network is up".into(),
                help: Some("rdom up FILE, or in a private copy: rdom run FILE -- COMMAND".into()),
            }),
            (Some(name), []) => Ok(Self { directories: roots.of(&name), name }),
            (Some(last), others) => {
                let all: Vec<_> = others.iter().chain([&last]).map(NetworkName::as_str).collect();
                let message = format!("several networks are up: {}", all.join(", "));
                Err(Trouble::Usage { message, help: Some("say which: -n NETWORK".into()) })
            }
        }
    }

    /// A look at all of its domains.
    pub(super) fn survey(&self) -> Result<Survey, Trouble> {
        Survey::of(&self.directories).map_err(Trouble::failed)
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

/// Where a program of that domain lives.
pub(super) fn place_in(survey: Survey, domain: DomainId) -> Result<Place, Trouble> {
    let wireguard = survey.sockets().directory(domain);
    let mut places = survey.into_namespaces().into_iter();
    let (_, place) =
        places.find(|(id, _)| *id == domain).ok_or_else(|| Trouble::failed("the domain has gone"))?;
    let namespace = (!domain.is_default()).then(|| place.namespace.into());
    Ok(Place { name: place.name.to_string(), namespace, wireguard })
}

fn label(id: DomainId, name: &DomainName) -> String {
    if *name == DomainName::of_number(id) { id.to_string() } else { name.to_string() }
}

fn is_there(directories: &Directories) -> bool {
    let recorded = || Ledger::of(directories).domains().is_ok_and(|domains| !domains.is_empty());
    Lock::holder(directories).is_some() || recorded()
}
