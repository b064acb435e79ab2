//! What the core made: datagrams for the sockets and packets for the interface, back to back in one buffer.
//!
//! Made once and reused, so that a packet costs no allocation. Datagrams of one peer that follow each other lie
//! without a gap, which is the form that UDP segmentation offload (udp(7), UDP_SEGMENT) wants.

use std::net::SocketAddr;
use std::ops::Range;

/// A buffer of fixed size and what lies in it.
pub struct Batch {
    bytes: Box<[u8]>,
    used: usize,
    datagrams: Vec<(SocketAddr, Range<usize>)>,
    packets: Vec<Range<usize>>,
}

impl Batch {
    /// One that holds this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes].into(), used: 0, datagrams: Vec::new(), packets: Vec::new() }
    }

    /// Datagrams to be sent, in order.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.datagrams.iter().map(|(to, range)| (*to, &self.bytes[range.clone()]))
    }

    /// IP packets to be written to the interface, in order.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().map(|range| &self.bytes[range.clone()])
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.packets.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
        self.packets.clear();
    }

    /// How many bytes are left.
    pub fn free(&self) -> usize {
        self.bytes.len() - self.used
    }

    /// What is left, to write the next message to.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// The first bytes of what is left are a datagram.
    pub(super) fn push_datagram(&mut self, to: SocketAddr, length: usize) {
        let range = self.take(length);
        self.datagrams.push((to, range));
    }

    /// The first bytes of what is left are an IP packet.
    pub(super) fn push_packet(&mut self, length: usize) {
        let range = self.take(length);
        self.packets.push(range);
    }

    fn take(&mut self, length: usize) -> Range<usize> {
        let start = self.used;
        self.used += length;
        start..self.used
    }
}
