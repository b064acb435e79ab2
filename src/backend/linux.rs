//! The Linux kernel as a backend: namespaces, links, addresses, routes, sysctls and WireGuard by netlink(7).
//!
//! `observe` reads what carries our mark, `apply` takes one step. Nothing is cached between calls but open sockets:
//! the kernel and the ledger are the state. One process at a time may `apply` to a network (its lock is the
//! caller's affair); others may `observe`.

mod address;
mod addresses;
mod ahead;
mod apply;
mod baseline;
mod domains;
mod explain;
mod found;
mod lent;
mod link;
mod links;
pub mod mark;
pub mod monitor;
pub mod namespace;
mod namespace_id;
mod namespaces;
pub mod netlink;
mod observe;
mod own_sysctls;
mod port;
mod qdisc;
mod route;
mod routes;
mod rule;
mod rules;
mod sockets;
mod survey;
mod sysctl;
mod tables;
mod tidy;
mod tun;
mod tunnel;
mod tunnels;
mod uapi;
pub mod view;
mod wireguard;

pub use domains::Departed;
pub use found::{Found, found};
pub use namespace::{Namespace, Visitor, in_namespace, visit, visit_while};
pub use namespaces::{Namespaces, Place};
pub use sockets::TunnelSockets;
pub use survey::Survey;
pub use tunnels::{EngineParts, Engines, SocketPlace};

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::backend::{Backend, BackendError};
use crate::model::{DomainId, DomainName, End, Key, Network, NetworkName, PublicKey};
use crate::plan::Step;
use crate::state::{Directories, KeyRing, Ledger};
use crate::status::TunnelView;

use domains::Domains;
use explain::Doing;
use mark::Mark;
use monitor::Monitor;
use tunnels::Tunnels;

/// One network in this kernel. The default domain is the network namespace of the thread that opens it.
pub struct Linux {
    network: NetworkName,
    domains: Domains,
    tunnels: Tunnels,
}

impl Linux {
    /// The network of this name, as the ledger in its directories knows it. Who only observes needs no keys, and
    /// engines that refuse to start.
    pub fn open(
        network: NetworkName,
        directories: &Directories,
        keys: KeyRing,
        engines: Box<dyn Engines>,
    ) -> Result<Self, BackendError> {
        let domains = Domains::open(Ledger::of(directories), Mark::of(&network))?;
        let tunnels =
            Tunnels { keys, engines, sockets: TunnelSockets::of(directories), to_greet: Vec::new() };
        Ok(Self { network, domains, tunnels })
    }

    /// Has the tunnels that these steps made anew shake hands too: their peers may go on in sessions that are gone.
    pub fn greet_anew(&mut self, taken: &[Step]) -> Result<(), BackendError> {
        let made = |at| {
            taken.iter().any(|step| matches!(step, Step::CreateInterface { at: made, .. } if made == at))
        };
        for step in taken {
            let Step::SetPeer { at, key: Key::Public(key), peer, .. } = step else { continue };
            if peer.endpoint.is_some() && peer.persistent_keepalive_secs == 0 && made(at) {
                self.tunnels.to_greet.push((at.clone(), *key));
            }
        }
        self.greet()
    }

    /// The keys that it has.
    pub fn keys(&self) -> &KeyRing {
        &self.tunnels.keys
    }

    /// Takes further keys, beside those that it has: of a file that takes the place of another.
    pub fn learn(&mut self, keys: KeyRing) {
        self.tunnels.keys.add_all(keys);
    }

    /// Has engines that took the place of others shake hands with their peers, now that all else is as it shall be: what
    /// is sent to one that is not there yet is lost, and said again after five seconds only.
    pub fn greet(&mut self) -> Result<(), BackendError> {
        self.tunnels.greet(&mut self.domains)
    }

    /// Gives a peer of a tunnel an endpoint that the name of its endpoint leads to.
    pub fn point(&mut self, at: &End, key: PublicKey, endpoint: SocketAddr) -> Result<(), BackendError> {
        self.tunnels.point(&mut self.domains, at, key, endpoint)
    }

    /// A tunnel as its engine has it.
    pub fn tunnel(&mut self, at: &End) -> Result<TunnelView, BackendError> {
        self.tunnels.view(&mut self.domains, at)
    }

    /// The offloads that the engine of a userspace tunnel does without; none where it cannot be asked.
    pub fn offloads_off(&mut self, at: &End) -> Vec<String> {
        self.tunnels.engines.offloads_off(at).unwrap_or_else(|error| {
            tracing::debug!(%at, %error, "the engine does not tell its offloads");
            Vec::new()
        })
    }

    /// Has a monitor listen in the domains that there are, and in no others; returns those that are new to it.
    pub fn be_heard_by(&self, monitor: &Monitor) -> Result<BTreeSet<DomainId>, BackendError> {
        monitor.listen_in(self.domains.namespaces()).doing(|| "listen for changes".to_owned())
    }

    /// What this kernel holds of some domains; all else is as `around` has it. Costs a look at those domains and at
    /// those that they are joined to.
    pub fn observe_some(
        &mut self,
        around: &Network,
        wanted: &BTreeSet<DomainId>,
    ) -> Result<Network, BackendError> {
        observe::some(around, wanted, &mut self.domains, &self.tunnels)
    }

    /// Deletes the first of these domains and as many others of them as can be. They are held until what is returned goes,
    /// and until then the kernel has nothing to do with them.
    pub fn delete_domains(&mut self, wanted: &[(DomainId, &DomainName)]) -> Result<Departed, BackendError> {
        apply::delete_domains(&mut self.domains, &mut self.tunnels, wanted)
    }

    /// Removes records, sockets and links to them of domains and tunnels that are gone: after a crash, and when the
    /// network has been taken down. Changes nothing in the kernel.
    pub fn tidy(&mut self) -> Result<(), BackendError> {
        tidy::network(&mut self.domains, &mut self.tunnels)
    }
}

impl Backend for Linux {
    fn observe(&mut self) -> Result<Network, BackendError> {
        observe::network(&self.network, &mut self.domains, &self.tunnels)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        apply::step(&mut self.domains, &mut self.tunnels, step)
    }

    fn apply_some(&mut self, steps: &[Step]) -> Result<usize, BackendError> {
        apply::some(&mut self.domains, &mut self.tunnels, steps)
    }
}
