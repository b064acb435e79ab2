//! Printing. Most verbs go on when nobody reads: whoever closes standard output or error does not want to know,
//! and a network that is up must not fall over it.

use std::fmt::Display;
use std::io::{self, Write};

use super::trouble::Trouble;

/// A line to standard output.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What a verb is asked for, to standard output: it fails where that cannot be written.
pub(super) fn answer(text: impl Display) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    let written = write!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| Trouble::failed(format!("cannot write to standard output: {error}")))
}

/// A line to standard error.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How many of something, as one says it.
pub(super) fn count(number: usize, of_what: &str) -> String {
    format!("{number} {of_what}{}", if number == 1 { "" } else { "s" })
}
