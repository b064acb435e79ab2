//! The tools as processes, and a file for what a kernel does not tell.
//!
//! A tool gets no standard input, and a process group of its own: Ctrl-C is for the one who runs it. It has a minute,
//! for names of endpoints are resolved by ifconfig(8) itself.

use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::debug;

#[cfg(target_os = "openbsd")]
use super::siocswg::ioctl::send;
use super::{Console, Given, Output};
use crate::backend::BackendError;
use crate::state;

/// How long a tool may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Which programs the tools are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Programs {
    /// Those of OpenBSD's base system, wherever PATH leads.
    BaseSystem,
    /// Those of a directory, in their places.
    StandIns(PathBuf),
}

impl Programs {
    /// Where the program of this name is.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Programs::BaseSystem if name == "netstat" => "/usr/bin/netstat".into(),
            Programs::BaseSystem => PathBuf::from("/sbin").join(name),
            Programs::StandIns(directory) => directory.join(name),
        }
    }
}

/// A console of this machine.
#[derive(Clone, Debug)]
pub struct Tools {
    programs: Programs,
    kept: PathBuf,
}

impl Tools {
    /// Runs these; what a kernel does not tell is kept in the file at this path, in a directory that is there.
    pub fn new(programs: Programs, kept: PathBuf) -> Self {
        Self { programs, kept }
    }

    /// What was kept.
    pub fn kept(&self) -> Result<Given, BackendError> {
        let trouble =
            |error: &dyn std::fmt::Display| BackendError::new(format!("{}: {error}", self.kept.display()));
        let text = state::read(&self.kept)
            .map_err(|error| BackendError::new(error.to_string()).caused_by(error.source))?;
        text.unwrap_or_default().parse().map_err(|error| trouble(&error))
    }
}

impl Console for Tools {
    fn run(&mut self, words: &[String]) -> Result<Output, BackendError> {
        let Some((name, rest)) = words.split_first() else {
            return Err(BackendError::new("a command without a name"));
        };
        let program = self.programs.path(name);
        // Keys are among the words.
        debug!(program = %program.display(), words = rest.len(), "run");
        let mut command = Command::new(&program);
        command.args(rest).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = command.process_group(0).spawn().and_then(ended);
        ran.map_err(|error| BackendError::new(format!("cannot run {}", program.display())).caused_by(error))
    }

    fn set_tunnel(&mut self, tunnel: &str, bytes: &[u8]) -> Result<(), BackendError> {
        let sent = match &self.programs {
            Programs::BaseSystem => send(tunnel, bytes),
            Programs::StandIns(directory) => ask(&directory.join("siocswg"), tunnel, bytes),
        };
        sent.map_err(|error| {
            let refused = BackendError::new(format!("{tunnel}: SIOCSWG: {error}"));
            refused.help(
                "RDOM_OPENBSD_KEYS=argv gives keys to ifconfig(8), where ps(1) shows them while it runs",
            )
        })
    }

    fn keep(&mut self, given: &Given) -> Result<(), BackendError> {
        state::replace(&self.kept, &given.to_string())
            .map_err(|error| BackendError::new(error.to_string()).caused_by(error.source))
    }
}

/// No other system has that request.
#[cfg(not(target_os = "openbsd"))]
fn send(_tunnel: &str, _bytes: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A program in the place of the request: it gets the tunnel's name, and the bytes on its standard input.
fn ask(program: &Path, tunnel: &str, bytes: &[u8]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(tunnel).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(bytes)?;
    }
    let output = ended(child)?;
    if output.status == 0 { Ok(()) } else { Err(io::Error::other(output.stderr.trim().to_owned())) }
}

/// What a tool left behind; one that does not end in time is ended.
fn ended(child: Child) -> io::Result<Output> {
    let (done, waits) = channel::<()>();
    let group = Pid::from_raw(-(child.id() as i32));
    let watch = thread::spawn(move || {
        if waits.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill(group, Signal::SIGKILL);
        }
    });
    let output = child.wait_with_output();
    drop(done);
    let _ = watch.join();
    let output = output?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let by_signal = output.status.signal().map(|signal| 128 + signal);
    Ok(Output {
        status: output.status.code().or(by_signal).unwrap_or(1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}
