//! The secrets and generated ports of one network: found, or made and kept.
//!
//! `keys/DOMAIN-IF` holds one private key in base64, as wg(8) writes it; `ports/DOMAIN-IF` one port.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand_core::{OsRng, RngCore};
use zeroize::Zeroizing;

use super::directories::Directories;
use super::file::{StateError, make_directory, read, replace, require_own, require_private};
use super::keys::{KeyRing, Secret};
use crate::model::{Bindings, End, Key, Network, PublicKey, SecretName};

/// What to do about a key or port that there is none of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Make it and keep it.
    Generate,
    /// Leave it open: for a look that changes nothing.
    LeaveOpen,
}

/// The keys and ports of a network, on disk.
pub struct Store<'k> {
    directory: PathBuf,
    /// Public keys that are known already, by their private halves.
    publics: BTreeMap<&'k [u8; 32], PublicKey>,
}

/// What was found or made.
#[derive(Debug, Default)]
pub struct Stored {
    /// Their public side.
    pub bindings: Bindings,
    /// Their secret side.
    pub keys: KeyRing,
    /// Files that others can read, and the like.
    pub warnings: Vec<String>,
}

impl<'k> Store<'k> {
    /// The store of a network.
    pub fn of(directories: &Directories) -> Self {
        Self { directory: directories.state.clone(), publics: BTreeMap::new() }
    }

    /// The same, which need not work out what these keys say.
    #[must_use]
    pub fn knowing(self, keys: &'k KeyRing) -> Self {
        Self { publics: keys.publics(), ..self }
    }

    /// Everything that the network leaves open, with `files` for the secrets that it says to be in files.
    pub fn bindings(
        &self,
        network: &Network,
        files: &BTreeMap<SecretName, PathBuf>,
        missing: Missing,
    ) -> Result<Stored, StateError> {
        require_private(&self.directory)?;
        let mut stored = Stored::default();
        for (name, path) in files {
            self.add_file(&mut stored, name, path)?;
        }
        for (at, tunnel) in network.tunnels() {
            if tunnel.key == Key::Of(at.clone()) && !stored.bindings.public_keys.contains_key(&at) {
                self.add_private(&mut stored, &at, missing)?;
            }
            let own = stored.bindings.public_keys.get(&at).map(|&public| Key::Public(public));
            if own.is_some_and(|own| tunnel.peers.contains_key(&own)) {
                let named = files.get(&SecretName::PrivateKey(at.clone()));
                let path = named.cloned().unwrap_or_else(|| self.private_key(&at));
                return Err(StateError::new("use", &path, its_own_peer(&at)));
            }
            if tunnel.listen_port.is_none() {
                self.add_port(&mut stored, network, at, missing)?;
            }
        }
        Ok(stored)
    }

    /// The file that the private key of this tunnel is kept in, if it is kept here.
    pub fn private_key(&self, at: &End) -> PathBuf {
        self.path("keys", at)
    }

    fn add_file(&self, stored: &mut Stored, name: &SecretName, path: &Path) -> Result<(), StateError> {
        let (text, mode) = read_secret(path).map_err(|source| StateError::new("read", path, source))?;
        let secret = parse(path, text)?;
        if mode & 0o077 != 0 {
            let path = path.display();
            stored
                .warnings
                .push(format!("{path}: others can read this {name} (mode {mode:04o}): chmod 600 {path}"));
        }
        match name {
            SecretName::PrivateKey(end) => {
                self.add_pair(stored, end, secret);
            }
            SecretName::PresharedKey(..) => {
                stored.bindings.fingerprints.insert(name.clone(), secret.fingerprint());
                stored.keys.add_preshared(secret);
            }
        }
        Ok(())
    }

    fn add_private(&self, stored: &mut Stored, at: &End, missing: Missing) -> Result<(), StateError> {
        let path = self.path("keys", at);
        let secret = match (read(&path)?, missing) {
            (Some(text), _) => parse(&path, Zeroizing::new(text))?,
            (None, Missing::LeaveOpen) => return Ok(()),
            (None, Missing::Generate) => generate(&path)?,
        };
        self.add_pair(stored, at, secret);
        Ok(())
    }

