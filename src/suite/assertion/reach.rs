//! Whether somebody answers: ICMP, TCP, UDP, HTTP.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::serve::{Served, TOKEN_BYTES};
use super::{Ground, TRY, throughout, until};
use crate::exec::ping::{Fate, Refusal};
use crate::model::DomainId;
use crate::spec::{Connection, HttpAnswer, Reach, Url};
use crate::suite::inside::Inside;

/// The domain in which the test itself listens.
pub(super) struct Server<'a> {
    pub(super) domain: DomainId,
    pub(super) ground: &'a Ground,
}

/// The longest answer of HTTP that is read, in bytes.
const ANSWER_BYTES: usize = 1 << 20;
/// What a datagram asks.
const QUESTION: &[u8] = b"rdom";

pub(super) fn pinged(inside: &Inside<'_>, to: IpAddr, expect: Reach, deadline: Instant) -> Option<String> {
    match expect {
        Reach::Reachable => until(deadline, |left| no_answer(inside, to, left.min(TRY))),
        Reach::Unreachable => throughout(deadline, |left| match inside.echo(to, left.min(TRY)) {
            Ok(Fate::Answered) => Some(format!("{to} answered")),
            Ok(Fate::Refused { .. } | Fate::Unsent(_) | Fate::Lost) => None,
            Err(error) => Some(format!("cannot ask: {error}")),
        }),
    }
}

/// Why there is no answer to an echo request, if there is none.
fn no_answer(inside: &Inside<'_>, to: IpAddr, wait: Duration) -> Option<String> {
    match inside.echo(to, wait) {
        Ok(Fate::Answered) => None,
        Ok(fate) => Some(format!("no answer from {to}{}", reason(&fate))),
        Err(error) => Some(format!("no answer from {to}: {error}")),
    }
}

/// What is known of the reason, after a colon.
pub(super) fn reason(fate: &Fate) -> String {
    match fate {
        Fate::Answered | Fate::Lost => String::new(),
        Fate::Unsent(errno) => format!(": {}", errno.desc()),
        Fate::Refused { by, refusal: Refusal::HopLimit } => format!(": {by} says that it took too many hops"),
        Fate::Refused { by, refusal: Refusal::TooBig(0) } => format!(": {by} says that it is too big"),
        Fate::Refused { by, refusal: Refusal::TooBig(mtu) } => {
            format!(": {by} says that its next link takes {mtu} bytes")
        }
        Fate::Refused { by, refusal: Refusal::Other(errno) } => format!(": {by} says: {}", errno.desc()),
    }
}

/// Whether a call fails with this because there is no socket to be had, wherever it goes.
fn is_without_socket(errno: Errno) -> bool {
    matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAFNOSUPPORT)
}

/// What became of a call, and why where it is not taken.
struct Seen {
    connection: Connection,
    why: String,
}

impl Seen {
    fn open() -> Self {
        Self { connection: Connection::Open, why: String::new() }
    }

    /// An error that says nothing of the network is the other sort of error.
    fn of(errno: Errno) -> Result<Self, String> {
        match errno {
            Errno::ECONNREFUSED => Ok(Self { connection: Connection::Refused, why: String::new() }),
            errno if is_without_socket(errno) => Err(format!("cannot ask: {}", errno.desc())),
            errno => Ok(Self { connection: Connection::Unreachable, why: format!(": {}", errno.desc()) }),
        }
    }
}

/// Calls until it is as expected; that nobody answers must stay so.
fn judged(
    to: SocketAddr,
    expect: Connection,
    deadline: Instant,
    mut look: impl FnMut(Duration) -> Result<Seen, String>,
) -> Option<String> {
    let complaint = |left: Duration| match look(left.clamp(Duration::from_millis(1), TRY)) {
        Ok(seen) if seen.connection == expect => None,
        Ok(seen) => Some(format!("{to} is {}{}", seen.connection, seen.why)),
        Err(complaint) => Some(complaint),
    };
    match expect {
        Connection::Open | Connection::Refused => until(deadline, complaint),
        Connection::Unreachable => throughout(deadline, complaint),
    }
}

pub(super) fn called(
    inside: &Inside<'_>,
    to: SocketAddr,
    server: Option<Server<'_>>,
    expect: Connection,
    deadline: Instant,
) -> Option<String> {
    let served = match server.map(|server| Served::tcp(&server, to)).transpose() {
        Ok(served) => served,
        Err(trouble) => return Some(trouble),
    };
    judged(to, expect, deadline, |wait| match inside.call(to, wait) {
        Err(errno) => Seen::of(errno),
        Ok(stream) => match &served {
            Some(served) if !has_said(&stream, &served.token, wait) => Err(served.stranger(to)),
            Some(_) | None => Ok(Seen::open()),
        },
    })
}

