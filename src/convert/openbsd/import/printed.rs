//! What the tools printed of a machine: interfaces with their peers, and static routes.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use super::{Host, HostInterface, HostPeer, HostTunnel, KeySource};
use crate::convert::openbsd::arguments::width;
use crate::convert::openbsd::ifconfig::Peer;
use crate::convert::openbsd::listing::{self, Listed, ListedPeer, Unreadable};
use crate::convert::openbsd::mark::Mark;
use crate::convert::openbsd::route::{Dropped, Words};
use crate::convert::openbsd::table::{self, ListedRoute};

/// What was printed that cannot be, and by which command.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{command}: {source}")]
pub struct BadOutput {
    /// The command.
    pub command: String,
    /// The line.
    #[source]
    pub source: Unreadable,
}

/// The size of packets that an interface of its kind has if nothing was said.
const USUAL_MTU: [(&str, u32); 5] =
    [("wg", 1420), ("lo", 32768), ("pair", 1500), ("vether", 1500), ("vlan", 1500)];

/// A machine of what `ifconfig -A` and `route -T N -nv show`, by N, printed. Secrets are not printed: those that no
/// `rdom` has made are said to be in files, which somebody has to make.
pub fn printed(ifconfig: &str, routes: &BTreeMap<u8, String>) -> Result<Host, BadOutput> {
    let listed =
        listing::read(ifconfig).map_err(|source| BadOutput { command: "ifconfig -A".to_owned(), source })?;
    let mut host = Host::default();
    for found in &listed {
        host.interfaces.insert(found.name.clone(), interface(found));
    }
    for (&rtable, text) in routes {
        let rows = table::read(text)
            .map_err(|source| BadOutput { command: format!("route -T{rtable} -nv show"), source })?;
        host.routes.extend(rows.iter().filter_map(|row| Some((rtable, words(row, &listed)?))));
    }
    Ok(host)
}

fn interface(listed: &Listed) -> HostInterface {
    let kind = listed.name.trim_end_matches(|c: char| c.is_ascii_digit());
    let usual = USUAL_MTU.contains(&(kind, listed.mtu));
    // It has ::1 by itself.
    let own = |address: &&IpNetwork| kind != "lo" || address.is_ipv4() || !address.ip().is_loopback();
    HostInterface {
        rdomain: listed.rdomain,
        addresses: listed.addresses.iter().filter(own).copied().collect(),
        mtu: (!usual).then_some(listed.mtu),
        patch: listed.patch.clone(),
        parent: listed.parent.clone(),
        vnetid: listed.vnetid,
        tunnel: (kind == "wg").then(|| tunnel(listed)),
        description: listed.description.clone(),
        is_all_told: true,
    }
}

fn tunnel(listed: &Listed) -> HostTunnel {
    let ours = Mark::network(&listed.description).is_some();
    let secret = |name: String| if ours { KeySource::Made } else { KeySource::File(name) };
    let key = listed.wgpubkey.is_some().then(|| secret(format!("{}.key", listed.name)));
    let peers = listed.peers.iter().enumerate().map(|(number, peer)| HostPeer {
        key: Ok(peer.key),
        words: peer_words(peer),
        preshared: peer.preshared.then(|| KeySource::File(format!("{}-peer{}.psk", listed.name, number + 1))),
    });
    HostTunnel { port: Some(listed.wgport), rtable: listed.wgrtable, key, peers: peers.collect() }
}

fn peer_words(listed: &ListedPeer) -> Peer {
    Peer {
        key: listed.key,
        goes: false,
        endpoint: listed.endpoint.map(|at| (at.ip().to_string(), at.port())),
        allowed_ips: listed.allowed_ips.clone(),
        keepalive_secs: Some(listed.keepalive_secs),
        preshared_key: None,
        description: None,
    }
}

/// A static route; those that addresses bring are nobody's to write down.
fn words(row: &ListedRoute, listed: &[Listed]) -> Option<Words> {
    if !row.has('S') {
        return None;
    }
    let dropped = match (row.has('R'), row.has('B')) {
        (true, _) => Some(Dropped::Reject),
        (false, true) => Some(Dropped::Blackhole),
        (false, false) => None,
    };
    let by = listed.iter().find(|listed| listed.name == row.interface);
    let first = || by?.addresses.iter().map(IpNetwork::ip).find(|own| width(*own) == width(row.to.address()));
    Some(Words {
        to: row.to,
        gateway: if row.has('G') { row.gateway_address() } else { first() },
        straight: !row.has('G'),
        dropped,
        multipath: row.has('P'),
        label: row.label.clone(),
        priority: Some(row.priority.saturating_sub(by.map_or(0, |by| by.priority))),
    })
}
