//! The userspace WireGuard engine: boringtun's handshakes and AEAD in a core without IO, and IO around it.
//!
//! ```text
//! TUN -> io -> Core::outbound -+             +-> UDP sockets
//! UDP -> io -> Core::inbound  -+-> Batch -> io
//! time ------> Core::tick     -+             +-> TUN
//! UAPI -> uapi -> Core::apply
//! ```
//!
//! Every descriptor is given to it (the TUN of the domain, the UDP sockets of the underlay, the UAPI socket), so that
//! it can run without privileges. Keys are never logged. `Tunn` is not asked for more than the noise: its timers,
//! counters and limits are completed in `peer` and `timers`.

mod allowed_ips;
mod batch;
mod core;
#[cfg(target_os = "linux")]
mod io;
mod message;
mod noise;
mod peer;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod timers;
mod uapi;

pub use self::batch::Batch;
pub use self::core::{Core, PADDING, ROOM_FOR_ANY};
#[cfg(target_os = "linux")]
pub use self::io::{
    Device, LinkEvents, OpenSockets, Parts, UdpPair, UnderlaySockets, open_tun, run_standalone,
};
pub use self::secret::Secret;
pub use self::settings::Selected;
pub use self::uapi::{Change, Operation, PeerSetting, Reader, Refusal, Setting, describe};
