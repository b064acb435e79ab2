//! A private copy: network, mount and PID namespaces of its own, gone when its first program ends.
//!
//! Three processes: the caller waits outside; `init` is process 1 of the copy, which reaps; the program runs below
//! it. When the caller dies, however it dies, the kernel kills init (PR_SET_PDEATHSIG), and with process 1 everything
//! in the copy (pid_namespaces(7)).
//!
//! Who is not root becomes it in a user namespace, and nothing has to be cleaned up. The real root stays what it is,
//! for only outside of any user namespace may one give the kernel a BPF program and make control groups: its copy
//! sees of the host's control groups one of its own, which is removed after it, and what belongs to the whole machine
//! is read-only.

mod groups;
mod mounts;
mod users;

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::{WaitPidFlag, WaitStatus, wait, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use thiserror::Error;

use crate::probe::Unsupported;
use groups::Kept;
use users::Root;

/// Why there is no private copy.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The kernel, or what guards it, forbids it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A system call failed.
    #[error("cannot make a private copy: {action}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: Errno,
    },
}

/// Runs `inside` in a private copy and returns its exit status, 128 + n if signal n ended it.
///
/// The copy's default domain is an empty network namespace with `lo` up. Must be called by a process of one thread.
pub fn run(inside: impl FnOnce() -> u8) -> Result<u8, SandboxError> {
    let root = users::become_root()?;
    let kept = match root {
        Root::OfTheMachine => {
            groups::keep().map_err(|source| SandboxError::Call { action: "keep control groups", source })?
        }
        Root::OfANamespace => None,
    };
    let apart = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    unshare(apart).map_err(|source| match (root, source) {
        (Root::OfANamespace, Errno::EPERM) => users::powerless("unshare: Operation not permitted").into(),
        (Root::OfANamespace | Root::OfTheMachine, _) => SandboxError::Call { action: "unshare", source },
    })?;
    let (alive, ours) =
        pipe2(OFlag::O_CLOEXEC).map_err(|source| SandboxError::Call { action: "pipe", source })?;
    // No other thread can hold a lock over this fork or the next: there is none.
    match unsafe { fork() }.map_err(|source| SandboxError::Call { action: "fork", source })? {
        ForkResult::Parent { child } => {
            let ended = wait_for(child);
            if let Some(kept) = kept {
                kept.release();
            }
            Ok(status(ended))
        }
        ForkResult::Child => {
            drop(ours);
            leave(init(&alive, root, kept.map(Kept::into_path), inside))
        }
    }
}

/// Makes a process that may not make namespaces root of a user namespace of its own, in which it may. It must have one
/// thread (user_namespaces(7)).
pub fn become_root() -> Result<(), SandboxError> {
    match Root::here() {
        Some(_) => Ok(()),
        None => users::become_root().map(drop),
    }
}

/// Takes the calling thread, and whatever it starts from then on, to network and mount namespaces as a copy has them.
/// They go with the last that is in them.
pub fn apart() -> Result<(), SandboxError> {
    let call = |action| move |source| SandboxError::Call { action, source };
    let root = Root::here().ok_or(Errno::EPERM).map_err(call("unshare"))?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).map_err(call("unshare"))?;
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    mounts::prepare(root, None).map_err(errno).map_err(call("mount"))?;
    set_loopback_up().map_err(errno).map_err(call("set lo up"))
}

/// Process 1: prepares the copy, starts the program, reaps whatever dies, and ends with the program.
fn init(alive: &OwnedFd, root: Root, group: Option<PathBuf>, inside: impl FnOnce() -> u8) -> u8 {
    die_with_parent();
    if hung_up(alive) {
        return 125;
    }
    if let Err(error) = mounts::prepare(root, group.as_deref()).and_then(|()| set_loopback_up()) {
        let _ = writeln!(io::stderr(), "rdom: cannot prepare a private copy: {error}");
        return 125;
    }
    match unsafe { fork() } {
        Err(errno) => {
            let _ = writeln!(io::stderr(), "rdom: cannot start in a private copy: {errno}");
            125
        }
        Ok(ForkResult::Child) => {
            die_with_parent();
            leave(inside())
        }
        Ok(ForkResult::Parent { child }) => reap_until(child),
    }
}

/// Asks for SIGKILL when the parent dies.
fn die_with_parent() {
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
}

fn reap_until(child: Pid) -> u8 {
    ignore_terminal_signals();
    loop {
        match wait() {
            Ok(ended) if ended.pid() == Some(child) => return status(Some(ended)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return 125,
        }
    }
}

/// Waits outside. The program decides what Ctrl-C means, as below a shell; SIGTERM and SIGHUP end the copy.
fn wait_for(init: Pid) -> Option<WaitStatus> {
    let mut ending = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD] {
        ending.add(signal);
    }
    ignore_terminal_signals();
    let _ = ending.thread_block();
    loop {
        match waitpid(init, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(ended) => return Some(ended),
            Err(Errno::EINTR) => continue,
            Err(_) => return None,
        }
        if let Ok(Signal::SIGTERM | Signal::SIGHUP) = ending.wait() {
            let _ = kill(init, Signal::SIGKILL);
        }
    }
}

fn ignore_terminal_signals() {
    for number in [libc::SIGINT, libc::SIGQUIT] {
        unsafe { libc::signal(number, libc::SIG_IGN) };
    }
}

/// Whether the caller died before it could be asked to be told of: its end of the pipe is closed.
fn hung_up(alive: &OwnedFd) -> bool {
    let mut ask = [PollFd::new(alive.as_fd(), PollFlags::POLLIN)];
    poll(&mut ask, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

fn status(ended: Option<WaitStatus>) -> u8 {
    match ended {
        Some(WaitStatus::Exited(_, code)) => u8::try_from(code & 0xff).unwrap_or(125),
        Some(WaitStatus::Signaled(_, signal, _)) => 128u8.saturating_add(signal as u8),
        _ => 125,
    }
}

fn leave(code: u8) -> ! {
    let _ = io::stdout().flush();
    // Not exit(): what the caller registered to be done at its end is not ours to do.
    unsafe { libc::_exit(i32::from(code)) }
}

/// `ip link set lo up`, in the namespace of the calling thread (netdevice(7)).
fn set_loopback_up() -> io::Result<()> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) })?;
    Ok(())
}
