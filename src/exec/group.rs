//! Programs that share a namespace with others but have an rtable of their own: each rtable has a control group, and
//! every socket that is made in the group belongs to the rtable, as with `ip vrf exec` (ip-vrf(8)).
//!
//! Children are born into the group of their parent (cgroups(7)), and leaving it needs the right to write to
//! `cgroup.procs` of a common ancestor, which is root's. Groups are `rdom/NETWORK.HOME/RTABLE` below the mount of
//! cgroup2, HOME being the inode of the default domain's namespace: private copies may have a network of the same
//! name. They are made when first needed.
//!
//! Where the rtable is that of a VRF device, what leaves must leave by the device or by an interface of it. Which these
//! are the group's program knows by their indices, so it is renewed when they change.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::bpf::{self, Birthmark, Program};
use crate::model::{NetworkName, RtableId};
use crate::probe::{self, Unsupported};

/// Where the groups of all networks are, below the mount.
const ALL: &str = "rdom";

/// What the sockets of a program are born with, and the group that sees to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The network.
    pub network: NetworkName,
    /// The rtable that the program lives in.
    pub rtable: RtableId,
    /// The VRF device that its sockets are bound to.
    pub device: Option<Device>,
    /// The mark by which a rule sends its packets to the rtable.
    pub mark: Option<u32>,
}

/// A VRF device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its index.
    pub index: u32,
    /// The indices of its interfaces.
    pub interfaces: Vec<u32>,
}

/// Who is to move into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The calling process.
    Caller,
    /// Another one.
    Process(Pid),
}

/// Processes that still live in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residents {
    /// The rtable that they live in.
    pub rtable: String,
    /// Their ids.
    pub pids: Vec<i32>,
}

impl fmt::Display for Residents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids: Vec<_> = self.pids.iter().map(ToString::to_string).collect();
        write!(f, "rtable {} still has residents: process {}", self.rtable, pids.join(", "))
    }
}

/// Moves a process into its group, which is made if need be. Must be called in the default domain.
pub fn admit(membership: &Membership, member: Member) -> Result<(), Unsupported> {
    // Asked first: in a user namespace, which sees no control groups either, this is what is in the way.
    let programs = programs(membership)?;
    let group = group_of(membership)?;
    let make = || DirBuilder::new().recursive(true).mode(0o755).create(&group);
    make().map_err(|error| closed(&group, &error))?;
    attach(&programs, &group)?;
    move_into(&group, member).map_err(|error| closed(&group, &error))
}

/// Tells a group, if there is one, what has become of its device. Must be called in the default domain.
pub fn renew(membership: &Membership) -> Result<(), Unsupported> {
    let group = group_of(membership)?;
    if !group.exists() {
        return Ok(());
    }
    attach(&programs(membership)?, &group)
}

fn group_of(membership: &Membership) -> Result<PathBuf, Unsupported> {
    Ok(directory_of(&membership.network)?.join(membership.rtable.to_string()))
}

fn programs(membership: &Membership) -> Result<Vec<Program>, Unsupported> {
    let device = membership.device.as_ref();
    let birthmark = Birthmark { device: device.map(|device| device.index), mark: membership.mark };
    let exits = device.map(|Device { index, interfaces }| [&[*index], interfaces.as_slice()].concat());
    let programs = [bpf::load(birthmark), bpf::load_exits(exits.as_deref())];
    programs.into_iter().map(|program| program.map_err(refused_program)).collect()
}

fn attach(programs: &[Program], group: &Path) -> Result<(), Unsupported> {
    let opened = File::open(group).map_err(|error| closed(group, &error))?;
    let mut programs = programs.iter();
    let attached = programs.try_for_each(|program| bpf::attach(program, opened.as_fd()));
    attached.map_err(|errno| refused_attachment(group, errno))
}

