//! Where tests run: a network that is up, as it should be and as the kernel has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::inside::Inside;
use super::recording::Recording;
use crate::backend::linux::{Namespaces, Survey};
use crate::model::{DomainId, End, InterfaceName, Network};
use crate::spec::Action;
use crate::status::{ServiceEvidence, TunnelView};

/// Makes the command that becomes these words as a citizen of a domain.
pub type Enter = Box<dyn Fn(DomainId, &[String]) -> Command + Send + Sync>;

/// Does something to the network, and returns it if it is another one then; an error says why that could not be done.
pub type Perform = Box<dyn Fn(&Action) -> Result<Option<(Survey, Network)>, String> + Send + Sync>;

/// Looks what the file's services do, and what they have written.
pub type Services = Box<dyn Fn() -> Vec<ServiceEvidence> + Send + Sync>;

/// The domains of a network that is up.
pub struct Ground {
    pub(super) survey: Survey,
    /// The network as it should be, with its keys and ports.
    pub(super) network: Network,
    enter: Enter,
    perform: Perform,
    services: Services,
    /// The encrypted bytes of each tunnel when the last step was taken.
    marks: Mutex<BTreeMap<End, u64>>,
    recording: Option<Recording>,
}

impl Ground {
    /// The network as it is now, with the counters that it has.
    pub fn new(survey: Survey, network: Network, enter: Enter, perform: Perform, services: Services) -> Self {
        let marks = Mutex::default();
        let ground = Self { survey, network, enter, perform, services, marks, recording: None };
        ground.mark();
        ground
    }

    /// The same, with what goes by its interfaces kept from now on: a file for each failure, in this directory.
    pub fn recorded(self, directory: &Path) -> Result<Self, String> {
        let recording = Recording::start(&self, directory)?;
        Ok(Self { recording: Some(recording), ..self })
    }

    /// Writes what went by on the way of a test at this line since it began into a file, if packets are kept.
    pub(super) fn save(
        &self,
        line: usize,
        way: &BTreeSet<String>,
        since: Duration,
    ) -> Option<io::Result<PathBuf>> {
        self.recording.as_ref().map(|it| it.save(self.network.name.as_str(), line, way, since))
    }

    /// Does something to the network; counters count from then on.
    pub(super) fn perform(&mut self, action: &Action) -> Result<(), String> {
        let done = (self.perform)(action).and_then(|other| match other {
            Some((survey, network)) => self.renew(survey, network),
            None => Ok(()),
        });
        self.mark();
        done
    }

    /// Another network in the same place. Of what was recorded before nothing is kept: it is of no test that follows.
    fn renew(&mut self, survey: Survey, network: Network) -> Result<(), String> {
        (self.survey, self.network) = (survey, network);
        if let Some(recording) = self.recording.take() {
            self.recording = Some(Recording::start(self, recording.directory())?);
        }
        Ok(())
    }

    /// What the file's services do, and what they have written.
    pub(super) fn services(&self) -> Vec<ServiceEvidence> {
        (self.services)()
    }

    /// Remembers what the counters show.
    fn mark(&self) {
        let marks = self.network.tunnels().map(|(at, _)| (at.clone(), self.bytes(&at).unwrap_or(0)));
        *self.marks.lock().unwrap_or_else(PoisonError::into_inner) = marks.collect();
    }

    /// The encrypted bytes of a tunnel, both ways, then and now.
    pub(super) fn growth(&self, at: &End) -> Result<[u64; 2], String> {
        let then = self.marks.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied();
        Ok([then.unwrap_or(0), self.bytes(at)?])
    }

    fn bytes(&self, at: &End) -> Result<u64, String> {
        let peers = self.tunnel(at)?.peers;
        Ok(peers.iter().map(|peer| peer.tx_bytes + peer.rx_bytes).sum())
    }

    /// A tunnel as its engine has it, with the names of its peers.
    pub(super) fn tunnel(&self, at: &End) -> Result<TunnelView, String> {
        let views = self.survey.interfaces().map_err(|error| error.to_string())?;
        let is_it = |domain: u32, name: &str| domain == at.domain.number() && name == at.interface.as_str();
        let mut view = views
            .into_iter()
            .find(|view| is_it(view.domain, &view.name))
            .ok_or_else(|| format!("there is no interface {at}"))?;
        view.annotate(&self.network);
        view.tunnel.ok_or_else(|| format!("{at} does not answer"))
    }

    /// A domain from inside.
    pub(super) fn inside(&self, domain: DomainId) -> Result<Inside<'_>, String> {
        let place = self.namespaces().domain(domain).ok_or_else(|| format!("there is no domain {domain}"))?;
        let device = (!place.record.isolation.has_namespace()).then(|| InterfaceName::of_vrf(domain));
        Ok(Inside { namespace: &place.namespace, device })
    }

    /// Whether a domain forwards packets to such an address that come in by this interface. Of IPv6 its tables say
    /// nothing of it. True if that cannot be read.
    pub(super) fn forwards(&self, by: &End, to: IpAddr) -> bool {
        let path = match to {
            IpAddr::V4(_) => format!("/proc/sys/net/ipv4/conf/{}/forwarding", by.interface),
            IpAddr::V6(_) => "/proc/sys/net/ipv6/conf/all/forwarding".to_owned(),
        };
        let inside = self.inside(by.domain);
        let value =
            inside.ok().and_then(|inside| inside.namespace.run(|| fs::read_to_string(path)).ok()?.ok());
        value.is_none_or(|value| value.trim() != "0")
    }

    /// A command that becomes these words as a citizen of a domain.
    pub(super) fn command(&self, domain: DomainId, words: &[String]) -> Command {
        (self.enter)(domain, words)
    }

    pub(super) fn namespaces(&self) -> &Namespaces {
        self.survey.namespaces()
    }

    /// The domain as people call it.
    pub(super) fn word(&self, domain: DomainId) -> String {
        let named = self.network.domains.get(&domain).map(|named| named.name.word(domain));
        named.unwrap_or_else(|| domain.to_string())
    }

    /// An interface as people call it.
    pub(super) fn end_word(&self, at: &End) -> String {
        format!("{}/{}", self.word(at.domain), at.interface)
    }

    /// Places as people call them.
    pub(super) fn words(&self, domains: impl IntoIterator<Item = DomainId>) -> String {
        domains.into_iter().map(|domain| self.word(domain)).collect::<Vec<_>>().join(", ")
    }
}
