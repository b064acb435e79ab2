//! The userspace WireGuard engine: boringtun's handshakes and AEAD in a core without IO, and IO around it.
//!
//! ```text
//! TUN -> io -> Segments -> Turn::outbound -+             +-> runs of datagrams  -> UDP sockets
//! UDP -> io -> Train ----> Turn::inbound  -+-> Batch -> io
//! time ------------------> Core::tick     -+             +-> groups of packets -> TUN
//! UAPI -> uapi -> Core::apply
//! ```
//!
//! Every descriptor is given to it (the TUN of the domain, the UDP sockets of the underlay, the UAPI socket), so that
//! it can run without privileges. Keys are never logged. `Tunn` is not asked for more than the noise: its timers,
//! counters and limits are completed in `peer` and `timers`.

mod allowed_ips;
mod batch;
mod core;
mod held;
mod identity;
#[cfg(target_os = "linux")]
mod io;
mod message;
mod noise;
mod offload;
mod peer;
mod route;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod train;
mod turn;
mod uapi;

pub use self::batch::{Batch, Run};
pub use self::core::{Core, PADDING, ROOM_FOR_ANY};
#[cfg(target_os = "linux")]
pub use self::io::{
    Changes, ChangesOf, Device, Given, LinkEvents, Offload, OpenSockets, Parts, Routes, UdpPair,
    UnderlaySockets, open_tun, queues, run_standalone,
};
pub use self::offload::{Coalescing, Group, Segments, VirtioHeader, coalesce};
pub use self::route::{Route, Source};
pub use self::secret::Secret;
pub use self::settings::Selected;
pub use self::train::Train;
pub use self::turn::Turn;
pub use self::uapi::{Change, Operation, PeerSetting, Reader, Refusal, Setting, describe};