/// Whether these are the first bytes that come.
fn has_said(stream: &TcpStream, token: &[u8; TOKEN_BYTES], wait: Duration) -> bool {
    said(stream, TOKEN_BYTES, wait, Instant::now() + wait).is_ok_and(|said| said == *token)
}

/// What comes until the stream ends or so many bytes are there. It is an error if nothing comes for a while, or if all
/// of it takes until the deadline.
fn said(mut stream: &TcpStream, most: usize, wait: Duration, deadline: Instant) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(false)?;
    let (mut said, mut bytes) = (Vec::new(), [0; 4096]);
    while said.len() < most {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left.min(wait)))?;
        let room = bytes.len().min(most - said.len());
        match stream.read(&mut bytes[..room]) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(said)
}

pub(super) fn asked(
    inside: &Inside<'_>,
    to: SocketAddr,
    server: Option<Server<'_>>,
    expect: Connection,
    deadline: Instant,
) -> Option<String> {
    let served = match server.map(|server| Served::udp(&server, to)).transpose() {
        Ok(served) => served,
        Err(trouble) => return Some(trouble),
    };
    judged(to, expect, deadline, |wait| match answer(inside, to, wait) {
        Ok(said) => match &served {
            Some(served) if said != served.token => Err(served.stranger(to)),
            Some(_) | None => Ok(Seen::open()),
        },
        Err(errno) => Seen::of(errno),
    })
}

/// What comes back for a datagram.
fn answer(inside: &Inside<'_>, to: SocketAddr, wait: Duration) -> Result<Vec<u8>, Errno> {
    let errno = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock => Errno::ETIMEDOUT,
        _ => error.raw_os_error().map_or(Errno::EIO, Errno::from_raw),
    };
    let socket = inside.datagrams_to(to)?;
    socket.set_read_timeout(Some(wait)).map_err(errno)?;
    socket.send(QUESTION).map_err(errno)?;
    let mut said = vec![0; 1 << 16];
    let length = socket.recv(&mut said).map_err(errno)?;
    said.truncate(length);
    Ok(said)
}

pub(super) fn fetched(
    inside: &Inside<'_>,
    url: &Url,
    answer: &HttpAnswer,
    expect: Connection,
    deadline: Instant,
) -> Option<String> {
    judged(url.to, expect, deadline, |wait| {
        let stream = match inside.call(url.to, wait) {
            Ok(stream) => stream,
            Err(errno) => return Seen::of(errno),
        };
        if expect != Connection::Open {
            return Ok(Seen::open());
        }
        let said = fetch(&stream, url, wait, deadline.max(Instant::now() + wait))
            .map_err(|error| format!("{url} does not answer: {error}"))?;
        answered(url, answer, &said).map_or(Ok(Seen::open()), Err)
    })
}

/// The whole answer to a GET (RFC 9112); of version 1.0, so that it comes in one piece.
fn fetch(mut stream: &TcpStream, url: &Url, wait: Duration, deadline: Instant) -> io::Result<String> {
    stream.set_nonblocking(false)?;
    let Url { to, path } = url;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {to}\r\nUser-Agent: rdom\r\nConnection: close\r\n\r\n")?;
    let bytes = said(stream, ANSWER_BYTES, wait, deadline)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is wrong with an answer.
fn answered(url: &Url, expected: &HttpAnswer, said: &str) -> Option<String> {
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or((said, ""));
    let first = head.lines().next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
    match (status, &expected.body) {
        (None, _) => Some(format!("{url} does not speak HTTP: {first:?}")),
        (Some(status), _) if status != expected.status => Some(format!("{url} says {first:?}\n{body}")),
        (Some(_), Some(words)) if !body.contains(words.as_str()) => {
            Some(format!("{words:?} is not in its body\n{body}"))
        }
        (Some(_), Some(_) | None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_http_are_judged_by_status_and_body() {
        let url = Url { to: "10.0.0.1:80".parse().unwrap(), path: "/".into() };
        let wanted = |status, body: Option<&str>| HttpAnswer { status, body: body.map(str::to_owned) };
        let said = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nhello\n";
        assert_eq!(answered(&url, &wanted(200, Some("hello")), said), None);
        let complaint = |answer, said| answered(&url, &answer, said).unwrap_or_default();
        assert_eq!(
            complaint(wanted(404, None), said),
            "http://10.0.0.1:80/ says \"HTTP/1.1 200 OK\"\nhello\n"
        );
        assert!(complaint(wanted(200, Some("bye")), said).starts_with("\"bye\" is not in its body"));
        assert!(complaint(wanted(200, None), "SSH-2.0-x").contains("does not speak HTTP: \"SSH-2.0-x\""));
    }
}
