//! Packets of a network while its tests run: so many of the last ones, of which a failure gets those on its way.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Ground;
use crate::capture::{Ring, Tap};
use crate::model::{DomainId, End, InterfaceName};

/// Bytes of packets that are kept, over all interfaces.
const BYTES: usize = 32 << 20;
/// Interfaces that are listened to at most: each takes a descriptor.
const INTERFACES: usize = 500;

pub(super) struct Recording {
    ring: Ring,
    directory: PathBuf,
}

impl Recording {
    /// Listens to every interface there is but those whose packets no file has a number for.
    pub(super) fn start(ground: &Ground, directory: &Path) -> Result<Self, String> {
        let views = ground.survey.interfaces().map_err(|error| error.to_string())?;
        let ends = views.iter().filter_map(|view| {
            let domain = DomainId::new(view.domain).ok()?;
            Some(End { domain, interface: InterfaceName::new(view.name.as_str()).ok()? })
        });
        let taps = ends.filter_map(|end| tap(ground, &end)).take(INTERFACES).collect();
        let ring = Ring::start(taps, BYTES).map_err(|error| error.to_string())?;
        Ok(Self { ring, directory: directory.to_owned() })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes what went by these interfaces, or by any if there are none, into a file that is not there yet.
    pub(super) fn save(
        &self,
        network: &str,
        line: usize,
        way: &BTreeSet<String>,
        since: Duration,
    ) -> io::Result<PathBuf> {
        let (path, file) = self.create(&format!("{network}-line{line}"))?;
        self.ring.save(file, |name| way.is_empty() || way.contains(name), since)?;
        Ok(path)
    }

    /// Somebody else's test may stand at the same line, in a file of the same name.
    fn create(&self, stem: &str) -> io::Result<(PathBuf, File)> {
        let mut name = stem.to_owned();
        for number in 2.. {
            let path = self.directory.join(name + ".pcapng");
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => return opened.map(|file| (path, file)),
            }
            name = format!("{stem}-{number}");
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

fn tap(ground: &Ground, at: &End) -> Option<Tap> {
    let place = ground.namespaces().domain(at.domain)?;
    let open = || Tap::open(ground.end_word(at), &at.interface, None);
    place.namespace.run(open).ok()?.ok()
}
