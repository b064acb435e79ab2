//! What a private copy can do, examined in one: it is made as `run`, `test` and `demo` make theirs, and what was
//! found comes back through a pipe.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, pipe2};

use super::finding_view;
use crate::probe::{Finding, Unsupported, refused_user_namespace};
use crate::sandbox::{self, SandboxError};
use crate::status::{FindingView, MissingView};

/// What is found in a copy.
type Found = (Vec<FindingView>, Vec<MissingView>);

const USED: [&str; 2] =
    ["`rdom demo`, `run` and `test` without root", "`rdom demo`, `run` and `test` as root only"];

/// Makes a copy and looks around in it; `also` is examined in there too. Needs a process of one thread.
///
/// A child does it: whoever makes a copy is no longer where he was.
pub(super) fn examine(also: impl FnOnce() -> Found) -> Result<Found, Errno> {
    let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC)?;
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            drop(write);
            let found = serde_json::from_reader(File::from(read));
            let _ = waitpid(child, None);
            let silent = || Unsupported {
                missing: "a private copy ended without a word".into(),
                remedy: "RDOM_LOG=debug rdom run FILE -- true says more".into(),
            };
            Ok(found.unwrap_or_else(|_| (vec![without(silent())], Vec::new())))
        }
        ForkResult::Child => {
            drop(read);
            let status = in_copy(File::from(write), also);
            // Not exit(): what the parent registered to be done at its end is not ours to do.
            unsafe { libc::_exit(i32::from(status)) }
        }
    }
}

fn in_copy(tell: File, also: impl FnOnce() -> Found) -> u8 {
    let inside = || {
        let (further, missing) = also();
        let mut findings = look_around();
        findings.extend(further);
        u8::from(serde_json::to_writer(&tell, &(findings, missing)).is_err())
    };
    match sandbox::run(inside) {
        Ok(status) => status,
        Err(error) => {
            let lack = match error {
                SandboxError::Unsupported(lack) => lack,
                SandboxError::Call { action, source } => Unsupported {
                    missing: format!("a private copy cannot be made: {action}: {}", source.desc()),
                    remedy: "allow unshare(2) and mount(2) in this container's seccomp profile".into(),
                },
            };
            let found: Found = (vec![without(lack)], Vec::new());
            u8::from(serde_json::to_writer(&tell, &found).is_err())
        }
    }
}

fn without(lack: Unsupported) -> FindingView {
    finding_view(Finding::of("user namespaces", Err(lack), USED))
}

/// Whatever the mounts do, the copy goes when this is done. The real root's is made without a user namespace: whether
/// others get one is tried.
fn look_around() -> Vec<FindingView> {
    let tried = try_user_namespace().map(|()| "one was made".to_owned());
    let mut findings = vec![Finding::of("user namespaces", tried.map_err(refused_user_namespace), USED)];
    findings
        .extend([("proc in copies", "proc", "/proc"), ("sysfs in copies", "sysfs", "/sys")].map(remounted));
    findings.into_iter().map(finding_view).collect()
}

/// A child tries: only a process of one thread may, and one that has ended may linger.
fn try_user_namespace() -> Result<(), Errno> {
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::EPERM),
        },
        ForkResult::Child => {
            let errno = unshare(CloneFlags::CLONE_NEWUSER).err().map_or(0, |errno| errno as i32);
            unsafe { libc::_exit(errno) }
        }
    }
}

fn remounted((item, kind, place): (&'static str, &'static str, &'static str)) -> Finding {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let tried = mount(Some(kind), place, Some(kind), flags, None::<&str>);
    // Where the same file system is mounted already, it cannot be mounted again.
    let tried = match tried {
        Ok(()) | Err(Errno::EBUSY) => Ok(format!("{place} is the copy's own")),
        Err(errno) => Err(errno),
    };
    let tried = tried.map_err(|errno| Unsupported {
        missing: format!("{place} cannot be mounted in a private copy: {}", errno.desc()),
        remedy: "in a container: start it with nothing masked below /proc and /sys".into(),
    });
    Finding::of(item, tried, ["the copy's own processes and interfaces are seen", "the old ones are seen"])
}
