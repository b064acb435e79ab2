//! What a process gives up: capabilities(7), files (landlock(7)), system calls (seccomp(2)), and being looked into
//! (PR_SET_DUMPABLE). None of it comes back, and threads inherit it.

use std::collections::BTreeMap;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, apply_filter_all_threads,
};

/// Gives everything up that an engine does not need. To be called before there is a second thread.
pub(super) fn give_everything_up() -> io::Result<()> {
    close_memory()?;
    keep_capabilities(&[])?;
    prctl::set_no_new_privs()?;
    leave_files()?;
    leave_system_calls()
}

/// Gives up what a supervisor does not need: all capabilities but some, and the system calls that none of its work
/// takes and that are worth most to whoever got into it. It goes on to mount namespaces and to start engines. Of
/// threads that there are already, each must have given up its own capabilities ([`keep_capabilities`]).
pub fn give_up_but(kept: &[Capability]) -> io::Result<()> {
    close_memory()?;
    keep_capabilities(kept)?;
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(()) };
    let refused = UNUSED_BY_SUPERVISORS.iter().map(|call| (*call, Vec::new())).collect();
    let eperm = SeccompAction::Errno(Errno::EPERM as u32);
    apply_filter_all_threads(&compiled(refused, SeccompAction::Allow, eperm, arch)?).map_err(io::Error::other)
}

/// Keys are in it: no core of it is written, and no other process of this user reads it.
fn close_memory() -> io::Result<()> {
    prctl::set_dumpable(false)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)
}

/// The calling thread, and those that it starts, keep these capabilities as far as they have them, and no other.
pub fn keep_capabilities(kept: &[Capability]) -> io::Result<()> {
    keep(kept).map_err(io::Error::other)
}

fn keep(kept: &[Capability]) -> Result<(), CapsError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::all().into_iter().filter(|capability| !kept.contains(capability)) {
            // An older kernel does not know the newest ones.
            let _unknown = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let held = caps::read(None, CapSet::Permitted)?;
    let kept = held.into_iter().filter(|capability| kept.contains(capability)).collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

/// No file, no TCP, no signal to others and no abstract socket of others, as far as the kernel knows how to forbid it.
fn leave_files() -> io::Result<()> {
    let newest = ABI::V6;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
        .and_then(|rules| rules.scope(Scope::from_all(newest)))
        .and_then(|rules| rules.create());
    let restricted = rules.and_then(|rules| rules.restrict_self()).map_err(io::Error::other)?;
    match restricted.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => {
            tracing::debug!("the kernel has no landlock: the engine keeps the files of its user");
            Ok(())
        }
    }
}

/// What is not listed fails with EPERM.
fn leave_system_calls() -> io::Result<()> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        tracing::debug!("no filter of system calls is known for this architecture");
        return Ok(());
    };
    // A first filter sends threads to clone(2), whose flags a filter can see, unlike clone3(2)'s. The second one lets
    // clone3 pass, for of two refusals the later filter's would count.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let enosys = SeccompAction::Errno(Errno::ENOSYS as u32);
    install(no_clone3, SeccompAction::Allow, enosys, arch)?;
    let eperm = SeccompAction::Errno(Errno::EPERM as u32);
    install(allowed()?, eperm, SeccompAction::Allow, arch)
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) -> io::Result<()> {
    apply_filter(&compiled(rules, otherwise, matched, arch)?).map_err(io::Error::other)
}

fn compiled(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
    arch: TargetArch,
) -> io::Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(io::Error::other)?;
    BpfProgram::try_from(filter).map_err(io::Error::other)
}

fn allowed() -> io::Result<BTreeMap<i64, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<_, _> = FREELY.iter().map(|call| (*call, Vec::new())).collect();
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap_or_default();
    rules.insert(libc::SYS_clone, vec![all(&[(0, SeccompCmpOp::MaskedEq(thread), thread)])?]);
    let datagram =
        (1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), u64::try_from(libc::SOCK_DGRAM).unwrap_or_default());
    let families = [libc::AF_INET, libc::AF_INET6].map(|family| u64::try_from(family).unwrap_or_default());
    let sockets = families.map(|family| all(&[(0, SeccompCmpOp::Eq, family), datagram.clone()]));
    rules.insert(libc::SYS_socket, sockets.into_iter().collect::<io::Result<_>>()?);
    Ok(rules)
}

/// What of the second argument of socket(2) is no flag (`SOCK_TYPE_MASK`, linux/net.h).
const SOCKET_TYPE: u64 = 0xf;

/// Holds where each of these arguments compares so with the value.
fn all(conditions: &[(u8, SeccompCmpOp, u64)]) -> io::Result<SeccompRule> {
    let condition = |(argument, comparison, value): &(u8, SeccompCmpOp, u64)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, comparison.clone(), *value)
    };
    let conditions = conditions.iter().map(condition).collect::<Result<_, _>>().map_err(io::Error::other)?;
    SeccompRule::new(conditions).map_err(io::Error::other)
}

/// Packets, clients, time, memory, threads and their end.
const FREELY: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_clone3,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_ioctl,
    libc::SYS_listen,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_prctl,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Into other processes, the kernel's code, its keys and its clock.
const UNUSED_BY_SUPERVISORS: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_userfaultfd,
];

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;
    use std::thread;

    use nix::sys::signal::kill;
    use nix::unistd::{Pid, getppid};

    use super::*;

    const INSIDE: &str = "RDOM_TEST_CONFINED";
    const TEST: &str = "engine::confine::tests::an_engine_has_packets_and_threads_and_nothing_else";

    /// In a process of its own, for it does not come back.
    #[test]
    fn an_engine_has_packets_and_threads_and_nothing_else() {
        if std::env::var_os(INSIDE).is_some() {
            return confined();
        }
        let mut again = Command::new(std::env::current_exe().unwrap());
        let ended = again.args([TEST, "--exact", "--nocapture"]).env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && said.contains("1 passed"), "{said}");
    }

    fn confined() {
        give_everything_up().unwrap();
        let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        assert!(File::open("/etc/passwd").is_err_and(denied), "files");
        assert!(File::create("/tmp/rdom-confined").is_err_and(denied), "new files");
        assert!(UnixStream::pair().is_err_and(denied), "other sockets");
        assert!(TcpStream::connect("127.0.0.1:1").is_err_and(denied), "TCP");
        assert!(Command::new("/bin/true").status().is_err(), "programs");
        assert_eq!(kill(getppid(), None), Err(Errno::EPERM), "signals");
        assert_eq!(kill(Pid::this(), None), Err(Errno::EPERM), "signals");
        // SAFETY: the call takes integers; it is refused.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWUSER) }, -1, "namespaces");
        assert!(UdpSocket::bind("127.0.0.1:0").is_ok());
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        for set in [CapSet::Bounding, CapSet::Permitted, CapSet::Effective] {
            let held = caps::read(None, set);
            // capget(2) is refused by now; nothing is to be had by prctl(2) either.
            assert!(held.is_err() || held.is_ok_and(|held| held.is_empty()));
        }
    }
}