/// Removes the groups of a network, and returns those that somebody still lives in. Must be called in the default
/// domain.
pub fn remove_all(network: &NetworkName) -> Vec<Residents> {
    let Ok(directory) = directory_of(network) else { return Vec::new() };
    let Ok(groups) = fs::read_dir(&directory) else { return Vec::new() };
    let mut residents = Vec::new();
    for group in groups.flatten().filter(|entry| entry.path().is_dir()) {
        if fs::remove_dir(group.path()).is_err() {
            let rtable = group.file_name().to_string_lossy().into_owned();
            residents.push(Residents { rtable, pids: inhabitants(&group.path()) });
        }
    }
    let _ = fs::remove_dir(&directory);
    let _ = directory.parent().map(fs::remove_dir);
    residents
}

/// The groups of a network, with who lives in them. Must be called in the default domain.
pub fn members(network: &NetworkName) -> Vec<Residents> {
    let groups = directory_of(network).ok().and_then(|directory| fs::read_dir(directory).ok());
    let groups = groups.into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    let members = groups.map(|group| Residents {
        rtable: group.file_name().to_string_lossy().into_owned(),
        pids: inhabitants(&group.path()),
    });
    members.collect()
}

/// Whether a process lives in a group of any network.
pub fn is_resident(pid: Pid) -> bool {
    probe::control_groups().is_some_and(|mount| inhabitants(&mount.join(ALL)).contains(&pid.as_raw()))
}

/// Whether sockets can be given a device or a mark when they are made; tried on a group that is gone afterwards.
pub fn permitted() -> Result<(), Unsupported> {
    let program = [bpf::load(Birthmark { device: None, mark: Some(1) }).map_err(refused_program)?];
    let mount = mount()?;
    let group = mount.join(format!("{ALL}.trial.{}", std::process::id()));
    fs::create_dir(&group).map_err(|error| closed(&group, &error))?;
    let tried = attach(&program, &group);
    let _ = fs::remove_dir(&group);
    tried
}

fn directory_of(network: &NetworkName) -> Result<PathBuf, Unsupported> {
    let home = fs::metadata("/proc/thread-self/ns/net").map(|metadata| metadata.ino()).unwrap_or_default();
    Ok(mount()?.join(ALL).join(format!("{network}.{home}")))
}

fn mount() -> Result<PathBuf, Unsupported> {
    probe::control_groups().ok_or_else(|| Unsupported {
        missing: "no cgroup2 file system is mounted, which programs in an rtable of a shared namespace need"
            .into(),
        remedy: "as root: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified".into(),
    })
}

fn move_into(group: &Path, member: Member) -> io::Result<()> {
    // 0 is the writer.
    let pid = match member {
        Member::Caller => 0,
        Member::Process(pid) => pid.as_raw(),
    };
    File::options().write(true).open(group.join("cgroup.procs"))?.write_all(pid.to_string().as_bytes())
}

/// The processes of a group and of the groups below it.
fn inhabitants(group: &Path) -> Vec<i32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    pids.extend(below.filter(|path| path.is_dir()).flat_map(|path| inhabitants(&path)));
    pids
}

fn refused_program(errno: Errno) -> Unsupported {
    let missing = format!("the kernel does not take a BPF program from this process: {}", errno.desc());
    let remedy = match errno {
        Errno::EPERM | Errno::EACCES => {
            "run it as root outside of any user namespace (CAP_BPF and CAP_NET_ADMIN), or give the domain a \
             namespace and its own rtable: isolation netns"
        }
        _ => "a kernel with CONFIG_BPF_SYSCALL and CONFIG_CGROUP_BPF; `rdom doctor` shows what there is",
    };
    Unsupported { missing, remedy: remedy.into() }
}

fn refused_attachment(group: &Path, errno: Errno) -> Unsupported {
    let missing = format!("no BPF program can be attached to {}: {}", group.display(), errno.desc());
    let remedy = match errno {
        Errno::EPERM => "a control group above it has a program that allows no other: bpftool cgroup tree",
        _ => "a kernel with CONFIG_CGROUP_BPF",
    };
    Unsupported { missing, remedy: remedy.into() }
}

fn closed(group: &Path, error: &io::Error) -> Unsupported {
    Unsupported {
        missing: format!("control group {} cannot be used: {error}", group.display()),
        remedy: "run it as root, where cgroup2 is mounted read-write".into(),
    }
}
