//! `rdom run FILE -- COMMAND...`: a private, throw-away copy of the network, gone when COMMAND ends.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;

use clap::Args;
use nix::libc;

use super::file::{self, Document};
use super::say::complain;
use super::substitute::Substitution;
use super::trouble::Trouble;
use super::up::bring_up;
use super::{Ended, unused};
use crate::exec::status_of;
use crate::model::{Bindings, Engine, Network};
use crate::plan::bind;
use crate::probe;
use crate::sandbox::{self, SandboxError};
use crate::state::Roots;
use crate::supervisor::Lodging;
use crate::transaction::Signals;

/// The exit status of this verb's own failures.
const OWN_FAILURE: u8 = 125;

#[derive(Debug, Args)]
#[command(arg = unused("network"), arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    substitution: Substitution,
    /// The file
    file: PathBuf,
    /// The command, run in domain 0 of the copy; inside it `rdom exec DOMAIN` works
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn run(words: &Words) -> Ended {
    let own_failure = |trouble: Trouble| {
        trouble.tell();
        OWN_FAILURE
    };
    let copy = |document: Document| {
        let inside = |_: &_| run_command(&words.command);
        private_copy(document, words.substitution, own_failure, inside)
    };
    Ok(ExitCode::from(file::read(Some(&words.file)).and_then(copy).unwrap_or_else(own_failure)))
}

/// Brings the document's network up in a private copy, runs `inside` there in domain 0 with the environment that
/// this program's other verbs need, and lets everything go. `inside` is given the network with its keys and ports, and
/// with what stands in it for the host's interfaces. Trouble in there is answered with `failed`'s status.
pub(super) fn private_copy(
    document: Document,
    substitution: Substitution,
    failed: impl FnOnce(Trouble) -> u8,
    inside: impl FnOnce(&Network) -> u8,
) -> Result<u8, Trouble> {
    substitution.check(&document)?;
    if needs_tun(&document.lowered.network) {
        probe::tun_device()?;
    }
    let run = || match up_inside(&substitution.carry_out(document)) {
        Ok(network) => inside(&network),
        Err(trouble) => failed(trouble),
    };
    sandbox::run(run).map_err(|error| match error {
        SandboxError::Unsupported(unsupported) => unsupported.into(),
        error @ SandboxError::Call { .. } => Trouble::failed(error),
    })
}

/// Whether a tunnel will have the userspace engine.
fn needs_tun(network: &Network) -> bool {
    let bound = bind(network, &Bindings::default(), &probe::capabilities());
    bound.tunnels().any(|(_, tunnel)| tunnel.engine == Engine::Userspace)
}

/// Brings the network up; its supervisor answers on a thread of its own until the copy goes.
fn up_inside(document: &Document) -> Result<Network, Trouble> {
    let roots = Roots::private();
    // The one thread there is yet sets what its children shall see.
    unsafe {
        std::env::set_var("RDOM_STATE_DIR", &roots.state);
        std::env::set_var("RDOM_RUNTIME_DIR", &roots.runtime);
        std::env::set_var("RDOM_NETWORK", document.lowered.network.name.as_str());
    }
    let directories = roots.of(&document.lowered.network.name);
    let supervisor = bring_up(document, &directories, &Signals::none(), Lodging::Within)?;
    let network = supervisor.desired().clone();
    thread::spawn(move || supervisor.serve());
    Ok(network)
}

fn run_command(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return OWN_FAILURE };
    let mut command = Command::new(program);
    command.args(arguments);
    // What Ctrl-C means is the command's to decide: it is ignored out here before there is a command, and not in there.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    match command.spawn().and_then(|mut child| child.wait()) {
        Ok(ended) => status_of(ended),
        Err(error) => {
            complain(format_args!("rdom: {}: {error}", program.display()));
            if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 }
        }
    }
}
