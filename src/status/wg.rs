//! `wg show`, as wg(8) prints it, over all domains: an interface has its domain before its name, a peer the file's
//! name for it behind its key.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::glance::bytes;
use super::interval::long;
use super::overview::{PeerStatus, StatusView, TunnelStatus};

/// The tunnels of a network.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct WgShow<'v> {
    tunnels: BTreeMap<String, &'v TunnelStatus>,
}

impl<'v> WgShow<'v> {
    /// All of them, or only the one that is called `DOMAIN/IF`, by the domain's number or name.
    pub fn of(view: &'v StatusView, only: Option<(&str, &str)>) -> Self {
        let is_meant = |number: u32, name: &str, interface: &str| {
            only.is_none_or(|(domain, wanted)| {
                wanted == interface && (domain == name || domain == number.to_string())
            })
        };
        let tunnels = view
            .tunnels()
            .filter(|(domain, interface, _)| is_meant(domain.domain, &domain.name, &interface.name));
        let label = |domain: u32, name: &str| format!("{domain}/{name}");
        let tunnels = tunnels.map(|(domain, at, it)| (label(domain.domain, &at.name), it));
        Self { tunnels: tunnels.collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tunnels.is_empty()
    }

    /// Each as `DOMAIN/IF`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tunnels.keys().map(String::as_str)
    }
}

impl<'v> From<&'v BTreeMap<String, TunnelStatus>> for WgShow<'v> {
    /// These tunnels, each called `DOMAIN/IF`.
    fn from(tunnels: &'v BTreeMap<String, TunnelStatus>) -> Self {
        Self { tunnels: tunnels.iter().map(|(name, it)| (name.clone(), it)).collect() }
    }
}

impl fmt::Display for WgShow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, tunnel)) in self.tunnels.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            writeln!(f, "interface: {name}")?;
            if let Some(key) = tunnel.public_key {
                writeln!(f, "  public key: {key}\n  private key: (hidden)")?;
            }
            if tunnel.listen_port != 0 {
                writeln!(f, "  listening port: {}", tunnel.listen_port)?;
            }
            if tunnel.fwmark != 0 {
                writeln!(f, "  fwmark: {:#x}", tunnel.fwmark)?;
            }
            by_handshake(tunnel).into_iter().try_for_each(|peer| write_peer(f, peer))?;
        }
        Ok(())
    }
}

/// In the order of wg(8): who shook hands last comes first, who never did comes last.
fn by_handshake(tunnel: &TunnelStatus) -> Vec<&PeerStatus> {
    let mut peers: Vec<_> = tunnel.peers.iter().collect();
    peers.sort_by_key(|peer| peer.view.last_handshake_secs_ago.unwrap_or(u64::MAX));
    peers
}

fn write_peer(f: &mut fmt::Formatter<'_>, peer: &PeerStatus) -> fmt::Result {
    let view = &peer.view;
    let name = view.name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
    writeln!(f, "\npeer: {}{name}", view.public_key)?;
    if view.has_preshared_key {
        writeln!(f, "  preshared key: (hidden)")?;
    }
    if let Some(endpoint) = view.endpoint {
        writeln!(f, "  endpoint: {endpoint}")?;
    }
    let allowed: Vec<_> = view.allowed_ips.iter().map(ToString::to_string).collect();
    let allowed = if allowed.is_empty() { "(none)".to_owned() } else { allowed.join(", ") };
    writeln!(f, "  allowed ips: {allowed}")?;
    match view.last_handshake_secs_ago {
        Some(0) => writeln!(f, "  latest handshake: Now")?,
        Some(secs) => writeln!(f, "  latest handshake: {} ago", long(secs))?,
        None => {}
    }
    if view.rx_bytes > 0 || view.tx_bytes > 0 {
        writeln!(f, "  transfer: {} received, {} sent", bytes(view.rx_bytes), bytes(view.tx_bytes))?;
    }
    match view.persistent_keepalive_secs {
        0 => Ok(()),
        secs => writeln!(f, "  persistent keepalive: every {}", long(u64::from(secs))),
    }
}
