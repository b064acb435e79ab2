//! What programs of a domain see instead of the host's files about names: resolv.conf(5) and hosts(5).
//!
//! A domain has a directory of them, or, where the host's daemons may answer, an empty file instead. They are for
//! everybody to read, as the host's are.

use std::fmt::Write;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::gethostname;

use super::Directories;
use super::file::StateError;
use crate::model::{Dns, Domain, DomainId, Network, Resolver};

/// Where the files of a domain are, of a network with this runtime directory.
pub fn lookups(runtime: &Path, domain: DomainId) -> PathBuf {
    all(runtime).join(domain.to_string())
}

fn all(runtime: &Path) -> PathBuf {
    runtime.join("lookups")
}

/// Writes the files of every domain anew: whoever enters a domain meanwhile sees the old ones or the new ones.
pub fn write_lookups(network: &Network, directories: &Directories) -> Result<(), StateError> {
    let (all, beside) = (all(&directories.runtime), directories.runtime.join("lookups.new"));
    let write = || {
        remove(&beside)?;
        let mut said = network.domains.iter().filter(|(_, domain)| domain.dns != Dns::Unsaid).peekable();
        if said.peek().is_none() {
            return remove(&all);
        }
        make_readable(&beside)?;
        said.try_for_each(|(id, domain)| write_domain(&beside.join(id.to_string()), domain))?;
        exchange(&beside, &all)?;
        remove(&beside)
    };
    write().map_err(|source| StateError::new("write", &all, source))
}

/// Puts one directory in the place of another, which is then in its place, if there is one.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, new, AT_FDCWD, old, RenameFlags::RENAME_EXCHANGE) {
        Err(Errno::ENOENT) => fs::rename(new, old),
        exchanged => Ok(exchanged?),
    }
}

fn write_domain(place: &Path, domain: &Domain) -> io::Result<()> {
    match &domain.dns {
        Dns::Unsaid => Ok(()),
        Dns::Host => write_readable(place, ""),
        Dns::Own(resolver) => {
            make_readable(place)?;
            let host = gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let text = |file: &str| match file {
                "resolv.conf" => resolv_conf(resolver),
                _ => hosts(resolver, &host),
            };
            domain.dns.files().iter().try_for_each(|file| write_readable(&place.join(file), &text(file)))
        }
    }
}

fn resolv_conf(resolver: &Resolver) -> String {
    let mut text = String::from("# Of rdom(1): `dns` of this domain.\n");
    for server in &resolver.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolver.search.is_empty() {
        let _ = writeln!(text, "search {}", resolver.search.join(" "));
    }
    text
}

/// The host's own name is among them, for programs that look for it (sudo, sendmail).
fn hosts(resolver: &Resolver, host: &str) -> String {
    let mut text = String::from("# Of rdom(1): `dns` of this domain.\n127.0.0.1 localhost\n::1 localhost\n");
    if !host.is_empty() {
        let _ = writeln!(text, "127.0.1.1 {host}");
    }
    for (name, address) in &resolver.hosts {
        let _ = writeln!(text, "{address} {name}");
    }
    text
}

fn remove(all: &Path) -> io::Result<()> {
    match fs::remove_dir_all(all) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_readable(directory: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))
}

fn write_readable(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::model::NetworkName;

    #[test]
    fn files_are_as_their_manual_pages_have_them() {
        let resolver = Resolver {
            servers: ["10.0.1.53", "fd00::53"].map(|server| server.parse().unwrap()).into(),
            search: vec!["blue.example".into(), "example".into()],
            hosts: [("db".to_owned(), "10.0.0.5".parse().unwrap())].into(),
        };
        let head = "# Of rdom(1): `dns` of this domain.\n";
        let servers = "nameserver 10.0.1.53\nnameserver fd00::53\nsearch blue.example example\n";
        assert_eq!(resolv_conf(&resolver), format!("{head}{servers}"));
        let names = "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 machine\n10.0.0.5 db\n";
        assert_eq!(hosts(&resolver, "machine"), format!("{head}{names}"));
    }

    #[test]
    fn whoever_looks_meanwhile_sees_files_of_one_time() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories { state: root.path().join("state"), runtime: root.path().to_owned() };
        let network = |server: &str| {
            let mut network = Network::empty(NetworkName::new("campus").unwrap());
            let id = DomainId::new(1).unwrap();
            let servers = vec![server.parse().unwrap(); 100];
            let mut domain = Domain::bare(id);
            domain.dns = Dns::Own(Resolver { servers, ..Resolver::default() });
            network.domains.insert(id, domain);
            network
        };
        let (one, two) = (network("10.0.0.1"), network("10.0.0.2"));
        write_lookups(&one, &directories).unwrap();
        let file = lookups(&directories.runtime, DomainId::new(1).unwrap()).join("resolv.conf");
        let (texts, done) = (Mutex::new(BTreeSet::new()), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    texts.lock().unwrap().insert(fs::read_to_string(&file).unwrap());
                }
            });
            while texts.lock().unwrap().len() < 2 {
                [&two, &one].iter().for_each(|network| write_lookups(network, &directories).unwrap());
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(texts.into_inner().unwrap().iter().all(|text| text.lines().count() == 101));
        write_lookups(&Network::empty(one.name), &directories).unwrap();
        assert!(!file.exists());
    }
}
