//! What a file asserts about its network, in its `tests:`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::diagnostic::Place;
use crate::model::DomainId;

/// One assertion, made from inside a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The domain that it is made from.
    pub inside: DomainId,
    /// What to call it: the file's `name`, else what it asserts.
    pub name: String,
    /// What is asserted.
    pub assertion: Assertion,
    /// The time it is given: to become true, or, if it says that something does not happen, to stay so.
    pub within: Duration,
    /// Where the file says it.
    pub place: Place,
}

/// What is asserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assertion {
    /// An ICMP echo, and whether it is answered.
    Ping {
        /// Who is asked.
        to: IpAddr,
        /// Whether they answer.
        expect: Reach,
    },
    /// A TCP connection, and what comes of it.
    Tcp {
        /// Who is called.
        to: SocketAddr,
        /// What they say.
        expect: Connection,
    },
    /// A socket that is bound in the domain, by whomever.
    Socket {
        /// Its protocol, over IPv4 or IPv6.
        protocol: Protocol,
        /// The local port; with TCP that of a listener.
        port: u16,
        /// Whether there is one.
        expect: Presence,
    },
    /// A program that runs in the domain.
    Exec {
        /// The program and its arguments; no shell takes them apart.
        command: Vec<String>,
        /// The exit status it must have.
        status: u8,
        /// What must occur in its standard output.
        stdout: Option<String>,
    },
}

/// What becomes of an echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is answered.
    Reachable,
    /// Nobody answers, or a router says why not.
    Unreachable,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It is taken.
    Open,
    /// The host is there and refuses.
    Refused,
    /// Nobody answers, or a router says why not.
    Unreachable,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 768.
    Udp,
    /// RFC 9293.
    Tcp,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Absent,
}

impl Assertion {
    /// The time that it is given where the file does not say: 5 s to become true, 1 s to stay untrue, 10 s to run.
    pub fn default_within(&self) -> Duration {
        let secs = match self {
            Assertion::Ping { expect: Reach::Reachable, .. }
            | Assertion::Tcp { expect: Connection::Open | Connection::Refused, .. }
            | Assertion::Socket { expect: Presence::Present, .. } => 5,
            Assertion::Ping { expect: Reach::Unreachable, .. }
            | Assertion::Tcp { expect: Connection::Unreachable, .. }
            | Assertion::Socket { expect: Presence::Absent, .. } => 1,
            Assertion::Exec { .. } => 10,
        };
        Duration::from_secs(secs)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        })
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assertion::Ping { to, expect: Reach::Reachable } => write!(f, "ping {to}"),
            Assertion::Ping { to, expect: Reach::Unreachable } => write!(f, "ping {to} is unreachable"),
            Assertion::Tcp { to, expect: Connection::Open } => write!(f, "tcp {to}"),
            Assertion::Tcp { to, expect: Connection::Refused } => write!(f, "tcp {to} is refused"),
            Assertion::Tcp { to, expect: Connection::Unreachable } => write!(f, "tcp {to} is unreachable"),
            Assertion::Socket { protocol, port, expect: Presence::Present } => {
                write!(f, "socket {protocol}/{port}")
            }
            Assertion::Socket { protocol, port, expect: Presence::Absent } => {
                write!(f, "no socket {protocol}/{port}")
            }
            Assertion::Exec { command, .. } => write!(f, "exec {}", command.join(" ")),
        }
    }
}
