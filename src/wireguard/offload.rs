//! Many packets as one and one as many: what generic segmentation (GSO) and receive offload (GRO) do, as pure code.
//!
//! The kernel hands over a run of TCP or UDP segments as one packet of up to 64 KB with a virtio header
//! (<linux/virtio_net.h>) that says how to cut it; [`Segments`] cuts it. [`coalesce`] is the way back: packets of one
//! flow that follow each other become such a packet again. Splitting what was coalesced gives the same packets, bit
//! for bit. A packet with a bad checksum is never coalesced, for that would make it a good one.

mod checksum;
mod coalesce;
pub(super) mod ecn;
mod layout;
mod split;
#[cfg(test)]
mod tests;
mod virtio;

pub use self::coalesce::{Coalescing, Group, coalesce};
pub use self::split::Segments;
pub use self::virtio::VirtioHeader;
