//! The Linux kernel as a backend: namespaces, links, addresses, routes, sysctls and WireGuard by netlink(7).
//!
//! `observe` reads what carries our mark, `apply` takes one step. Nothing is cached between calls but open sockets:
//! the kernel and the ledger are the state. One process at a time may `apply` to a network (its lock is the
//! caller's affair); others may `observe`.

mod address;
mod addresses;
mod apply;
mod domains;
mod explain;
mod link;
mod links;
pub mod mark;
pub mod namespace;
mod namespace_id;
mod namespaces;
pub mod netlink;
mod observe;
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

pub use namespace::{Namespace, in_namespace};
pub use namespaces::{Namespaces, Place};
pub use sockets::TunnelSockets;
pub use survey::Survey;
pub use tunnels::{EngineParts, Engines, SocketPlace};

use crate::backend::{Backend, BackendError};
use crate::model::{Network, NetworkName};
use crate::plan::Step;
use crate::state::{Directories, KeyRing, Ledger};

use domains::Domains;
use mark::Mark;
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

    /// Has engines that took the place of others shake hands with their peers, now that all else is as it shall be: what
    /// is sent to one that is not there yet is lost, and said again after five seconds only.
    pub fn greet(&mut self) -> Result<(), BackendError> {
        self.tunnels.greet(&mut self.domains)
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
}
