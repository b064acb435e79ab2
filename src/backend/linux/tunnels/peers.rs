//! Makes, changes and removes peers of tunnels, and has engines shake hands with them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::super::domains::Domains;
use super::super::tunnel::{Change, PeerChange, Session};
use super::{Tunnels, public, unbound};
use crate::backend::BackendError;
use crate::model::{End, Endpoint, Host, Key, Peer, Preshared, PublicKey};
use crate::state::Secret;

/// What a peer of a tunnel shall be.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::linux) struct Wanted<'p> {
    pub(in crate::backend::linux) key: &'p Key,
    pub(in crate::backend::linux) peer: &'p Peer,
    pub(in crate::backend::linux) session: Session,
}

impl Wanted<'_> {
    /// Its endpoint as the ledger has it.
    fn endpoint(&self) -> String {
        self.peer.endpoint.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

impl Tunnels {
    /// Makes peers what they shall be. The endpoint of one is given to the engine only if the file's changed, for else
    /// the engine knows better where the peer is. What the ledger says of all of them is written once.
    pub(in crate::backend::linux) fn set_peers(
        &mut self,
        domains: &mut Domains,
        at: &End,
        wanted: &[Wanted<'_>],
    ) -> Result<(), BackendError> {
        let record = domains.record(at.domain)?.tunnels.remove(at.interface.as_str()).unwrap_or_default();
        let given: Vec<_> = wanted.iter().map(Wanted::endpoint).collect();
        let keys = wanted.iter().map(|wanted| public(wanted.key)).collect::<Result<Vec<_>, _>>()?;
        let is_unchanged = |number: usize| {
            wanted[number].session == Session::Kept
                && record.endpoints.get(&keys[number].to_string()) == Some(&given[number])
        };
        let unchanged: Vec<_> = (0..wanted.len()).map(is_unchanged).collect();
        let known =
            if unchanged.contains(&true) { self.with_endpoints(domains, at)? } else { BTreeSet::new() };
        let secrets =
            wanted.iter().map(|wanted| self.preshared(wanted.peer)).collect::<Result<Vec<_>, _>>()?;
        let mut changes = Vec::with_capacity(wanted.len());
        let mut to_greet = Vec::new();
        for (number, &Wanted { peer, session, .. }) in wanted.iter().enumerate() {
            let key = keys[number];
            let known = unchanged[number] && known.contains(&key);
            let endpoint = match &peer.endpoint {
                None => None,
                Some(_) if known => None,
                Some(endpoint) => address_of(endpoint)?,
            };
            // One that was told of this peer before and knows it no more is a new engine.
            if unchanged[number] && !known && peer.endpoint.is_some() && peer.persistent_keepalive_secs == 0 {
                to_greet.push((at.clone(), key));
            }
            let peer = PeerChange {
                endpoint,
                allowed_ips: &peer.allowed_ips,
                preshared_key: secrets[number].as_ref(),
                persistent_keepalive_secs: peer.persistent_keepalive_secs,
            };
            changes.push(Change::Peer { key, peer, session });
        }
        self.change(domains, at, &changes)?;
        self.to_greet.extend(to_greet);
        domains.change_tunnel(at, |record| {
            record.endpoints.extend(keys.iter().map(PublicKey::to_string).zip(given));
        })
    }

    /// Has new engines shake hands with the peers of those before them, by a keepalive: else such a peer would go on in a
    /// session that is gone, until it misses answers.
    pub(in crate::backend::linux) fn greet(&mut self, domains: &mut Domains) -> Result<(), BackendError> {
        for (at, key) in std::mem::take(&mut self.to_greet) {
            let current = self.current_of(domains, &at)?;
            let Some(peer) = current.peers.iter().find(|peer| peer.key == key) else { continue };
            for persistent_keepalive_secs in [1, peer.persistent_keepalive_secs] {
                let peer = PeerChange {
                    endpoint: None,
                    allowed_ips: &peer.allowed_ips,
                    preshared_key: peer.preshared_key.as_ref(),
                    persistent_keepalive_secs,
                };
                self.change(domains, &at, &[Change::Peer { key, peer, session: Session::Kept }])?;
            }
        }
        Ok(())
    }

    /// Gives a peer an endpoint. One with a persistent keepalive shakes hands at once: without an endpoint its engine may
    /// have given up.
    pub(in crate::backend::linux) fn point(
        &self,
        domains: &mut Domains,
        at: &End,
        key: PublicKey,
        endpoint: SocketAddr,
    ) -> Result<(), BackendError> {
        let current = self.current_of(domains, at)?;
        let Some(peer) = current.peers.iter().find(|peer| peer.key == key) else { return Ok(()) };
        let keepalives = match peer.persistent_keepalive_secs {
            0 => vec![0],
            secs => vec![0, secs],
        };
        for persistent_keepalive_secs in keepalives {
            let peer = PeerChange {
                endpoint: Some(endpoint),
                allowed_ips: &peer.allowed_ips,
                preshared_key: peer.preshared_key.as_ref(),
                persistent_keepalive_secs,
            };
            self.change(domains, at, &[Change::Peer { key, peer, session: Session::Kept }])?;
        }
        Ok(())
    }

    /// The peers of which the engine knows where they are.
    fn with_endpoints(&self, domains: &mut Domains, at: &End) -> Result<BTreeSet<PublicKey>, BackendError> {
        let current = self.current_of(domains, at)?;
        Ok(current.peers.iter().filter(|peer| peer.endpoint.is_some()).map(|peer| peer.key).collect())
    }

    fn preshared(&self, peer: &Peer) -> Result<Option<Secret>, BackendError> {
        let fingerprint = match &peer.preshared_key {
            None => return Ok(None),
            Some(Preshared::Known(fingerprint)) => fingerprint,
            Some(open @ Preshared::Of(_)) => return Err(unbound(open)),
        };
        match self.keys.preshared(fingerprint) {
            Some(secret) => Ok(Some(secret.clone())),
            None => Err(BackendError::new(format!("no preshared key is known for {fingerprint}"))),
        }
    }

    /// Removes a peer.
    pub(in crate::backend::linux) fn remove_peer(
        &mut self,
        domains: &mut Domains,
        at: &End,
        key: &Key,
    ) -> Result<(), BackendError> {
        let key = public(key)?;
        self.change(domains, at, &[Change::NoPeer { key }])?;
        domains.change_tunnel(at, |record| {
            record.endpoints.remove(&key.to_string());
        })
    }
}

/// A name's is to be looked up by somebody who can wait: see [`Tunnels::point`].
fn address_of(endpoint: &Endpoint) -> Result<Option<SocketAddr>, BackendError> {
    let port = endpoint.port.ok_or_else(|| BackendError::new(format!("endpoint {endpoint} has no port")))?;
    match &endpoint.host {
        Host::Address(address) => Ok(Some(SocketAddr::new(*address, port))),
        Host::Name(_) => Ok(None),
    }
}
