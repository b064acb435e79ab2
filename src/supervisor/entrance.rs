//! What a word like `blue` or `10` means in a network, and the place that a program enters by it.

use std::collections::BTreeSet;

use crate::backend::linux::view::Which;
use crate::backend::linux::{Linux, Survey};
use crate::backend::{Backend, BackendError};
use crate::exec::group::{self, Device, Membership};
use crate::exec::{Lookups, Place};
use crate::model::{DomainId, DomainName, Network, NetworkName, RtableId};
use crate::state::{Directories, KeyRing, Ledger, lookups};

use super::NoEngines;

/// The entrances of a network's domains.
#[derive(Clone, Copy, Debug)]
pub struct Entrances<'n> {
    /// The network.
    pub network: &'n NetworkName,
    /// Where its files are.
    pub directories: &'n Directories,
}

impl Entrances<'_> {
    /// A look at the domain that a word means, at no other; at all of them if it is none's.
    pub fn survey(self, word: &str) -> Result<Survey, BackendError> {
        let ledger = Ledger::of(self.directories);
        let has_number = |id: &DomainId| ledger.domain(*id).is_ok_and(|record| record.is_some());
        let default = DomainName::of_number(DomainId::DEFAULT);
        let number = if word == default.as_str() { Some(DomainId::DEFAULT) } else { word.parse().ok() };
        let by_name = || ledger.named(&DomainName::new(word).ok()?).ok()?;
        match number.filter(has_number).or_else(by_name) {
            Some(id) => Survey::of_some(self.directories, &BTreeSet::from([id])),
            None => Survey::of(self.directories),
        }
    }

    /// The rtable that a word means: a domain's own by its number or name, or a further one by its number; in the
    /// words of route(8) if there is none.
    pub fn rtable(self, survey: &Survey, word: &str) -> Result<(DomainId, Which), BackendError> {
        let unknown = match self.domain(survey, word) {
            Ok(domain) => return Ok((domain, Which::Own)),
            Err(unknown) => unknown,
        };
        let Ok(number) = word.parse::<RtableId>().map(RtableId::number) else { return Err(unknown) };
        let home = survey.rdomains()?.into_iter().find(|domain| domain.rtables.contains(&number));
        let home = home.and_then(|home| DomainId::new(home.domain).ok());
        home.map(|home| (home, Which::Further(number))).ok_or(unknown)
    }

    /// The domain that a word means, a number or a name.
    fn domain(self, survey: &Survey, word: &str) -> Result<DomainId, BackendError> {
        let mut domains = survey.namespaces().iter();
        let found = domains.find(|(id, place)| word == place.name.as_str() || word.parse() == Ok(*id));
        found.map(|(id, _)| id).ok_or_else(|| {
            let known: Vec<_> = survey.namespaces().iter().map(|(id, place)| place.name.word(id)).collect();
            let (network, known) = (self.network, known.join(", "));
            BackendError::new(format!(
                "routing table {word}: No such file or directory (network {network} has {known})"
            ))
        })
    }

    /// Where a program of that domain, in one of its rtables, lives.
    pub fn place(self, survey: Survey, domain: DomainId, which: Which) -> Result<Place, BackendError> {
        let wireguard = survey.sockets().directory(domain);
        let device = device_of(&survey, domain)?;
        let (rtable, mark) = match which {
            Which::Own => (domain.into(), None),
            Which::Further(number) => (self.own_rtable(domain, number)?, Some(number)),
        };
        let has_its_own = !domain.is_default() && device.is_none();
        let membership = (device.is_some() || mark.is_some()).then(|| Membership {
            network: self.network.clone(),
            rtable,
            device,
            mark,
        });
        let mut places = survey.into_namespaces().into_iter();
        let gone = || BackendError::new("the domain has gone");
        let (_, place) = places.find(|(id, _)| *id == domain).ok_or_else(gone)?;
        let namespace = has_its_own.then(|| place.namespace.into());
        let lookups = match domain.is_default() {
            true => Lookups::Host,
            false => Lookups::at(lookups(&self.directories.runtime, domain)),
        };
        Ok(Place { name: place.name.to_string(), namespace, wireguard, membership, lookups })
    }

    /// Tells the programs that live in domains without a namespace which interfaces these have now.
    pub(super) fn renew(self, desired: &Network) -> Result<(), BackendError> {
        let mut guests =
            desired.domains.iter().filter(|(_, domain)| !domain.isolation.has_namespace()).peekable();
        if guests.peek().is_none() || group::members(self.network).is_empty() {
            return Ok(());
        }
        let survey = Survey::of(self.directories)?;
        for (&id, domain) in guests {
            let device = device_of(&survey, id)?;
            for (rtable, _) in domain.tables(id) {
                let mark = (rtable != id.into()).then(|| rtable.number());
                let (network, device) = (self.network.clone(), device.clone());
                let renewed = group::renew(&Membership { network, rtable, device, mark });
                renewed.map_err(|lack| BackendError::new(lack.missing).help(lack.remedy))?;
            }
        }
        Ok(())
    }

    /// A further rtable, which must be the network's own: only then does a mark lead to it.
    fn own_rtable(self, domain: DomainId, number: u32) -> Result<RtableId, BackendError> {
        let engines = Box::new(NoEngines);
        let opened = Linux::open(self.network.clone(), self.directories, KeyRing::default(), engines);
        let observed = opened.and_then(|mut backend| backend.observe())?;
        let rtables = observed.domains.get(&domain).into_iter().flat_map(|domain| domain.rtables.keys());
        let found = rtables.copied().find(|rtable| rtable.number() == number);
        let foreign =
            || format!("routing table {number} of domain {domain} is not one of network {}", self.network);
        found.ok_or_else(|| BackendError::new(foreign()))
    }
}

fn device_of(survey: &Survey, domain: DomainId) -> Result<Option<Device>, BackendError> {
    let found = survey.vrf_device(domain)?;
    Ok(found.map(|(index, interfaces)| Device { index, interfaces }))
}
