//! The sysctls of one interface, which it loses with its namespace: those that are not known to be as a new one has them
//! (Documentation/networking/ip-sysctl.rst, `conf/interface` and `neigh`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::namespace::{Namespace, NamespaceError};
use super::sysctl::{plain, put};

/// Where interfaces have directories below /proc/sys/net.
const TREES: [&str; 4] = ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"];

/// What follows from the link itself, and what nobody reads.
const LEFT_OUT: [&str; 2] = ["mtu", "stable_secret"];

/// Those of the interface of this name, by their places less its name.
pub(super) fn of(namespace: &Namespace, interface: &str) -> Result<BTreeMap<String, String>, NamespaceError> {
    namespace.run(|| TREES.iter().flat_map(|tree| different(tree, interface)).collect())
}

/// None where there is no such tree, as without IPv6.
fn different(tree: &str, interface: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(directory(tree, interface)).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let read = |whose: &str, file: &str| fs::read_to_string(directory(tree, whose).join(file)).ok();
    let own = files.filter(|file| !LEFT_OUT.contains(&file.as_str())).filter_map(|file| {
        let value = read(interface, &file)?;
        // Only the initial namespace shows what neighbours of a new interface are kept by.
        let is_usual = read("default", &file).is_some_and(|usual| usual == value);
        (!is_usual).then(|| (format!("{tree}/{file}"), plain(&value)))
    });
    own.collect()
}

/// Makes them so where they are not; what cannot be is returned.
pub(super) fn restore(
    namespace: &Namespace,
    interface: &str,
    sysctls: &BTreeMap<String, String>,
) -> Result<Vec<(String, io::Error)>, NamespaceError> {
    let write = |(place, value): (&String, &String)| {
        let (tree, file) = place.rsplit_once('/')?;
        let path = directory(tree, interface).join(file);
        let is_so = fs::read_to_string(&path).is_ok_and(|now| plain(&now) == *value);
        if is_so { None } else { put(&path, value).err().map(|error| (place.clone(), error)) }
    };
    namespace.run(|| sysctls.iter().filter_map(write).collect())
}

fn directory(tree: &str, interface: &str) -> PathBuf {
    Path::new("/proc/sys/net").join(tree).join(interface)
}
