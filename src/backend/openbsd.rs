//! OpenBSD as a backend: steps become command lines of ifconfig(8) and route(8), their outputs become a network.
//!
//! Everything here is pure but what a [`Console`] does, which is [`Tools`] on an OpenBSD: it compiles and is tested on every system. It keeps the
//! meaning of a step where the tools differ from it: an interface goes up with its address, routes go with an
//! address, `wgaip` replaces, a warning has exit status 0. docs/openbsd.md says what of this no kernel has seen yet.

mod bound;
mod command;
mod given;
mod hostname_if;
mod limits;
mod observe;
mod render;
mod script;
mod siocswg;
mod status;
mod tools;

use crate::backend::{Backend, BackendError};
use crate::model::{Network, NetworkName};
use crate::plan::Step;
use crate::state::KeyRing;
use command::Part;

pub use bound::bound;
pub use command::{Command, SecretsBy, Word};
pub use given::Given;
pub use hostname_if::hostname_if;
pub use limits::{Limit, limits};
pub use observe::{Captured, blocks, network, networks};
pub use render::Renderer;
pub use script::{SecretFiles, script};
pub use status::{sockets, status};
pub use tools::{Programs, Tools};

/// Somewhere to run the tools.
pub trait Console {
    /// Runs a command whose words are these, the program's name first, and waits for its end.
    fn run(&mut self, words: &[String]) -> Result<Output, BackendError>;

    /// Gives a tunnel what these bytes ask for: a `struct wg_interface_io` (sys/net/if_wg.h) with a key in it.
    fn set_tunnel(&mut self, tunnel: &str, bytes: &[u8]) -> Result<(), BackendError>;

    /// Keeps what a kernel cannot tell for the next process.
    fn keep(&mut self, given: &Given) -> Result<(), BackendError>;
}

/// What a command left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 and more is the number of a signal.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

/// One network in an OpenBSD kernel.
pub struct OpenBsd<C> {
    network: NetworkName,
    console: C,
    keys: KeyRing,
    given: Given,
    secrets_by: SecretsBy,
    renderer: Option<Renderer>,
}

impl<C: Console> OpenBsd<C> {
    /// The network of this name; `given` is what was kept of it.
    pub fn new(network: NetworkName, console: C, keys: KeyRing, given: Given) -> Self {
        Self { network, console, keys, given, secrets_by: SecretsBy::default(), renderer: None }
    }

    /// The same, with the kernel given its secrets in this way.
    pub fn with_secrets(self, secrets_by: SecretsBy) -> Self {
        Self { secrets_by, ..self }
    }

    /// What the commands run on.
    pub fn console(&self) -> &C {
        &self.console
    }

    fn run(&mut self, command: &Command) -> Result<(), BackendError> {
        for part in command.parts(&self.keys, self.secrets_by)? {
            match part {
                Part::Run(words) => self.run_words(command, &words)?,
                Part::Set(tunnel, bytes) => self.console.set_tunnel(&tunnel, &bytes)?,
            }
        }
        Ok(())
    }

    fn run_words(&mut self, command: &Command, words: &[String]) -> Result<(), BackendError> {
        let output = self.console.run(words)?;
        // A refused rdomain is a warning to ifconfig, and everything after it happens in the wrong domain.
        if output.status == 0 && output.stderr.trim().is_empty() {
            return Ok(());
        }
        Err(refused(command, &output))
    }
}

impl<C: Console> Backend for OpenBsd<C> {
    fn observe(&mut self) -> Result<Network, BackendError> {
        let captured = Captured::by(&mut self.console)?;
        let seen = network(&self.network, &captured, &self.given)?;
        self.renderer = Some(Renderer::new(seen.clone()));
        Ok(seen)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        if self.renderer.is_none() {
            self.observe()?;
        }
        let Some(renderer) = &mut self.renderer else {
            return Err(BackendError::new("nothing was observed"));
        };
        let commands = renderer.commands(step)?;
        let before = self.given.clone();
        if self.given.expect(step) {
            self.console.keep(&self.given)?;
        }
        commands.iter().try_for_each(|command| self.run(command))?;
        if self.given.note(step, &before) {
            self.console.keep(&self.given)?;
        }
        Ok(())
    }
}

fn refused(command: &Command, output: &Output) -> BackendError {
    let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
    let last = said.trim().lines().last().unwrap_or("no word of why");
    let error = BackendError::new(format!("{command}: {last} (status {})", output.status));
    match advice(last) {
        Some(advice) => error.help(advice),
        None => error,
    }
}

fn advice(said: &str) -> Option<&'static str> {
    let known = [
        ("SIOCIFCREATE: File exists", "an interface of that name is somebody else's: choose another name"),
        (
            "SIOCIFDESTROY: Device busy",
            "`netstat -R` shows who else is in the domain: `ifconfig IF -rdomain`",
        ),
        ("SIOCSIFRDOMAIN: Invalid argument", "an rtable of that number holds routes: `route -T N flush`"),
        ("Network is unreachable", "no address of the domain leads to the gateway"),
        (": File exists", "a route there is somebody else's: `route -T N -n show`"),
        ("Operation not permitted", "run it as root"),
    ];
    known.iter().find(|(text, _)| said.contains(text)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests;
