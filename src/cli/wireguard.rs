//! `rdom wireguard [-f] IFNAME`: the engine alone, driven by wg(8), until the interface is deleted; as
//! `wireguard-go IFNAME` is used, so that scripts written for that run unchanged.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::Ended;
use super::trouble::Trouble;
use crate::model::InterfaceName;
use crate::probe;
use crate::wireguard;

/// How long an engine may take to listen.
const START: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Words {
    /// Stay in the foreground
    #[arg(short, long)]
    foreground: bool,
    /// The interface to make in this network namespace
    interface: InterfaceName,
}

pub(super) fn run(words: &Words) -> Ended {
    probe::tun_device()?;
    if words.foreground {
        return serve(&words.interface);
    }
    // There is one thread yet: nothing is lost in the child.
    match unsafe { fork() }.map_err(Trouble::failed)? {
        ForkResult::Parent { child } => wait_until_it_listens(&words.interface, child),
        ForkResult::Child => {
            let _ = setsid();
            let status = serve(&words.interface).map_or_else(Trouble::tell, |_| 0);
            unsafe { libc::_exit(i32::from(status)) }
        }
    }
}

fn serve(interface: &InterfaceName) -> Ended {
    let ended = wireguard::run_standalone(interface.as_str());
    ended.map_err(|error| Trouble::failed(format!("{interface}: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

fn wait_until_it_listens(interface: &InterfaceName, engine: Pid) -> Ended {
    let socket = PathBuf::from(format!("/var/run/wireguard/{interface}.sock"));
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if !matches!(waitpid(engine, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive)) {
            return Err(Trouble::Said(1));
        }
        if UnixStream::connect(&socket).is_ok() {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(Trouble::failed(format!("{interface}: the engine does not listen at {}", socket.display())))
}
