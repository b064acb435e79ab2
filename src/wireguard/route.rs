//! Where a peer is, and from where it is answered.

use std::net::{IpAddr, SocketAddr};

/// A peer's address, and the one of ours that it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where the peer is.
    pub remote: SocketAddr,
    /// The address that it sends to; none before it has sent. Answers come from there, so that a peer behind a
    /// stateful firewall, or one that holds us to our address, takes them.
    pub source: Option<Source>,
}

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
    /// The index of the interface that the peer's datagrams come in by.
    pub interface: u32,
}

impl Route {
    /// To an address, from whichever of ours the system takes.
    pub fn to(remote: SocketAddr) -> Self {
        Self { remote, source: None }
    }
}
