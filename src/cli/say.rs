//! Printing, for verbs that go on when nobody reads: whoever closes standard output or error does not want to know,
//! and a network that is up must not fall over it.

use std::fmt::Display;
use std::io::{self, Write};

/// A line to standard output.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line to standard error.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// How many of something, as one says it.
pub(super) fn count(number: usize, of_what: &str) -> String {
    format!("{number} {of_what}{}", if number == 1 { "" } else { "s" })
}
