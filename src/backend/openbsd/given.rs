//! What an OpenBSD kernel was given and does not tell: the value of a preshared key, the name of an endpoint's host
//! and the endpoint of a peer that roamed, and which addresses on others' interfaces are ours.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::model::{
    Address, DomainId, End, Endpoint, Fingerprint, Host, Key, Kind, Network, Peer, Preshared, PublicKey,
};
use crate::plan::Step;

/// What is remembered of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    endpoints: BTreeMap<(End, PublicKey), Endpoint>,
    preshared: BTreeMap<(End, PublicKey), Fingerprint>,
    addresses: BTreeSet<(End, Address)>,
}

impl Given {
    /// What a kernel of which nothing is remembered is taken to have been given: what this network says, where the
    /// kernel cannot tell. So what cannot be read back is no difference.
    pub fn assumed(desired: &Network) -> Self {
        let mut given = Self::default();
        for (at, interface) in desired.interfaces() {
            if interface.kind == Kind::Existing {
                given.addresses.extend(interface.addresses.iter().map(|&address| (at.clone(), address)));
            }
            for (key, peer) in interface.wireguard().into_iter().flat_map(|tunnel| &tunnel.peers) {
                let by_name = |endpoint: &&Endpoint| matches!(endpoint.host, Host::Name(_));
                given.note_peer(
                    &at,
                    key,
                    peer.endpoint.as_ref().filter(by_name),
                    peer.preshared_key.as_ref(),
                );
            }
        }
        given
    }

    /// Before a step is taken: an address on somebody else's interface is ours from now on, and what a peer has is
    /// not known until it has been given. So a process that dies in between leaves nothing behind that is taken for
    /// granted. Whether anything changed.
    pub(super) fn expect(&mut self, step: &Step) -> bool {
        let before = self.clone();
        match step {
            Step::AddAddress { at, address } if at.domain.is_default() => {
                self.addresses.insert((at.clone(), *address));
            }
            Step::SetPeer { at, key, peer, .. } => {
                let now = self.with_peer(at, key, peer);
                if now != *self {
                    self.note_peer(at, key, None, None);
                }
            }
            Step::CreateDomain { .. } | Step::DeleteDomain { .. } | Step::RequireInterface { .. } => {}
            Step::CreateInterface { .. } | Step::DeleteInterface { .. } | Step::SetMtu { .. } => {}
            Step::SetImpairment { .. } => {}
            Step::SetController { .. } | Step::SetUp { .. } | Step::AddAddress { .. } => {}
            Step::RemoveAddress { .. } | Step::SetTunnel { .. } | Step::RemovePeer { .. } => {}
            Step::AddRoute { .. } | Step::RemoveRoute { .. } | Step::AddRule { .. } => {}
            Step::RemoveRule { .. } | Step::SetSysctl { .. } | Step::ResetSysctl { .. } => {}
        }
        *self != before
    }

    /// After a step was taken: what it has given, and what has gone. `before` is what was remembered before it.
    pub(super) fn note(&mut self, step: &Step, before: &Given) -> bool {
        let expected = self.clone();
        match step {
            Step::SetPeer { at, key, peer, .. } => *self = before.with_peer(at, key, peer),
            Step::RemovePeer { at, key } => self.note_peer(at, key, None, None),
            Step::RemoveAddress { at, address } => {
                self.addresses.remove(&(at.clone(), *address));
            }
            Step::DeleteInterface { at } => self.forget(|end| end == at),
            Step::DeleteDomain { domain, .. } => self.forget(|end| end.domain == *domain),
            Step::CreateDomain { .. } | Step::RequireInterface { .. } | Step::CreateInterface { .. } => {}
            Step::SetImpairment { .. } => {}
            Step::SetMtu { .. } | Step::SetController { .. } | Step::SetUp { .. } => {}
            Step::AddAddress { .. } | Step::SetTunnel { .. } | Step::AddRoute { .. } => {}
            Step::RemoveRoute { .. } | Step::AddRule { .. } | Step::RemoveRule { .. } => {}
            Step::SetSysctl { .. } | Step::ResetSysctl { .. } => {}
        }
        *self != expected
    }

    /// The endpoint of a peer: what it was given, wherever it roamed to since; none where the kernel has none.
    pub(super) fn endpoint(&self, at: &End, key: PublicKey, seen: Option<SocketAddr>) -> Option<Endpoint> {
        let seen = seen?;
        Some(self.endpoints.get(&(at.clone(), key)).cloned().unwrap_or_else(|| seen.into()))
    }

    /// The preshared key of a peer that has one; of an unknown one the fingerprint is all zeros.
    pub(super) fn preshared(&self, at: &End, key: PublicKey) -> Preshared {
        let known = self.preshared.get(&(at.clone(), key)).copied();
        Preshared::Known(known.unwrap_or(Fingerprint([0; 8])))
    }

    /// Whether an address on somebody else's interface is ours.
    pub(super) fn has_address(&self, at: &End, address: Address) -> bool {
        debug_assert_eq!(
            at.domain,
            DomainId::DEFAULT,
            "others' interfaces are looked at in the default domain only"
        );
        self.addresses.contains(&(at.clone(), address))
    }

    /// The same once a peer has been set; one that is given no endpoint keeps the one that it has.
    fn with_peer(&self, at: &End, key: &Key, peer: &Peer) -> Self {
        let mut given = self.clone();
        let Key::Public(public) = key else { return given };
        let before = self.endpoints.get(&(at.clone(), *public)).cloned();
        let endpoint = peer.endpoint.clone().or(before);
        given.note_peer(at, key, endpoint.as_ref(), peer.preshared_key.as_ref());
        given
    }

    fn note_peer(&mut self, at: &End, key: &Key, endpoint: Option<&Endpoint>, preshared: Option<&Preshared>) {
        let Key::Public(key) = key else { return };
        let place = (at.clone(), *key);
        self.endpoints.remove(&place);
        self.preshared.remove(&place);
        self.endpoints.extend(endpoint.map(|endpoint| (place.clone(), endpoint.clone())));
        if let Some(Preshared::Known(fingerprint)) = preshared {
            self.preshared.insert(place, *fingerprint);
        }
    }

    fn forget(&mut self, gone: impl Fn(&End) -> bool) {
        self.endpoints.retain(|(at, _), _| !gone(at));
        self.preshared.retain(|(at, _), _| !gone(at));
    }
}
