//! Tunnels that somebody else made, with their secrets.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use netlink_packet_wireguard::WireguardAttribute;

use super::{Namespace, Search, Sight};
use crate::backend::BackendError;
use crate::backend::linux::explain::Doing;
use crate::backend::linux::link::{Driver, Link};
use crate::backend::linux::netlink::{Netlink, Protocol};
use crate::backend::linux::port;
use crate::backend::linux::sockets::public_paths;
use crate::backend::linux::tunnel::Current;
use crate::backend::linux::{uapi, view, wireguard};
use crate::model::{
    DomainId, End, Endpoint, Engine, Key, Kind, Network, Peer, Preshared, PublicKey, SecretName, WireGuard,
};
use crate::state::Secret;

/// What an engine has, and where the sockets are.
struct Tunnel {
    current: Current,
    key: Option<Secret>,
    underlay: Option<DomainId>,
    engine: Engine,
    /// Of its encrypted packets; 0 is none.
    fwmark: u32,
}

/// The tunnel that a link is; nothing for a TUN device of something else.
pub(super) fn read(search: &mut Search, at: &End, link: &Link) -> Result<Option<WireGuard>, BackendError> {
    let tunnel = match link.driver {
        Driver::WireGuard => Some(of_driver(search, at, link)?),
        _ => of_engine(search, at),
    };
    let Some(Tunnel { current, key, underlay, engine, fwmark }) = tunnel else { return Ok(None) };
    let Some(underlay) = underlay else {
        search.left.push(format!(
            "{at}: its sockets are in a namespace without a name, or cannot be told from others'"
        ));
        return Ok(None);
    };
    if fwmark != 0 {
        search
            .left
            .push(format!("{at}: the mark {fwmark:#x} of its encrypted packets, of which a file has none"));
    }
    match key {
        Some(key) => drop(search.secrets.insert(SecretName::PrivateKey(at.clone()), key)),
        None => search.left.push(format!("{at}: it has no private key, and gets a new one")),
    }
    let mut peers = BTreeMap::new();
    for (number, peer) in current.peers.into_iter().enumerate() {
        let name = format!("peer{}", number + 1);
        let secret = SecretName::PresharedKey(at.clone(), name.clone());
        let preshared_key = peer.preshared_key.as_ref().map(|_| Preshared::Of(secret.clone()));
        search.secrets.extend(peer.preshared_key.map(|key| (secret, key)));
        let model = Peer {
            name: Some(name),
            endpoint: peer.endpoint.map(Endpoint::from),
            allowed_ips: peer.allowed_ips,
            preshared_key,
            persistent_keepalive_secs: peer.persistent_keepalive_secs,
        };
        peers.insert(Key::Public(peer.key), model);
    }
    let listen_port = Some(current.listen_port).filter(|&port| port != 0);
    Ok(Some(WireGuard { engine, underlay, listen_port, key: Key::Of(at.clone()), peers }))
}

/// The driver's sockets are in the namespace that the link was made in.
fn of_driver(search: &Search, at: &End, link: &Link) -> Result<Tunnel, BackendError> {
    let what = || format!("read tunnel {at}");
    let namespace = &search.sights[&search.home(at.domain)].namespace;
    let mut generic = Netlink::of(namespace, Protocol::Generic).doing(what)?;
    let attributes = wireguard::attributes(&mut generic, &at.interface).doing(what)?;
    let underlay = search.elsewhere(at.domain, link.birthplace);
    let (current, key) = (wireguard::of_attributes(&attributes), wireguard::private_key(&attributes));
    let fwmark = attributes.iter().find_map(|attribute| match attribute {
        WireguardAttribute::Fwmark(mark) => Some(*mark),
        _ => None,
    });
    Ok(Tunnel { current, key, underlay, engine: Engine::Auto, fwmark: fwmark.unwrap_or(0) })
}

/// An engine in user space, asked where wg(8) asks it, by the longer of two names if it has that.
fn of_engine(search: &Search, at: &End) -> Option<Tunnel> {
    let [plain, long] = public_paths(at, search.name(at.domain));
    let path = if fs::symlink_metadata(&long).is_ok() { long } else { plain };
    let stream = UnixStream::connect(&path).ok()?;
    let current = uapi::read(stream).ok()?;
    let key = uapi::private_key(UnixStream::connect(&path).ok()?).ok()?;
    let fwmark = view::tunnel_of_stream(UnixStream::connect(&path).ok()?).ok()?.fwmark;
    let underlay = underlay(search, &path, current.listen_port);
    Some(Tunnel { current, key, underlay, engine: Engine::Userspace, fwmark })
}

/// Most engines have their UDP sockets where the Unix socket was made, in the namespace that they are in. One that was
/// handed its sockets has them wherever its port is taken.
fn underlay(search: &Search, path: &Path, port: u16) -> Option<DomainId> {
    let mut all = search.sights.iter();
    if let Some((&id, _)) = all.find(|(_, sight)| has_socket(&sight.namespace, path)) {
        return Some(id);
    }
    let taken = |(&id, sight): (&DomainId, &Sight)| {
        let found = port::socket_of(&sight.namespace, port).ok().flatten()?;
        let guest = search.guests.iter().find(|(_, guest)| id.is_default() && guest.index == found.device);
        Some(guest.map_or(id, |(&guest, _)| guest))
    };
    let mut places = search.sights.iter().filter_map(taken);
    places.next().filter(|_| places.next().is_none())
}

/// Whether the Unix socket at this path was made in a namespace: each lists its own (proc_pid_net(5)).
fn has_socket(namespace: &Namespace, path: &Path) -> bool {
    let names = [Some(path.to_owned()), fs::canonicalize(path).ok()];
    let names: Vec<_> = names.iter().flatten().filter_map(|path| path.to_str()).collect();
    let listed = namespace.run(|| fs::read_to_string("/proc/thread-self/net/unix"));
    let has = |line: &str| line.split_whitespace().last().is_some_and(|name| names.contains(&name));
    matches!(listed, Ok(Ok(text)) if text.lines().any(has))
}

/// Peers that are tunnels of the network too are called by their place, their keys follow.
pub(super) fn name_peers(network: &mut Network, secrets: &BTreeMap<SecretName, Secret>) {
    let own = |(name, secret): (&SecretName, &Secret)| match name {
        SecretName::PrivateKey(end) => Some((secret.public_key(), end.clone())),
        SecretName::PresharedKey(..) => None,
    };
    let ends: BTreeMap<PublicKey, End> = secrets.iter().filter_map(own).collect();
    let domains = network.domains.values_mut();
    for held in domains.flat_map(|domain| domain.interfaces.values_mut()) {
        let Kind::WireGuard(tunnel) = &mut held.kind else { continue };
        let renamed = std::mem::take(&mut tunnel.peers).into_iter().map(|(key, peer)| match &key {
            Key::Public(public) if peer.preshared_key.is_none() && ends.contains_key(public) => {
                let end = ends[public].clone();
                (Key::Of(end.clone()), Peer { name: Some(end.to_string()), ..peer })
            }
            Key::Public(_) | Key::Of(_) => (key, peer),
        });
        tunnel.peers = renamed.collect();
    }
}