    fn add_pair(&self, stored: &mut Stored, at: &End, secret: Secret) {
        let public = self.publics.get(secret.bytes()).copied().unwrap_or_else(|| secret.public_key());
        stored.bindings.public_keys.insert(at.clone(), public);
        stored.keys.add_pair(public, secret);
    }

    fn add_port(
        &self,
        stored: &mut Stored,
        network: &Network,
        at: End,
        missing: Missing,
    ) -> Result<(), StateError> {
        let path = self.path("ports", &at);
        let kept = read(&path)?.and_then(|text| text.trim().parse().ok());
        let port = match (kept, missing) {
            (Some(port), _) => port,
            (None, Missing::LeaveOpen) => return Ok(()),
            (None, Missing::Generate) => {
                let port = unused_port(network, &stored.bindings);
                make_directory(&self.directory.join("ports"))?;
                replace(&path, &format!("{port}\n"))?;
                port
            }
        };
        stored.bindings.ports.insert(at, port);
        Ok(())
    }

    fn path(&self, kind: &str, at: &End) -> PathBuf {
        self.directory.join(kind).join(format!("{}-{}", at.domain, at.interface))
    }
}

/// A key file, which may be a symbolic link for it is the user's, and its mode; one that others can write is refused.
fn read_secret(path: &Path) -> io::Result<(Zeroizing<String>, u32)> {
    let mut file = File::open(path)?;
    require_own(path, &file)?;
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text)?;
    Ok((text, file.metadata()?.permissions().mode() & 0o777))
}

fn generate(path: &Path) -> Result<Secret, StateError> {
    let mut bytes = Zeroizing::new([0; 32]);
    OsRng.fill_bytes(&mut *bytes);
    let secret = Secret::private(*bytes);
    path.parent().map_or(Ok(()), make_directory)?;
    let text = Zeroizing::new(STANDARD.encode(secret.bytes()) + "\n");
    replace(path, &text)?;
    Ok(secret)
}

/// Both engines would leave such a peer out, and say nothing.
fn its_own_peer(at: &End) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("a peer of {at} has the public key of {at} itself"))
}

fn parse(path: &Path, text: Zeroizing<String>) -> Result<Secret, StateError> {
    let malformed = |why: &str| StateError::new("use", path, io::Error::new(io::ErrorKind::InvalidData, why));
    let bytes = STANDARD.decode(text.trim()).map_err(|_| malformed("not a key: not base64"))?;
    let bytes = Zeroizing::new(bytes);
    let bytes: [u8; 32] =
        bytes.as_slice().try_into().map_err(|_| malformed("not a key: not 32 bytes of base64"))?;
    Ok(Secret::new(bytes))
}

