//! What a configurer says: any text is applied up to its first mistake, and what the engine then tells of itself is
//! a request that makes another engine the same.

use std::time::Instant;

use super::apply;
use rdomain::wireguard::{Core, describe};

/// Configures two engines.
pub fn hold(input: &[u8]) {
    let Ok(request) = str::from_utf8(input) else { return };
    let now = Instant::now();
    let mut core = Core::new(1420);
    apply(&mut core, request, now);
    let told = settings(&core);
    let mut other = Core::new(1420);
    assert!(apply(&mut other, &told, now), "refuses its own words: {told}");
    assert_eq!(settings(&other), told);
}

/// What it tells of itself without counters and times.
fn settings(core: &Core) -> String {
    let told = describe(core, None, 0);
    let is_setting = |line: &&str| {
        !["rx_bytes", "tx_bytes", "last_handshake_time"].iter().any(|key| line.starts_with(key))
    };
    told.lines().filter(is_setting).flat_map(|line| [line, "\n"]).collect()
}
