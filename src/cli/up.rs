//! `rdom up [FILE]`: in the foreground until Ctrl-C; with -d it returns once everything is up and verified.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nix::fcntl::OFlag;
use nix::libc;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe2, setsid};

use super::file::{self, Document};
use super::trouble::Trouble;
use super::{Common, Ended, Which};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::state::{Directories, Roots};
use crate::supervisor::{Failure, Signals, Supervisor, UpError};

#[derive(Debug, Args)]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// The file
    file: Option<PathBuf>,
    /// Return once everything is up and verified; `rdom down` ends it
    #[arg(short, long)]
    detach: bool,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let mut document = file::read(words.file.as_deref())?;
    if let Some(name) = &common.network {
        document.lowered.network.name = name.clone();
    }
    let directories = Roots::of_environment().of(&document.lowered.network.name);
    if words.detach { detached(&document, &directories) } else { foreground(&document, &directories) }
}

fn foreground(document: &Document, directories: &Directories) -> Ended {
    let signals = Signals::hold().map_err(Trouble::failed)?;
    let supervisor = bring_up(document, directories, &signals)?;
    println!("network {} is up: Ctrl-C takes it down", supervisor.desired().name);
    supervisor.serve().map_err(|failure| explain(&failure, document))?;
    Ok(ExitCode::SUCCESS)
}

/// Brings the document's network up; what goes wrong is shown at its place in the file.
pub(super) fn bring_up(
    document: &Document,
    directories: &Directories,
    signals: &Signals,
) -> Result<Supervisor, Trouble> {
    let lowered = &document.lowered;
    let up = Supervisor::up(&lowered.network, &lowered.secrets, directories, signals);
    up.map_err(|error| match error {
        UpError::Failed(failure) => explain(&failure, document),
        UpError::Unsupported(unsupported) => unsupported.into(),
        other => Trouble::failed(other),
    })
}

/// A failed step as a diagnostic at the place of its object in the file.
fn explain(failure: &Failure, document: &Document) -> Trouble {
    let place = failure.step.as_ref().and_then(|step| document.lowered.origins.place(&step.object()));
    let message = super::trouble::chain(failure);
    let diagnostic = match place {
        Some(place) => Diagnostic::error(place, message),
        None => Diagnostic::error_of_file(message),
    };
    let diagnostic = match super::trouble::help_of(failure) {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    };
    let source = &document.source;
    Trouble::Diagnostics(Box::new(Diagnostics::new(&source.file, &source.text, vec![diagnostic])), 1)
}

/// The parent waits until the child, in a session of its own, says that all is up or what went wrong.
fn detached(document: &Document, directories: &Directories) -> Ended {
    let (told, tell) = pipe2(OFlag::O_CLOEXEC).map_err(Trouble::failed)?;
    // There is one thread yet: nothing is lost in the child.
    match unsafe { fork() }.map_err(Trouble::failed)? {
        ForkResult::Parent { .. } => {
            drop(tell);
            hear(told)
        }
        ForkResult::Child => {
            drop(told);
            let code = supervise(document, directories, tell);
            unsafe { libc::_exit(code) }
        }
    }
}

/// One byte of exit status; a child that dies without a word has failed.
fn hear(told: OwnedFd) -> Ended {
    let mut status = [1];
    let heard = File::from(told).read(&mut status).map_err(Trouble::failed)?;
    Ok(ExitCode::from(if heard == 0 { 1 } else { status[0] }))
}

fn supervise(document: &Document, directories: &Directories, tell: OwnedFd) -> i32 {
    let _ = setsid();
    let signals = Signals::hold().map_err(Trouble::failed);
    let supervisor = signals.and_then(|signals| bring_up(document, directories, &signals));
    let mut tell = File::from(tell);
    match supervisor {
        Err(trouble) => {
            let status = trouble.status();
            let _ = trouble.tell();
            let _ = tell.write_all(&[status]);
            i32::from(status)
        }
        Ok(supervisor) => {
            println!("network {} is up: rdom down -n {0} takes it down", supervisor.desired().name);
            if let Err(error) = leave_terminal(directories) {
                eprintln!("rdom: no log: {error}");
            }
            let _ = tell.write_all(&[0]);
            drop(tell);
            match supervisor.serve() {
                Ok(()) => 0,
                Err(failure) => {
                    let _ = explain(&failure, document).tell();
                    1
                }
            }
        }
    }
}

/// Standard input from nowhere, output and log to a file beside the control socket.
fn leave_terminal(directories: &Directories) -> std::io::Result<()> {
    let log = File::options().append(true).create(true).open(directories.runtime.join("log"))?;
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(&log)?;
    dup2_stderr(&log)?;
    Ok(())
}
