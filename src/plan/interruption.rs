//! Which traffic a step interrupts, if only for a moment: for whoever decides whether to take it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Step;
use crate::model::{DomainId, End, Network};

/// What stops passing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interruption {
    /// Tunnels, or a peer of each.
    pub tunnels: Vec<End>,
    /// The connections of a domain that cannot go on.
    pub connections: Option<(DomainId, Connections)>,
}

/// Some of the connections of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connections {
    /// All of them.
    All,
    /// Those from these addresses.
    From(BTreeSet<IpAddr>),
}

impl Connections {
    /// Whether those from this address are among them.
    pub fn has(&self, from: IpAddr) -> bool {
        match self {
            Connections::All => true,
            Connections::From(addresses) => addresses.contains(&from),
        }
    }
}

/// What a step interrupts of a network as it was observed; `None` if nothing that passes now.
pub fn interruption(step: &Step, observed: &Network) -> Option<Interruption> {
    match step {
        Step::DeleteDomain { domain, .. } => {
            observed.domains.get(domain)?;
            let tunnels = observed.tunnels().map(|(at, _)| at).filter(|at| at.domain == *domain).collect();
            Some(Interruption { tunnels, connections: Some((*domain, Connections::All)) })
        }
        Step::DeleteInterface { at } | Step::SetUp { at, up: false } => {
            let interface = observed.interface(at)?;
            let addresses = interface.addresses.iter().map(|address| address.network.ip()).collect();
            let connections = Some((at.domain, Connections::From(addresses)));
            Some(Interruption { tunnels: tunnel(at, observed), connections })
        }
        Step::LendInterface { .. } | Step::ReturnInterface { .. } => {
            Some(Interruption { tunnels: Vec::new(), connections: None })
        }
        Step::RemoveAddress { at, address } => {
            let addresses = BTreeSet::from([address.network.ip()]);
            Some(Interruption {
                tunnels: Vec::new(),
                connections: Some((at.domain, Connections::From(addresses))),
            })
        }
        Step::SetTunnel { at, .. }
        | Step::RemovePeer { at, .. }
        | Step::SetPeer { at, new_session: true, .. } => {
            let tunnels = tunnel(at, observed);
            (!tunnels.is_empty()).then_some(Interruption { tunnels, connections: None })
        }
        Step::RemoveRoute { .. } | Step::RemoveRule { .. } => {
            Some(Interruption { tunnels: Vec::new(), connections: None })
        }
        Step::SetController { at, .. } => {
            observed.interface(at).map(|_| Interruption { tunnels: Vec::new(), connections: None })
        }
        Step::CreateDomain { .. }
        | Step::RequireInterface { .. }
        | Step::CreateInterface { .. }
        | Step::SetMtu { .. }
        | Step::SetImpairment { .. }
        | Step::SetUp { up: true, .. }
        | Step::AddAddress { .. }
        | Step::SetPeer { new_session: false, .. }
        | Step::AddRoute { .. }
        | Step::AddRule { .. }
        | Step::SetSysctl { .. }
        | Step::ResetSysctl { .. } => None,
    }
}

fn tunnel(at: &End, observed: &Network) -> Vec<End> {
    let is_tunnel = observed.interface(at).is_some_and(|interface| interface.wireguard().is_some());
    if is_tunnel { vec![at.clone()] } else { Vec::new() }
}
