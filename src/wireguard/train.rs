//! Datagrams of one sender that were received as one: UDP generic receive offload (udp(7), UDP_GRO).

use super::route::Route;

/// Datagrams back to back, all of the same length except that the last may be shorter.
#[derive(Clone, Copy, Debug)]
pub struct Train<'a> {
    bytes: &'a [u8],
    size: usize,
    route: Route,
    ecn: u8,
}

impl<'a> Train<'a> {
    /// Datagrams of `size` bytes that came by this route, with this ECN field outside.
    pub fn new(bytes: &'a [u8], size: usize, route: Route, ecn: u8) -> Self {
        Self { bytes, size: size.max(1), route, ecn }
    }

    /// A datagram by itself.
    pub fn single(bytes: &'a [u8], route: Route) -> Self {
        Self::new(bytes, bytes.len(), route, 0)
    }

    /// Whether all were taken.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn route(&self) -> Route {
        self.route
    }

    pub(super) fn ecn(&self) -> u8 {
        self.ecn
    }

    /// The first of them; it is taken by [`Train::advance`].
    pub(super) fn first(&self) -> Option<&'a [u8]> {
        (!self.is_empty()).then(|| &self.bytes[..self.size.min(self.bytes.len())])
    }

    pub(super) fn advance(&mut self) {
        self.bytes = &self.bytes[self.size.min(self.bytes.len())..];
    }
}
