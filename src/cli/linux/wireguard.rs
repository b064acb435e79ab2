//! `rdom wireguard [-f] IFNAME`: the engine alone, driven by wg(8), until the interface is deleted; as
//! `wireguard-go IFNAME` is used, so that scripts written for that run unchanged. They may set what it reads from its
//! environment: WG_PROCESS_FOREGROUND, WG_TUN_FD, WG_UAPI_FD, LOG_LEVEL.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::process::ExitCode;

use clap::Args;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

use super::trouble::Trouble;
use super::up::hear;
use super::{Ended, unused};
use crate::diagnostic::Unsupported;
use crate::memory;
use crate::model::InterfaceName;
use crate::probe;
use crate::wireguard::{self, Given};

#[derive(Debug, Args)]
#[command(arg = unused("network"), arg = unused("json"))]
pub(super) struct Words {
    /// Stay in the foreground
    #[arg(short, long)]
    foreground: bool,
    /// The interface to make in this network namespace
    interface: InterfaceName,
}

pub(super) fn run(words: &Words) -> Ended {
    let given = Given { tun: descriptor("WG_TUN_FD")?, uapi: descriptor("WG_UAPI_FD")? };
    if given.tun.is_none() {
        probe::tun_device()?;
    }
    if words.foreground || env::var_os("WG_PROCESS_FOREGROUND").is_some_and(|set| set == "1") {
        return serve(&words.interface, given, || {});
    }
    let (told, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Trouble::failed)?;
    // There is one thread yet: nothing is lost in the child.
    match unsafe { fork() }.map_err(Trouble::failed)? {
        ForkResult::Parent { child } => {
            drop(tell);
            if hear(told) == 0 {
                return Ok(ExitCode::SUCCESS);
            }
            // It has said what was wrong, and ends.
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, status)) => Ok(ExitCode::from(status as u8)),
                _ => Ok(ExitCode::FAILURE),
            }
        }
        ForkResult::Child => {
            drop(told);
            let _ = setsid();
            let ready = || {
                leave_terminal();
                let _nobody_waits = File::from(tell).write_all(&[0]);
            };
            let status = serve(&words.interface, given, ready).map_or_else(Trouble::tell, |_| 0);
            unsafe { libc::_exit(i32::from(status)) }
        }
    }
}

/// The level of the log that LOG_LEVEL asks for, in wireguard-go's words.
pub(super) fn log_level() -> Option<&'static str> {
    match env::var("LOG_LEVEL").ok()?.as_str() {
        "verbose" | "debug" => Some("debug"),
        "error" => Some("error"),
        "silent" => Some("off"),
        _ => None,
    }
}

/// A descriptor that this process was started with, named by its number.
fn descriptor(variable: &str) -> Result<Option<OwnedFd>, Trouble> {
    let Ok(text) = env::var(variable) else { return Ok(None) };
    let unusable = || Trouble::usage(format!("{variable} is no open descriptor: {text}"));
    let number: RawFd = text.parse().map_err(|_| unusable())?;
    // SAFETY: a number that is no open descriptor is refused by the call.
    let open = number > 2 && unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0;
    // SAFETY: the descriptor is open, and given to this process by whoever set the variable.
    if open { Ok(Some(unsafe { OwnedFd::from_raw_fd(number) })) } else { Err(unusable()) }
}

fn serve(interface: &InterfaceName, given: Given, ready: impl FnOnce()) -> Ended {
    let begun = || {
        ready();
        memory::forget_start();
    };
    let ended = wireguard::run_standalone(interface.as_str(), given, begun);
    ended.map(|()| ExitCode::SUCCESS).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Trouble::Unsupported(Unsupported {
            missing: format!("{interface}: {error}"),
            remedy: "run it as root: it takes CAP_NET_ADMIN to make an interface".into(),
        }),
        _ => Trouble::failed(format!("{interface}: {error}")),
    })
}

/// Whoever reads its output to the end must not wait for it; with LOG_LEVEL set somebody wants to read on.
fn leave_terminal() {
    let Ok(nowhere) = File::options().read(true).write(true).open("/dev/null") else { return };
    let _kept = dup2_stdin(&nowhere);
    if env::var_os("LOG_LEVEL").is_none() {
        let _kept = dup2_stdout(&nowhere);
        let _kept = dup2_stderr(&nowhere);
    }
}
