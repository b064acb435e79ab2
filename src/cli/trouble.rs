//! What goes wrong, as a person reads it, and the exit status that goes with it.

use std::error::Error;
use std::fmt::Display;
use std::io::IsTerminal;

use super::say::complain;
use crate::backend::help_of;
use crate::diagnostic::{Diagnostics, Paint, Unsupported, chain};
use crate::exec::ExecError;

/// The end of a verb that did not do what was asked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Something is wrong with the file, or with what it asks for, and this is where: status 2 or 1.
    Diagnostics(Box<Diagnostics>, u8),
    /// Bad usage: status 2.
    Usage { message: String, help: Option<String> },
    /// Not permitted or not supported here: status 4.
    Unsupported(Unsupported),
    /// It failed: status 1.
    Failed(Box<dyn Error>),
    /// A program did not start: status 127, 126 or 1.
    Exec(ExecError),
    /// Everything has been said.
    Said(u8),
}

impl Trouble {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: None }
    }

    pub(super) fn failed(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Failed(error.into())
    }

    /// The exit status that goes with it.
    pub(super) fn status(&self) -> u8 {
        match self {
            Trouble::Diagnostics(_, status) | Trouble::Said(status) => *status,
            Trouble::Usage { .. } => 2,
            Trouble::Unsupported(_) => 4,
            Trouble::Failed(_) => 1,
            Trouble::Exec(error) => error.exit_status(),
        }
    }

    /// Prints it to standard error; returns its exit status.
    pub(super) fn tell(self) -> u8 {
        let text = self.text(paint());
        if !text.is_empty() {
            complain(text);
        }
        self.status()
    }

    /// What there is to say of it.
    pub(super) fn text(&self, paint: Paint) -> String {
        match self {
            Trouble::Diagnostics(diagnostics, _) => diagnostics.render(paint),
            Trouble::Usage { message, help } => with_help(message, help.as_deref()),
            Trouble::Unsupported(unsupported) => with_help(unsupported, Some(&unsupported.remedy)),
            Trouble::Failed(error) => with_help(&chain(error.as_ref()), help_of(error.as_ref())),
            Trouble::Exec(error) => with_help(error, error.help()),
            Trouble::Said(_) => String::new(),
        }
    }
}

impl From<Unsupported> for Trouble {
    fn from(unsupported: Unsupported) -> Self {
        Self::Unsupported(unsupported)
    }
}

impl From<ExecError> for Trouble {
    fn from(error: ExecError) -> Self {
        Self::Exec(error)
    }
}

/// How standard error is painted: with colours only for a person at a terminal (no-color.org).
pub(super) fn paint() -> Paint {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || !std::io::stderr().is_terminal();
    if plain { Paint::Plain } else { Paint::Coloured }
}

fn with_help(what: &dyn Display, help: Option<&str>) -> String {
    let help = help.map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    format!("rdom: {what}{help}")
}
