//! Where the UDP sockets of tunnels are: in the underlay and nowhere else. Looked at in the kernel, not assumed.

use thiserror::Error;

use crate::backend::BackendError;
use crate::backend::linux::Survey;
use crate::model::{DomainId, End, Network};
use crate::status::{Protocol, SocketTable};

/// A tunnel whose sockets are not where they belong.
#[derive(Debug, Error)]
pub enum Misplaced {
    /// The underlay has none.
    #[error("{at}: no UDP socket of port {port} in its underlay, domain {underlay}")]
    Missing {
        /// The tunnel.
        at: End,
        /// Its port.
        port: u16,
        /// Where it should be.
        underlay: DomainId,
    },
    /// Another domain of the network has one that belongs to no tunnel there.
    #[error(
        "{at}: a UDP socket of port {port} is in domain {domain}, not only in its underlay, domain {underlay}"
    )]
    Astray {
        /// The tunnel.
        at: End,
        /// Its port.
        port: u16,
        /// Where it should be.
        underlay: DomainId,
        /// Where one is.
        domain: DomainId,
    },
    /// The kernel could not be asked.
    #[error("{0}")]
    Backend(#[from] BackendError),
}

/// Checks every tunnel, and returns the first that is not where it belongs.
pub(super) fn check(survey: &Survey, desired: &Network) -> Result<(), Misplaced> {
    misplaced(survey, desired)?.into_iter().next().map_or(Ok(()), Err)
}

/// The tunnels that are not where they belong, of those that are up, for others have no sockets: a wildcard UDP socket
/// of a tunnel's port is in its underlay, and none is in its own domain.
pub fn misplaced(survey: &Survey, network: &Network) -> Result<Vec<Misplaced>, BackendError> {
    let mut found = Vec::new();
    for (at, tunnel) in network.tunnels() {
        let Some(port) = tunnel.listen_port else { continue };
        if !network.interface(&at).is_some_and(|interface| interface.up) {
            continue;
        }
        let (underlay, domain) = (tunnel.underlay, at.domain);
        if !has_port(&survey.socket_table(underlay)?, port) {
            found.push(Misplaced::Missing { at, port, underlay });
        } else if domain != underlay
            && !carries(network, domain, port)
            && has_port(&survey.socket_table(domain)?, port)
        {
            found.push(Misplaced::Astray { at, port, underlay, domain });
        }
    }
    Ok(found)
}

/// Whether a domain is the underlay of some tunnel of this port.
fn carries(network: &Network, domain: DomainId, port: u16) -> bool {
    network.tunnels().any(|(_, tunnel)| tunnel.underlay == domain && tunnel.listen_port == Some(port))
}

fn has_port(table: &SocketTable, port: u16) -> bool {
    table.sockets.iter().any(|socket| {
        socket.protocol == Protocol::Udp && socket.local.port() == port && socket.local.ip().is_unspecified()
    })
}
