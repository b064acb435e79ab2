//! Changes one setting of a running interface at a time, as a configurer says them; sessions of peers that a change
//! does not touch go on.

use std::time::Instant;

use super::core::{Core, PeerId};
use super::route::Route;
use super::uapi::{PeerSetting, Setting};
use crate::model::{Prefix, PublicKey};

/// The peer that the settings which follow are about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selected {
    id: Option<PeerId>,
    created: bool,
}

impl Core {
    /// Applies one setting.
    pub fn apply(&mut self, setting: Setting, selected: &mut Selected, now: Instant) {
        match setting {
            Setting::PrivateKey(secret) => self.set_identity(secret, now),
            Setting::ReplacePeers => self.remove_all_peers(),
            Setting::Peer(key) => *selected = self.select(key),
            Setting::UpdateOnly => {
                if selected.created {
                    self.remove_selected(selected);
                }
            }
            Setting::Remove => self.remove_selected(selected),
            Setting::PeerSetting(setting) => {
                if let Some(id) = selected.id {
                    self.apply_to_peer(id, setting, now);
                    // Which may be due earlier.
                    drop(self.hold(id));
                }
            }
        }
    }

    /// An interface's own key is no peer: settings for it go nowhere.
    fn select(&mut self, key: PublicKey) -> Selected {
        if self.identity.as_ref().is_some_and(|identity| identity.public_key == key) {
            return Selected::default();
        }
        if let Some(id) = self.by_key.get(&key) {
            return Selected { id: Some(*id), created: false };
        }
        Selected { id: Some(self.add_peer(key)), created: true }
    }

    fn remove_selected(&mut self, selected: &mut Selected) {
        if let Some(id) = selected.id.take() {
            self.remove_peer(id);
        }
    }

    fn apply_to_peer(&mut self, id: PeerId, setting: PeerSetting, now: Instant) {
        let Some(peer) = self.peer_mut(id) else { return };
        match setting {
            PeerSetting::PresharedKey(key) if key == peer.preshared_key => {}
            PeerSetting::PresharedKey(key) => {
                peer.preshared_key = key;
                self.disarm(id, now);
            }
            PeerSetting::Endpoint(endpoint) => {
                let first = peer.endpoint.replace(Route::to(endpoint)).is_none();
                if first {
                    peer.restart_keepalive(now);
                }
            }
            PeerSetting::KeepaliveSecs(secs) => peer.set_keepalive(secs, now),
            PeerSetting::ReplaceAllowedIps => {
                for prefix in std::mem::take(&mut peer.allowed_ips) {
                    self.allowed_ips.remove(prefix, id);
                }
            }
            PeerSetting::AllowedIp(prefix) => self.allow(id, prefix),
            PeerSetting::NoAllowedIp(prefix) => {
                if self.allowed_ips.remove(prefix, id)
                    && let Some(peer) = self.peer_mut(id)
                {
                    peer.allowed_ips.remove(&prefix);
                }
            }
        }
    }

    fn allow(&mut self, id: PeerId, prefix: Prefix) {
        let before = self.allowed_ips.insert(prefix, id);
        if let Some(other) = before.and_then(|other| self.peer_mut(other)) {
            other.allowed_ips.remove(&prefix);
        }
        if let Some(peer) = self.peer_mut(id) {
            peer.allowed_ips.insert(prefix);
        }
    }
}
