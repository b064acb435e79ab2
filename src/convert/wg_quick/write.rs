//! A network's tunnels as files of wg-quick(8).
//!
//! What a domain has for its tunnel comes along: addresses, MTU, and the routes that leave by it. Secrets come along where
//! they are told; else a `PostUp` reads each from its file.

use std::fmt::Write;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::convert::shell::{RouteWords, quoted};
use crate::convert::{KeyFiles, SecretText};
use crate::model::{End, Interface, Key, Network, Peer, Preshared, SecretName, WireGuard};

/// What keeps a tunnel from being written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unwritable {
    /// A peer is an interface whose key nobody has made yet.
    #[error("{at} has a peer whose key is not made yet: {peer}")]
    KeyOpen {
        /// The tunnel.
        at: End,
        /// The peer.
        peer: End,
    },
    /// A peer is reached at a port that nobody has chosen yet.
    #[error("{at} has a peer whose port is not chosen yet: {peer}")]
    PortOpen {
        /// The tunnel.
        at: End,
        /// The peer, as its file calls it.
        peer: String,
    },
    /// A secret is to be in it, and nobody has it.
    #[error("{name} is not there yet")]
    Untold {
        /// The secret.
        name: SecretName,
    },
    /// There is none.
    #[error("network {0} has no tunnels")]
    NoTunnels(String),
}

impl Unwritable {
    /// What to type.
    pub fn help(&self) -> String {
        match self {
            Unwritable::KeyOpen { .. } | Unwritable::PortOpen { .. } => {
                "`rdom up` makes what the file leaves open; or name a `private_key_file` and a `listen_port`"
                    .into()
            }
            Unwritable::Untold { .. } => "`rdom up` makes keys that the file leaves open".into(),
            Unwritable::NoTunnels(_) => "`--format sh` writes all of a network".into(),
        }
    }
}

/// Where a configuration has its secrets.
#[derive(Clone, Copy)]
pub enum Secrets<'a> {
    /// In these files, which it names.
    InFiles(KeyFiles<'a>),
    /// In itself: what this tells.
    Told(&'a dyn Fn(&SecretName) -> Option<SecretText>),
}

/// The file of each tunnel.
pub fn configurations(network: &Network, secrets: Secrets<'_>) -> Result<Vec<(End, SecretText)>, Unwritable> {
    let tunnels = network
        .interfaces()
        .filter_map(|(at, interface)| Some((at, interface, interface.wireguard()?)))
        .map(|(at, interface, tunnel)| {
            configuration(network, &at, interface, tunnel, secrets).map(|text| (at, text))
        });
    let written: Vec<_> = tunnels.collect::<Result<_, _>>()?;
    match written.is_empty() {
        true => Err(Unwritable::NoTunnels(network.name.to_string())),
        false => Ok(written),
    }
}

fn configuration(
    network: &Network,
    at: &End,
    interface: &Interface,
    tunnel: &WireGuard,
    secrets: Secrets<'_>,
) -> Result<SecretText, Unwritable> {
    let mut text = Zeroizing::new("[Interface]\n".to_owned());
    let name = SecretName::PrivateKey(at.clone());
    match secrets {
        Secrets::Told(told) => {
            let key = told(&name).ok_or_else(|| Unwritable::Untold { name: name.clone() })?;
            let _ = writeln!(text, "PrivateKey = {}", *key);
        }
        Secrets::InFiles(_) => {}
    }
    for address in &interface.addresses {
        let _ = writeln!(text, "Address = {address}");
    }
    if let Some(port) = tunnel.listen_port {
        let _ = writeln!(text, "ListenPort = {port}");
    }
    if let Some(mtu) = interface.mtu {
        let _ = writeln!(text, "MTU = {mtu}");
    }
    let _ = writeln!(text, "Table = off");
    if let Secrets::InFiles(files) = secrets {
        let file = quoted(&files.private(at).display().to_string());
        let _ = writeln!(text, "PostUp = wg set %i private-key {file}");
        for (key, peer) in &tunnel.peers {
            if let (Key::Public(key), Some(Preshared::Of(name))) = (key, &peer.preshared_key)
                && let Some(file) = files.preshared(name)
            {
                let file = quoted(&file.display().to_string());
                let _ = writeln!(text, "PostUp = wg set %i peer {key} preshared-key {file}");
            }
        }
    }
    let routes = network.domains.get(&at.domain).into_iter().flat_map(|domain| &domain.routes);
    for route in routes.filter(|route| route.devices().any(|device| *device == at.interface)) {
        let family = if route.to.is_ipv6() { "-6 " } else { "" };
        let _ = writeln!(text, "PostUp = ip {family}route add {}", RouteWords(route));
    }
    for (key, inside) in &tunnel.peers {
        write_peer(&mut text, at, key, inside, secrets)?;
    }
    Ok(text)
}

fn write_peer(
    text: &mut String,
    at: &End,
    key: &Key,
    peer: &Peer,
    secrets: Secrets<'_>,
) -> Result<(), Unwritable> {
    let key = match key {
        Key::Public(key) => key,
        Key::Of(end) => return Err(Unwritable::KeyOpen { at: at.clone(), peer: end.clone() }),
    };
    text.push_str("\n[Peer]\n");
    if let Some(name) = &peer.name {
        let _ = writeln!(text, "# {name}");
    }
    let _ = writeln!(text, "PublicKey = {key}");
    if let (Secrets::Told(told), Some(Preshared::Of(name))) = (secrets, &peer.preshared_key) {
        let shared = told(name).ok_or_else(|| Unwritable::Untold { name: name.clone() })?;
        let _ = writeln!(text, "PresharedKey = {}", *shared);
    }
    let allowed: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    if !allowed.is_empty() {
        let _ = writeln!(text, "AllowedIPs = {}", allowed.join(", "));
    }
    if let Some(endpoint) = &peer.endpoint {
        if endpoint.port.is_none() {
            let peer = peer.name.clone().unwrap_or_else(|| key.to_string());
            return Err(Unwritable::PortOpen { at: at.clone(), peer });
        }
        let _ = writeln!(text, "Endpoint = {endpoint}");
    }
    if peer.persistent_keepalive_secs != 0 {
        let _ = writeln!(text, "PersistentKeepalive = {}", peer.persistent_keepalive_secs);
    }
    Ok(())
}
