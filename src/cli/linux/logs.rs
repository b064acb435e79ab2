//! `rdom logs`: what a supervisor in the background has logged, or a service has written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;

use clap::Args;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::live::Live;
use super::trouble::Trouble;
use super::{Common, Ended, Which, unused};
use crate::model::ServiceName;
use crate::service;
use crate::state::Lock;

/// How long `-f` waits for more before it looks whether the supervisor still lives: one that is killed writes nothing.
const EVERY_MILLIS: u16 = 1000;

#[derive(Debug, Args)]
#[command(arg = unused("json"))]
pub(super) struct Words {
    #[command(flatten)]
    pub(super) which: Which,
    /// Go on as it grows, until the supervisor ends
    #[arg(short, long)]
    follow: bool,
    /// Begin this many lines before the end; -n names the network
    #[arg(long, value_name = "LINES")]
    lines: Option<usize>,
    /// What this service has written; without it, what the supervisor has logged
    service: Option<ServiceName>,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    let live = Live::find(common).map_err(|trouble| meant_lines(trouble, common))?;
    let path = match &words.service {
        Some(service) => service::log(&live.directories.runtime, service),
        None => live.directories.runtime.join("log"),
    };
    let file = File::open(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => missing(&live, words.service.as_ref()),
        _ => Trouble::failed(format!("cannot read {}: {error}", path.display())),
    })?;
    let mut log = BufReader::new(file);
    show(&mut log, words.lines).map_err(Trouble::failed)?;
    if words.follow {
        let growth = Growth::of(log.get_ref()).map_err(Trouble::failed)?;
        follow(&mut log, &growth, &live)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn missing(live: &Live, service: Option<&ServiceName>) -> Trouble {
    let name = &live.name;
    match service {
        Some(service) => Trouble::Usage {
            message: format!("network {name} has run no service {service}"),
            help: Some(format!("its services: rdom status -n {name}")),
        },
        None => Trouble::failed(format!(
            "network {name} has no log of its own: its supervisor writes to the terminal, or the journal, that it \
             was started from"
        )),
    }
}

/// `-n 20` means lines in tail(1), and here a network.
fn meant_lines(trouble: Trouble, common: &Common) -> Trouble {
    match &common.network {
        Some(name) if name.as_str().bytes().all(|byte| byte.is_ascii_digit()) => Trouble::Usage {
            message: format!("network {name} is not up"),
            help: Some(format!("-n names a network; the last {name} lines: rdom logs --lines {name}")),
        },
        Some(_) | None => trouble,
    }
}

fn follow(log: &mut impl Read, growth: &Growth, live: &Live) -> Result<(), Trouble> {
    loop {
        // Asked before the log is read: nothing is written after the end.
        let ended = Lock::holder(&live.directories).is_none();
        if copy(log).map_err(Trouble::failed)? > 0 {
            continue;
        }
        if ended {
            return Ok(());
        }
        growth.wait().map_err(Trouble::failed)?;
    }
}

/// Tells when a file has grown, or is removed (inotify(7)).
struct Growth(Inotify);

impl Growth {
    /// By its descriptor: it may have been removed by now.
    fn of(file: &File) -> nix::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify.add_watch(path.as_str(), AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_ATTRIB)?;
        Ok(Self(inotify))
    }

    /// Returns at once if it has since the last time.
    fn wait(&self) -> nix::Result<()> {
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], EVERY_MILLIS)? {
            0 => Ok(()),
            _ => self.0.read_events().map(drop),
        }
    }
}

/// The last lines that there are, or all.
fn show(log: &mut impl BufRead, last: Option<usize>) -> io::Result<()> {
    let Some(last) = last else { return copy(log).map(drop) };
    let mut text = Vec::new();
    log.read_to_end(&mut text)?;
    io::stdout().write_all(tail(&text, last))
}

/// The last lines of a text.
fn tail(text: &[u8], lines: usize) -> &[u8] {
    let ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    let without_the_last = usize::from(text.last() == Some(&b'\n'));
    match (lines, ends.map(|(at, _)| at).nth((lines + without_the_last).saturating_sub(1))) {
        (0, _) => &[],
        (_, Some(end)) => &text[end + 1..],
        (_, None) => text,
    }
}

/// What there is up to now; the number of its bytes.
fn copy(log: &mut impl Read) -> io::Result<u64> {
    let mut out = io::stdout();
    let copied = io::copy(log, &mut out)?;
    out.flush()?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let tails = |text: &str, lines| String::from_utf8(tail(text.as_bytes(), lines).to_vec()).unwrap();
        assert_eq!([0, 1, 2, 9].map(|lines| tails("a\nb\nc\n", lines)), ["", "c\n", "b\nc\n", "a\nb\nc\n"]);
        assert_eq!([1, 2].map(|lines| tails("a\nb", lines)), ["b", "a\nb"]);
        assert_eq!(tails("", 3), "");
    }
}
