//! Programs that run in a domain: what they print and how they end.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Ground, until};
use crate::exec::status_of;
use crate::model::DomainId;
use crate::spec::Presence;

/// The most that is kept of what a program writes into one pipe, and looked through; what follows is read and dropped.
const OUTPUT_BYTES: usize = 16 << 20;
/// How much of that a complaint tells.
const TOLD_BYTES: usize = 16 << 10;

/// Runs a program once, and kills it at the deadline.
pub(super) fn run(
    command: &mut Command,
    status: u8,
    stdout: Option<&str>,
    deadline: Instant,
) -> Option<String> {
    let ended = match end_of(command, deadline) {
        Ok(ended) => ended,
        Err(error) => return Some(error.to_string()),
    };
    let complaint = match (ended.status, stdout) {
        (None, _) => "it had not ended in time".to_owned(),
        (Some(code), _) if code != status => format!("status {code}, not {status}"),
        (Some(_), Some(words)) if !ended.out.contains(words) => format!("{words:?} is not in its output"),
        (Some(_), Some(_) | None) => return None,
    };
    Some(
        format!("{complaint}\n{}{}", end_of_text(&ended.out), end_of_text(&ended.errors))
            .trim_end()
            .to_owned(),
    )
}

/// As much of a program's output as a complaint tells: its end.
fn end_of_text(text: &str) -> Cow<'_, str> {
    match text.ceil_char_boundary(text.len().saturating_sub(TOLD_BYTES)) {
        0 => text.into(),
        left_out => format!("({left_out} bytes left out)\n{}", &text[left_out..]).into(),
    }
}

/// Looks a name up as a program of the domain would: with the domain's own resolv.conf(5), hosts(5) and
/// nsswitch.conf(5).
pub(super) fn looked_up(
    domain: DomainId,
    ground: &Ground,
    name: &str,
    answers: &BTreeSet<IpAddr>,
    expect: Presence,
    deadline: Instant,
) -> Option<String> {
    let words = ["/proc/self/exe", "resolve", name].map(str::to_owned);
    let mut before = None;
    until(deadline, |_| {
        let ended = match end_of(&mut ground.command(domain, &words), deadline) {
            Ok(ended) => ended,
            Err(error) => return Some(error.to_string()),
        };
        let seen: BTreeSet<IpAddr> = ended.out.lines().filter_map(|line| line.parse().ok()).collect();
        let listed = || seen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let complaint = match (ended.status, expect) {
            // The last look is cut short; what was seen before says more.
            (None, Presence::Present) => {
                before.take().or_else(|| Some(format!("nobody answered for {name} in time")))
            }
            (None | Some(_), Presence::Absent) => {
                (!seen.is_empty()).then(|| format!("{name} is {}", listed()))
            }
            (Some(_), Presence::Present) if seen.is_empty() => {
                Some(format!("{name} has no address\n{}", ended.errors).trim_end().to_owned())
            }
            (Some(_), Presence::Present) if !answers.is_empty() && *answers != seen => {
                Some(format!("{name} is {}", listed()))
            }
            (Some(_), Presence::Present) => None,
        };
        before.clone_from(&complaint);
        complaint
    })
}

/// How a program ended, and what it said.
struct Ended {
    /// None if it was killed at the deadline.
    status: Option<u8>,
    out: String,
    errors: String,
}

fn end_of(command: &mut Command, deadline: Instant) -> io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.process_group(0).spawn()?;
    let readers = [child.stdout.take().map(Reader::start), child.stderr.take().map(Reader::start)];
    let late = until(deadline, |_| match child.try_wait() {
        Ok(Some(_)) => None,
        Ok(None) => Some("late".to_owned()),
        Err(error) => Some(error.to_string()),
    });
    if late.is_some() {
        // Whom it has started ends with it, unless it has left its group.
        let _ = kill(Pid::from_raw(-(child.id() as i32)), Signal::SIGKILL);
    }
    let status = child.wait().map_or(1, status_of);
    let [out, errors] = readers.map(|reader| reader.map(Reader::text).unwrap_or_default());
    Ok(Ended { status: late.is_none().then_some(status), out, errors })
}

/// How long the offspring of a program that has ended may still hold its pipes open.
const LINGER: Duration = Duration::from_millis(100);

/// Reads a pipe on a thread of its own, so that a talkative program is never held up.
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Reader {
    fn start(mut pipe: impl io::Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let (tell, end) = mpsc::channel::<()>();
        let read = Arc::clone(&text);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut bytes) {
                let mut text = read.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_BYTES - text.len();
                text.extend_from_slice(&bytes[..length.min(room)]);
            }
            drop(tell);
        });
        Self { text, end }
    }

    /// What there is at the pipe's end, or at the end of patience.
    fn text(self) -> String {
        let _ = self.end.recv_timeout(LINGER);
        String::from_utf8_lossy(&self.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
