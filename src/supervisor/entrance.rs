//! What a word like `blue` or `10` means in a network, and the place that a program enters by it.

use std::collections::BTreeSet;
use std::iter;

use crate::backend::linux::view::Which;
use crate::backend::linux::{self, Linux, Survey};
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
    /// A look at the domain that a word means, at no other; at all of them for a number that is none's, which may be
    /// that of a further rtable.
    pub fn survey(self, word: &str) -> Result<Survey, BackendError> {
        let ledger = Ledger::of(self.directories);
        let alone = |id| Survey::of_some(self.directories, &ledger, &BTreeSet::from([id]));
        let default = DomainName::of_number(DomainId::DEFAULT);
        let number = if word == default.as_str() { Some(DomainId::DEFAULT) } else { word.parse().ok() };
        let name = DomainName::new(word).ok();
        for id in number.into_iter().chain(name.as_ref().and_then(|name| ledger.linked(name))) {
            let survey = alone(id)?;
            if self.domain(&survey, word).is_ok() {
                return Ok(survey);
            }
        }
        match name.and_then(|name| ledger.named(&name).ok()?) {
            Some(id) => alone(id),
            None if word.parse::<RtableId>().is_ok() => Survey::of(self.directories),
            None => Err(self.unknown(word, &ledger)),
        }
    }

    /// The same for whoever shows it: what shares the default domain's namespace is told from all others there.
    pub fn view(self, word: &str) -> Result<Survey, BackendError> {
        let survey = self.survey(word)?;
        let has_its_own = |(id, place): (DomainId, &linux::Place)| {
            !id.is_default() && place.record.isolation.has_namespace()
        };
        if survey.namespaces().iter().any(has_its_own) { Ok(survey) } else { Survey::of(self.directories) }
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
            self.no_such(word, survey.namespaces().iter().map(|(id, place)| place.name.word(id)).collect())
        })
    }

    /// That a word means nothing here, by what is recorded: no domain is opened for it.
    fn unknown(self, word: &str, ledger: &Ledger) -> BackendError {
        let default = (DomainId::DEFAULT, DomainName::of_number(DomainId::DEFAULT));
        let records = ledger.domains().unwrap_or_default().into_iter().filter(|(id, _)| !id.is_default());
        let named = records.filter_map(|(id, record)| Some((id, DomainName::new(record.namespace).ok()?)));
        self.no_such(word, iter::once(default).chain(named).map(|(id, name)| name.word(id)).collect())
    }

    fn no_such(self, word: &str, known: Vec<String>) -> BackendError {
        let (network, known) = (self.network, known.join(", "));
        BackendError::new(format!(
            "routing table {word}: No such file or directory (network {network} has {known})"
        ))
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
