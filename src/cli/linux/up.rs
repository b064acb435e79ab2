//! `rdom up [FILE]`: in the foreground until Ctrl-C; with -d it returns once everything is up and verified.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

use super::file;
use super::lending::Consent;
use super::say::{complain, say};
use super::trouble::{Trouble, paint};
use super::{Common, Ended, Which, accounts, unused};
use crate::backend::Nature;
use crate::diagnostic::chain;
use crate::memory;
use crate::probe;
use crate::spec::{self, Document};
use crate::state::{Directories, Roots, make_private_directory};
use crate::status::INTERRUPTED;
use crate::supervisor::{
    DownError, Lodging, Supervisor, UpError, confirmed_instead_of, explain_all, explain_lacks,
};
use crate::transaction::{Cause, Failure, Signals, explain};

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The file; without it ./domains.yaml or /etc/rdom/domains.yaml
    file: Option<PathBuf>,
    /// Return once everything is up and verified; `rdom down` ends it
    #[arg(short, long)]
    pub(super) detach: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut document = file::open_own(words.file.as_deref()).and_then(file::understood)?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    let unknown = accounts::unknown(&document.lowered, &document.source);
    if !unknown.is_empty() {
        complain(unknown.render(paint()));
    }
    probe::administration()?;
    let directories = Roots::of_environment().of(&document.lowered.network.name);
    let document = confirmed(document, &directories)?;
    words.consent.ask(&document.lowered.network, &directories)?;
    if words.detach { detached(document, &directories) } else { foreground(document, &directories) }
}

/// The document, or the one before it, if nobody has confirmed it in time.
fn confirmed(document: Document, directories: &Directories) -> Result<Document, Trouble> {
    let Some(before) = confirmed_instead_of(&document, directories).map_err(Trouble::failed)? else {
        return Ok(document);
    };
    complain(format_args!(
        "warning: nobody confirmed {file} in time: the network comes up as it was before\n\
         help: to have it all the same, once it is up: rdom apply -n {network} {file}",
        file = document.source.file,
        network = document.lowered.network.name
    ));
    Ok(before)
}

fn foreground(document: Document, directories: &Directories) -> Ended {
    let signals = Signals::hold().map_err(Trouble::failed)?;
    let supervisor = bring_up(&document, directories, &signals, Lodging::Apart)?;
    say(format_args!("network {} is up: Ctrl-C takes it down", supervisor.desired().name));
    serve(supervisor, document)?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the network until it ends. Meanwhile of its file no more is kept than the text.
fn serve(supervisor: Supervisor, document: Document) -> Result<(), Trouble> {
    let Document { source, lowered } = document;
    drop(lowered);
    memory::forget_start();
    supervisor.serve().map_err(|error| match (error, spec::read(&source)) {
        (DownError::Failed(failure), Ok(lowered)) => explained(&failure, &Document { source, lowered }),
        (DownError::Failed(failure), Err(_)) => Trouble::failed(failure),
        (DownError::Kept(kept), _) => {
            complain(format_args!("rdom: {}", kept.text()));
            Trouble::Said(1)
        }
    })
}

/// Brings the document's network up; what goes wrong is shown at its place in the file.
pub(super) fn bring_up(
    document: &Document,
    directories: &Directories,
    signals: &Signals,
    lodging: Lodging,
) -> Result<Supervisor, Trouble> {
    let up = Supervisor::up(document, directories, signals, lodging);
    let up = up.map_err(|error| match error {
        UpError::Failed(failure) => explained(&failure, document),
        UpError::Unsupported(unsupported) => unsupported.into(),
        error @ UpError::ServiceLacks { .. } => {
            Trouble::Diagnostics(Box::new(explain_all(&error, document)), 4)
        }
        UpError::Lacking { lacks } => Trouble::Diagnostics(Box::new(explain_lacks(&lacks, document)), 4),
        UpError::Taken { ref network, .. } => Trouble::failed(format!(
            "{error}\nhelp: rdom apply FILE makes it what FILE says, rdom down -n {network} takes it down"
        )),
        other => Trouble::failed(other),
    })?;
    up.warnings().iter().for_each(|warning| complain(format_args!("warning: {warning}")));
    Ok(up)
}

/// A failed step at its place in the file, and the exit status that goes with it.
fn explained(failure: &Failure, document: &Document) -> Trouble {
    let status = match &failure.cause {
        Cause::Backend(error) if error.nature == Nature::Unsupported => 4,
        Cause::Interrupted => INTERRUPTED,
        Cause::Backend(_) | Cause::Unsettled(_) => 1,
    };
    Trouble::Diagnostics(Box::new(explain(failure, document)), status)
}

/// The parent waits until the child, in a session of its own, says that all is up or what went wrong.
fn detached(document: Document, directories: &Directories) -> Ended {
    let (told, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Trouble::failed)?;
    // There is one thread yet: nothing is lost in the child.
    match unsafe { fork() }.map_err(Trouble::failed)? {
        ForkResult::Parent { child } => {
            drop(tell);
            let status = hear(told);
            if status == 0 {
                let name = &document.lowered.network.name;
                say(format_args!("network {name} is up: rdom down -n {name} takes it down"));
            } else {
                // It has said what was wrong, and ends.
                let _ = waitpid(child, None);
            }
            Ok(ExitCode::from(status))
        }
        ForkResult::Child => {
            drop(told);
            let status = supervise(document, directories, File::from(tell)).unwrap_or_else(Trouble::tell);
            unsafe { libc::_exit(i32::from(status)) }
        }
    }
}

/// One byte of exit status; a child that dies without a word has failed.
pub(super) fn hear(told: OwnedFd) -> u8 {
    let mut status = [1];
    match File::from(told).read(&mut status) {
        Ok(1) => status[0],
        Ok(_) | Err(_) => 1,
    }
}

fn supervise(document: Document, directories: &Directories, mut tell: File) -> Result<u8, Trouble> {
    let _ = setsid();
    let mut terminal = File::from(io::stderr().as_fd().try_clone_to_owned().map_err(Trouble::failed)?);
    leave_terminal(directories).map_err(|error| {
        Trouble::failed(format!("cannot write a log in {}: {error}", directories.runtime.display()))
    })?;
    let signals = Signals::hold().map_err(Trouble::failed)?;
    match bring_up(&document, directories, &signals, Lodging::Apart) {
        Err(trouble) => {
            let _ = dup2_stderr(&terminal);
            let status = trouble.tell();
            let _ = tell.write_all(&[status]);
            Ok(status)
        }
        Ok(supervisor) => {
            for warning in supervisor.warnings() {
                let _ = writeln!(terminal, "warning: {warning}");
            }
            let _ = tell.write_all(&[0]);
            drop((tell, terminal));
            serve(supervisor, document)?;
            Ok(0)
        }
    }
}

/// Standard input from nowhere, output and log to a file beside the control socket.
fn leave_terminal(directories: &Directories) -> io::Result<()> {
    make_private_directory(&directories.runtime).map_err(|error| io::Error::other(chain(&error)))?;
    let options = File::options().append(true).create(true).mode(0o600).clone();
    let log = options.clone().custom_flags(libc::O_NOFOLLOW).open(directories.runtime.join("log"))?;
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    Ok(())
}
