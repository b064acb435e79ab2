//! Where control groups of version 2 are: their file system's type is cgroup2 (cgroups(7)). Hosts that still have
//! version 1 mount it beside, often at /sys/fs/cgroup/unified.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Where it usually is, with version 2 alone and with both. The list of mounts is long where many namespaces have names.
const USUAL: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The mount of cgroup2, if there is one.
pub fn control_groups() -> Option<PathBuf> {
    let usual = USUAL.into_iter().map(PathBuf::from).find(|place| is_seen(place));
    usual.or_else(|| find(&fs::read_to_string("/proc/self/mountinfo").ok()?, is_seen))
}

/// Whether no other mount hides it: such ones are listed too.
fn is_seen(place: &Path) -> bool {
    statfs(place).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// The first mount of the whole hierarchy, else the first of a part of it (proc_pid_mountinfo(5)).
fn find(mounts: &str, is_seen: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mounts = mounts.lines().filter_map(cgroup2_mount);
    let seen = mounts.map(|(root, place)| (root, PathBuf::from(plain(place))));
    let mut seen: Vec<_> = seen.filter(|(_, place)| is_seen(place)).collect();
    seen.sort_by_key(|(root, _)| *root != "/");
    seen.into_iter().map(|(_, place)| place).next()
}

fn cgroup2_mount(line: &str) -> Option<(&str, &str)> {
    let (fields, rest) = line.split_once(" - ")?;
    let mut fields = fields.split(' ').skip(3);
    let (root, place) = (fields.next()?, fields.next()?);
    (rest.split(' ').next()? == "cgroup2").then_some((root, place))
}

/// A path as it is: spaces are written `\040`.
fn plain(path: &str) -> String {
    path.replace("\\040", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 30 0:22 / /proc rw,nosuid - proc proc rw
35 33 0:30 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
36 35 0:31 /part /mnt/a\\040part rw shared:10 - cgroup2 cgroup2 rw
37 35 0:31 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
38 35 0:32 / /sys/fs/cgroup/net_cls rw shared:11 - cgroup cgroup rw,net_cls";

    #[test]
    fn the_whole_hierarchy_is_preferred_to_a_part_and_what_is_hidden_left_out() {
        let all = |_: &Path| true;
        let whole = PathBuf::from("/sys/fs/cgroup/unified");
        let part = Some(PathBuf::from("/mnt/a part"));
        assert_eq!(find(HYBRID, all), Some(whole.clone()));
        assert_eq!(find(HYBRID, |place| place != whole), part);
        let first: String = HYBRID.lines().take(3).map(|line| format!("{line}\n")).collect();
        assert_eq!(find(&first, all), part);
        assert_eq!(find(HYBRID.lines().next().unwrap(), all), None);
    }
}