/// A port of the dynamic range (RFC 6335: 49152 to 65535) that this network does not use yet.
fn unused_port(network: &Network, bindings: &Bindings) -> u16 {
    let fixed = network.tunnels().filter_map(|(_, tunnel)| tunnel.listen_port);
    let used: Vec<u16> = fixed.chain(bindings.ports.values().copied()).collect();
    loop {
        let port = 49152 + (OsRng.next_u32() % 16384) as u16;
        if !used.contains(&port) {
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use std::fs;

    use super::*;
    use crate::model::{DomainId, Engine, Interface, InterfaceName, Kind, NetworkName, WireGuard};

    fn network() -> (Network, End) {
        let at = End { domain: DomainId::DEFAULT, interface: InterfaceName::new("wg0").unwrap() };
        let kind = Kind::WireGuard(WireGuard {
            engine: Engine::Auto,
            underlay: DomainId::DEFAULT,
            listen_port: None,
            key: Key::Of(at.clone()),
            peers: BTreeMap::new(),
        });
        let mut network = Network::empty(NetworkName::new("n").unwrap());
        let inside = network.domains.get_mut(&DomainId::DEFAULT).unwrap();
        inside.interfaces.insert(at.interface.clone(), Interface::new(kind));
        (network, at)
    }

    fn store() -> (tempfile::TempDir, Store<'static>) {
        let root = tempfile::tempdir().unwrap();
        let store = Store { directory: root.path().join("state"), publics: BTreeMap::new() };
        (root, store)
    }

    #[test]
    fn keys_and_ports_are_made_once_and_for_their_owner_alone() {
        let ((network, at), (_root, store)) = (network(), store());
        let first = store.bindings(&network, &BTreeMap::new(), Missing::Generate).unwrap();
        let second = store.bindings(&network, &BTreeMap::new(), Missing::LeaveOpen).unwrap();

        assert_eq!(first.bindings, second.bindings);
        let directory = store.directory.clone();
        let knowing = Store { directory, publics: first.keys.publics() };
        let third = knowing.bindings(&network, &BTreeMap::new(), Missing::LeaveOpen).unwrap();
        assert_eq!(first.bindings, third.bindings);
        assert!(first.keys.private(&first.bindings.public_keys[&at]).is_some());
        assert!(first.bindings.ports[&at] >= 49152);
        let mode = fs::metadata(store.path("keys", &at)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::metadata(&store.directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_is_made_beside_all_others_whatever_interfaces_are_called() {
        let ((mut network, at), (_root, store)) = (network(), store());
        let inside = network.domains.get_mut(&DomainId::DEFAULT).unwrap();
        let mut interface = inside.interfaces.remove(&at.interface).unwrap();
        let later = InterfaceName::new("wg0.new").unwrap();
        if let Kind::WireGuard(tunnel) = &mut interface.kind {
            tunnel.key = Key::Of(End { interface: later.clone(), ..at.clone() });
        }
        inside.interfaces.insert(later.clone(), interface);
        let later = End { interface: later, ..at.clone() };
        let make = |network: &Network| {
            store.bindings(network, &BTreeMap::new(), Missing::Generate).unwrap().bindings
        };
        let before = make(&network).public_keys[&later];
        let (both, _) = self::network();
        let both = both.domains[&DomainId::DEFAULT].interfaces.clone();
        network.domains.get_mut(&DomainId::DEFAULT).unwrap().interfaces.extend(both);
        assert_eq!(make(&network).public_keys[&later], before);
    }

    #[test]
    fn a_look_makes_nothing() {
        let ((network, _), (_root, store)) = (network(), store());
        let looked = store.bindings(&network, &BTreeMap::new(), Missing::LeaveOpen).unwrap();
        assert_eq!(looked.bindings, Bindings::default());
        assert!(!store.directory.exists());
    }

    #[test]
    fn a_symbolic_link_in_place_of_a_key_is_not_followed() {
        let ((network, at), (root, store)) = (network(), store());
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, STANDARD.encode([7; 32])).unwrap();
        fs::create_dir_all(store.directory.join("keys")).unwrap();
        symlink(&elsewhere, store.path("keys", &at)).unwrap();
        assert!(store.bindings(&network, &BTreeMap::new(), Missing::Generate).is_err());
    }

    #[test]
    fn a_key_file_that_others_can_read_is_told_of() {
        let ((network, at), (root, store)) = (network(), store());
        let path = root.path().join("wg0.key");
        fs::write(&path, STANDARD.encode([7; 32]) + "\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let files = BTreeMap::from([(SecretName::PrivateKey(at.clone()), path)]);

        let stored = store.bindings(&network, &files, Missing::Generate).unwrap();

        assert_eq!(stored.bindings.public_keys[&at], Secret::new([7; 32]).public_key());
        assert!(stored.warnings[0].contains("mode 0644"), "{:?}", stored.warnings);
        assert!(!store.path("keys", &at).exists());
    }
}
