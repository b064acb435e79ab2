//! What a worker works with: buffers of a fixed size, used for one job after the other. Pages that were never needed
//! take no memory.

use super::inbox::Inbox;
use crate::wireguard::batch::Batch;
use crate::wireguard::core::{PADDING, ROOM_FOR_ANY};
use crate::wireguard::offload::{Segments, VirtioHeader};

/// The longest packet that the interface hands over, its virtio header included.
pub(super) const LONGEST_READ: usize = VirtioHeader::LENGTH + 65_535;
/// Packets and bytes that are read before they are sealed: more would keep the next processor waiting.
const READS_MAX: usize = 64;
const ENOUGH: usize = 32 << 10;

/// The buffers of one worker.
pub(super) struct Scratch {
    /// What the core makes of either.
    pub(super) batch: Batch,
    /// What was read from the interface.
    pub(super) reads: Reads,
    /// What was received from the sockets.
    pub(super) inbox: Inbox,
}

/// Packets as they were read from the interface, one behind the other.
pub(super) struct Reads {
    bytes: Box<[u8]>,
    used: usize,
    packets: Vec<Read>,
}

struct Read {
    /// Length of what came before the packet.
    skipped: usize,
    length: usize,
    header: VirtioHeader,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { batch: Batch::with_capacity(2 * ROOM_FOR_ANY), reads: Reads::new(), inbox: Inbox::new() }
    }
}

impl Reads {
    fn new() -> Self {
        let bytes = vec![0; ENOUGH + LONGEST_READ + PADDING].into();
        Self { bytes, used: 0, packets: Vec::with_capacity(READS_MAX) }
    }

    /// Room for the longest packet, unless there is enough to seal already.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let is_enough = self.packets.len() == READS_MAX || self.used > ENOUGH;
        (!is_enough).then(|| &mut self.bytes[self.used..self.used + LONGEST_READ])
    }

    /// The first bytes of the room are a packet behind a virtio header, or a bare one.
    pub(super) fn push(&mut self, length: usize, has_header: HasHeader) {
        let read = &self.bytes[self.used..self.used + length];
        let header = match has_header {
            HasHeader::No => Some((VirtioHeader::default(), 0)),
            HasHeader::Yes => {
                read.first_chunk().map(|bytes| (VirtioHeader::parse(bytes), VirtioHeader::LENGTH))
            }
        };
        let Some((header, skipped)) = header else { return };
        self.packets.push(Read { skipped, length: length - skipped, header });
        self.used += length + PADDING;
    }

    /// All of them, in order.
    pub(super) fn packets(&mut self) -> impl Iterator<Item = Segments<'_>> {
        let mut rest = &mut self.bytes[..];
        self.packets.iter().filter_map(move |read| {
            let (buffer, after) =
                std::mem::take(&mut rest).split_at_mut(read.skipped + read.length + PADDING);
            rest = after;
            Segments::of(&mut buffer[read.skipped..], read.length, read.header)
        })
    }

    pub(super) fn clear(&mut self) {
        self.packets.clear();
        self.used = 0;
    }
}

/// Whether a virtio header comes before each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HasHeader {
    Yes,
    No,
}
