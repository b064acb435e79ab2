//! What runs services: the process that keeps them, and what each of them is before it becomes its program.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Args;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use super::live::Live;
use super::trouble::Trouble;
use super::{Common, Ended, Which, exec};
use crate::exec::{become_user, user};
use crate::model::{NetworkName, Service};
use crate::service;
use crate::state::Roots;

/// This program; it need not be there by its name any more.
const SELF: &str = "/proc/self/exe";

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
}

/// Keeps a network's services for whoever connects to the listener that is standard input.
pub(super) fn run(common: &Common) -> Ended {
    let network = common.network.clone().ok_or_else(|| Trouble::usage("no network"))?;
    let runtime = Roots::of_environment().of(&network).runtime;
    // SAFETY: standard input is open, and nobody else reads from it.
    let listener = unsafe { OwnedFd::from_raw_fd(libc::STDIN_FILENO) };
    let named = network.clone();
    let enter = move |service: &Service, words: &[String], tell| command(&named, service, words, tell);
    service::run(UnixListener::from(listener), &network, &runtime, Box::new(enter))
        .map_err(Trouble::failed)?;
    Ok(ExitCode::SUCCESS)
}

fn command(network: &NetworkName, service: &Service, words: &[String], tell: Option<RawFd>) -> Command {
    let mut command = Command::new(SELF);
    command.arg0("rdom").args(["become", "-n", network.as_str(), "-T", &service.domain.to_string()]);
    command.args(tell.into_iter().flat_map(|tell| ["--tell".to_owned(), tell.to_string()]));
    command.args(service.user.iter().flat_map(|user| ["--user", user]));
    command.arg("--").args(words).env_remove("RDOM_LOG");
    command
}

#[derive(Debug, Args)]
pub(super) struct BecomeWords {
    #[command(flatten)]
    pub(super) which: Which,
    /// The domain
    #[arg(short = 'T', value_name = "DOMAIN")]
    domain: String,
    /// Whose process it shall be
    #[arg(long)]
    user: Option<String>,
    /// A descriptor that is closed once this is the command, and written to if that fails
    #[arg(long, value_name = "FD")]
    tell: Option<RawFd>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Turns this process into a command in a domain, as a user; it ends with the process that started it.
pub(super) fn become_service(words: &BecomeWords, common: &Common) -> Ended {
    // SAFETY: whoever started this process has handed it over.
    let tell = words.tell.map(|tell| File::from(unsafe { OwnedFd::from_raw_fd(tell) }));
    let ended = replaced(words, tell.as_ref(), common);
    if let Some(mut tell) = tell {
        let _nobody_listens = tell.write_all(b"!");
    }
    ended.map_err(super::citizen::status_of_route)
}

fn replaced(words: &BecomeWords, tell: Option<&File>, common: &Common) -> Ended {
    if let Some(tell) = tell {
        fcntl(tell, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(Trouble::failed)?;
    }
    let keeper = getppid();
    let user = words.user.as_deref().map(user).transpose()?;
    exec::enter(&Live::find(common)?, &words.domain)?;
    if let Some(user) = user {
        become_user(&user)?;
    }
    // The kernel forgets it when the user changes (prctl(2)).
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(Trouble::failed)?;
    if getppid() != keeper {
        return Err(Trouble::failed("the process that keeps the services has gone"));
    }
    exec::become_command(&words.command)
}
