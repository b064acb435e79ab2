//! How many packets of one interface may be under way at once, each direction: it has as many TUN queues, and as many
//! sockets of its port for each family, and each of these is a job of its own ([`workers`](super::workers)).
//!
//! Each peer has one of the sockets, for the kernel reads the peer's number in every datagram. What that job writes by
//! the queue of its number brings the answers of the same inner flow back by that queue (drivers/net/tun.c,
//! `tun_flow_update`). So a peer's packets stay in order and processors work for different peers. A flow that was never
//! answered has a queue by its hash; it may change it with its first answer.

use std::thread;

/// More than this many busy peers of one interface, or processors for it alone, are not to be expected.
const QUEUES_MAX: usize = 8;

/// For an interface with many peers: half of the processors, for its two directions have all of them then. RDOM_QUEUES
/// says another number, for measurements and tests; at least 1, at most 8.
pub fn queues() -> usize {
    let asked = std::env::var("RDOM_QUEUES").ok().and_then(|number| number.parse().ok());
    let half = || thread::available_parallelism().map_or(1, usize::from) / 2;
    asked.unwrap_or_else(half).clamp(1, QUEUES_MAX)
}
