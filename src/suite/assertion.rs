//! One assertion against one domain: nothing, or what was seen instead.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::inside::Inside;
use super::{Ground, until};
use crate::backend::BackendError;
use crate::exec::status_of;
use crate::spec::{Assertion, Connection, Presence, Protocol, Reach, Test};
use crate::status::{self, SocketTable};

/// The longest single try at something that may be tried again.
const TRY: Duration = Duration::from_secs(1);

pub(super) fn failure(
    test: &Test,
    inside: &Inside<'_>,
    ground: &dyn Ground,
    deadline: Instant,
) -> Option<String> {
    match &test.assertion {
        Assertion::Ping { to, expect } => pinged(inside, *to, *expect, deadline),
        Assertion::Tcp { to, expect } => called(inside, *to, *expect, deadline),
        Assertion::Socket { protocol, port, expect } => {
            let wanted = Bound { protocol: *protocol, port: *port, expect: *expect };
            until(deadline, |_| looked_up(ground.sockets(test.inside), wanted))
        }
        Assertion::Exec { command, status, stdout } => {
            let mut command = ground.command(test.inside, command);
            run(&mut command, *status, stdout.as_deref(), deadline)
        }
    }
}

fn pinged(inside: &Inside<'_>, to: IpAddr, expect: Reach, deadline: Instant) -> Option<String> {
    match expect {
        Reach::Reachable => until(deadline, |left| inside.echo(to, left.min(TRY)).err()),
        Reach::Unreachable => {
            let left = deadline.saturating_duration_since(Instant::now());
            inside.echo(to, left).ok().map(|()| format!("{to} answered"))
        }
    }
}

fn called(inside: &Inside<'_>, to: SocketAddr, expect: Connection, deadline: Instant) -> Option<String> {
    let complaint = |left: Duration| {
        let seen = inside.call(to, left.min(TRY));
        (seen != expect).then(|| format!("{to} is {}", word(seen)))
    };
    match expect {
        Connection::Open | Connection::Refused => until(deadline, complaint),
        Connection::Unreachable => complaint(deadline.saturating_duration_since(Instant::now())),
    }
}

fn word(connection: Connection) -> &'static str {
    match connection {
        Connection::Open => "open",
        Connection::Refused => "refused",
        Connection::Unreachable => "unreachable",
    }
}

fn looked_up(table: Result<SocketTable, BackendError>, wanted: Bound) -> Option<String> {
    let Bound { protocol, port, expect } = wanted;
    let transport = match protocol {
        Protocol::Udp => status::Protocol::Udp,
        Protocol::Tcp => status::Protocol::Tcp,
    };
    let sockets = match table {
        Ok(table) => table.sockets,
        Err(error) => return Some(error.to_string()),
    };
    let bound = sockets.iter().any(|socket| (socket.protocol, socket.local.port()) == (transport, port));
    match (expect, bound) {
        (Presence::Present, false) => Some(format!("nothing is bound to {protocol}/{port}")),
        (Presence::Absent, true) => Some(format!("something is bound to {protocol}/{port}")),
        (Presence::Present, true) | (Presence::Absent, false) => None,
    }
}

/// A socket that shall be there, or shall not.
#[derive(Clone, Copy)]
struct Bound {
    protocol: Protocol,
    port: u16,
    expect: Presence,
}

/// Runs a program once, and kills it at the deadline.
fn run(command: &mut Command, status: u8, stdout: Option<&str>, deadline: Instant) -> Option<String> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Some(error.to_string()),
    };
    let readers = [child.stdout.take().map(drain), child.stderr.take().map(drain)];
    let late = until(deadline, |_| match child.try_wait() {
        Ok(Some(_)) => None,
        Ok(None) => Some("it had not ended in time".to_owned()),
        Err(error) => Some(error.to_string()),
    });
    if late.is_some() {
        let _ = child.kill();
    }
    let ended = child.wait();
    let [out, errors] =
        readers.map(|reader| reader.and_then(|reader| reader.join().ok()).unwrap_or_default());
    let code = ended.map_or(1, status_of);
    let complaint = match stdout {
        _ if late.is_some() => late?,
        _ if code != status => format!("status {code}, not {status}"),
        Some(words) if !out.contains(words) => format!("{words:?} is not in its output"),
        Some(_) | None => return None,
    };
    Some(format!("{complaint}\n{out}{errors}").trim_end().to_owned())
}

/// Reads a pipe to its end on a thread of its own, so that a talkative program is never held up.
fn drain(mut pipe: impl io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
