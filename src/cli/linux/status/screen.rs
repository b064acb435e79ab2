//! A terminal as a page that is drawn again and again: its other screen, which leaves what was typed before as it was
//! (ECMA-48, and xterm's private modes 25 and 1049).

use std::env;
use std::io::{self, IsTerminal, Write};

use nix::sys::signal::{Signal, raise};
use terminal_size::{Height, Width, terminal_size_of};

use super::super::trouble::Trouble;

/// What whoever draws must hear of: the size is another one, or it is to end or to stop.
pub(super) const SIGNALS: [Signal; 6] =
    [Signal::SIGWINCH, Signal::SIGTSTP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const ERASE_REST_OF_LINE: &str = "\x1b[K";
const ERASE_BELOW: &str = "\x1b[J";

/// A screen that is ours until this is dropped.
pub(super) struct Screen;

/// Whether standard output is a terminal that can be drawn on.
pub(super) fn is_there() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

impl Screen {
    pub(super) fn enter() -> Result<Self, Trouble> {
        write(ENTER).map_err(Trouble::failed)?;
        Ok(Self)
    }

    /// This text, as much of it as there is room for.
    pub(super) fn draw(&self, text: &str) -> io::Result<()> {
        let (width, height) = match terminal_size_of(io::stdout()) {
            Some((Width(width), Height(height))) if width > 0 && height > 0 => (width, height),
            Some(_) | None => (80, 24),
        };
        write(&page(text, width.into(), height.into()))
    }

    /// Stops as Ctrl-Z stops any program; returns when it goes on.
    pub(super) fn stop(&mut self) -> Result<(), Trouble> {
        write(LEAVE).map_err(Trouble::failed)?;
        raise(Signal::SIGSTOP).map_err(Trouble::failed)?;
        write(ENTER).map_err(Trouble::failed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _no_terminal_any_more = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut terminal = io::stdout().lock();
    terminal.write_all(text.as_bytes())?;
    terminal.flush()
}

/// What to write for a text to fill a screen, over what is there already.
fn page(text: &str, width: usize, height: usize) -> String {
    let count = text.lines().count();
    let shown = if count > height { height - 1 } else { count };
    let mut lines: Vec<_> = text.lines().take(shown).map(|line| cut(line, width)).collect();
    if shown < count {
        lines.push(cut(&format!("({} more lines)", count - shown), width));
    }
    let end = format!("{ERASE_REST_OF_LINE}\r\n");
    format!("{HOME}{}{ERASE_REST_OF_LINE}{ERASE_BELOW}", lines.join(&end))
}

/// The first characters of a line, and all that paints it.
fn cut(line: &str, width: usize) -> String {
    let (mut left, mut paints) = (width, false);
    let fits = |&c: &char| {
        if c == '\x1b' {
            paints = true;
        }
        if paints {
            paints = c != 'm';
            return true;
        }
        let fits = left > 0;
        left = left.saturating_sub(1);
        fits
    };
    line.chars().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_its_colours_end() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("a\x1b[32mbcd\x1b[0mef", 2), "a\x1b[32mb\x1b[0m");
        assert_eq!(cut("", 2), "");
    }

    #[test]
    fn a_page_fills_the_screen_and_no_more() {
        assert_eq!(page("one\ntwo\n", 2, 2), "\x1b[Hon\x1b[K\r\ntw\x1b[K\x1b[J");
        assert_eq!(page("a\nb\nc\nd\n", 20, 3), "\x1b[Ha\x1b[K\r\nb\x1b[K\r\n(2 more lines)\x1b[K\x1b[J");
        assert_eq!(page("a\nb\n", 20, 1), "\x1b[H(2 more lines)\x1b[K\x1b[J");
    }
}
