//! What the core made: datagrams for the sockets and packets for the interface, back to back in one buffer.
//!
//! Made once and reused, so that a packet costs no allocation. Datagrams to one peer that follow each other, all of
//! one length, are a [`Run`]: the form that UDP segmentation offload (udp(7), UDP_SEGMENT) sends at once.

use std::net::SocketAddr;
use std::ops::Range;

use super::offload::{Coalescing, Group, coalesce};
use super::route::Route;

/// What one call may send: UDP_MAX_SEGMENTS of older kernels, and the largest payload of either family.
const RUN_DATAGRAMS: usize = 64;
const RUN_BYTES: usize = 65_535 - 40 - 8;

/// A buffer of fixed size and what lies in it.
pub struct Batch {
    bytes: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
    packets: Vec<Range<usize>>,
}

/// Datagrams that go the same way, all of the same length except that the last may be shorter.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where to, and from where.
    pub route: Route,
    /// The ECN field of the outer packets.
    pub ecn: u8,
    /// The length of each datagram but the last.
    pub size: usize,
    range: Range<usize>,
}

impl Run {
    /// Whether there is but one datagram.
    pub fn is_single(&self) -> bool {
        self.range.len() <= self.size
    }

    /// The same from whichever of our addresses the system takes.
    pub fn from_anywhere(self) -> Self {
        Self { route: Route::to(self.route.remote), ..self }
    }

    fn takes(&self, route: Route, ecn: u8, start: usize, length: usize) -> bool {
        let bytes = self.range.len();
        self.range.end == start
            && length <= self.size
            && bytes.is_multiple_of(self.size)
            && bytes / self.size < RUN_DATAGRAMS
            && bytes + length <= RUN_BYTES
            && self.ecn == ecn
            && self.route == route
    }
}

impl Batch {
    /// One that holds this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes].into(), used: 0, runs: Vec::new(), packets: Vec::new() }
    }

    /// Datagrams to be sent, in order: what they have in common, and their bytes back to back.
    pub fn runs(&self) -> impl Iterator<Item = (&Run, &[u8])> {
        self.runs.iter().map(|run| (run, &self.bytes[run.range.clone()]))
    }

    /// The same one by one.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.runs().flat_map(|(run, bytes)| bytes.chunks(run.size).map(|bytes| (run.route.remote, bytes)))
    }

    /// IP packets to be written to the interface, in order.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.packets.iter().map(|range| &self.bytes[range.clone()])
    }

    /// The same in groups that are written at once. Packets of a group have lost their headers to the first one.
    pub fn groups(&mut self, coalescing: Coalescing, mut write: impl FnMut(Group, &[u8], &[Range<usize>])) {
        let mut rest = self.packets.as_slice();
        while !rest.is_empty() {
            let group = coalesce(&mut self.bytes, rest, coalescing);
            let (packets, after) = rest.split_at(group.count);
            write(group, &self.bytes, packets);
            rest = after;
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.packets.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.runs.clear();
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
    pub(super) fn push_datagram(&mut self, route: Route, ecn: u8, length: usize) {
        let range = self.take(length);
        match self.runs.last_mut() {
            Some(run) if run.takes(route, ecn, range.start, length) => run.range.end = range.end,
            _ => self.runs.push(Run { route, ecn, size: length, range }),
        }
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
