//! What a file asserts about its network, in its `tests:` and after its `steps:`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Document;
use crate::diagnostic::Place;
use crate::model::{DomainId, End, Impairment, InterfaceName, RtableId, ServiceName};

/// One assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The domain that it is made from; none where it is about several alike.
    pub inside: Option<DomainId>,
    /// What to call it: the file's `name`, else the domain and what it asserts.
    pub name: String,
    /// What it asserts, in the file's words.
    pub asserted: String,
    /// What is asserted.
    pub assertion: Assertion,
    /// The time that the file gives it: to become true, or, if it says that something does not happen, to stay so.
    pub within: Option<Duration>,
    /// Where the file says it.
    pub place: Place,
}

/// What is asserted; `D` is how a domain is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assertion<D = DomainId> {
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
        /// The domain in which the test itself listens there.
        serve: Option<D>,
        /// What they say.
        expect: Connection,
    },
    /// A UDP datagram, and what comes of it.
    Udp {
        /// Who is asked.
        to: SocketAddr,
        /// The domain in which the test itself answers there.
        serve: Option<D>,
        /// What they say.
        expect: Connection,
    },
    /// A request of HTTP, and what comes of it.
    Http {
        /// What is asked for.
        url: Url,
        /// What the answer must be, if it is answered.
        answer: HttpAnswer,
        /// Whether it is answered.
        expect: Connection,
    },
    /// A name, as a program of the domain would look it up.
    Dns {
        /// The name.
        name: String,
        /// Every address that it must have; any will do if there is none here.
        answers: BTreeSet<IpAddr>,
        /// Whether it has one.
        expect: Presence,
    },
    /// A look into the tables for the route that a packet would take.
    Route {
        /// Where to.
        to: IpAddr,
        /// What the route must be.
        way: Way,
        /// Whether there is one; a route that drops is none.
        expect: Presence,
    },
    /// The domains that a packet passes.
    Path {
        /// Where to.
        to: IpAddr,
        /// The domains after the first one, in their order.
        hops: Vec<D>,
        /// Whether it passes these and no others, or none of these.
        expect: Passage,
    },
    /// The largest packet that arrives whole.
    Mtu {
        /// Where to.
        to: IpAddr,
        /// Bytes, with the header of IP.
        bytes: u16,
        /// How that compares.
        expect: Fit,
    },
    /// A socket that is bound in the domain.
    Socket {
        /// Its protocol, over IPv4 or IPv6.
        protocol: Protocol,
        /// The local port; with TCP that of a listener.
        port: u16,
        /// The program that has it open, as ps(1) calls it; whoever, if there is none here.
        owner: Option<String>,
        /// Whether there is one.
        expect: Presence,
    },
    /// Domains none of which reaches any other.
    Isolated {
        /// The domains.
        domains: Vec<D>,
    },
    /// The handshake of a tunnel with its peers.
    Handshake {
        /// The tunnel.
        tunnel: InterfaceName,
        /// What the file calls the peer; without it all of them.
        peer: Option<String>,
        /// Whether there has been one that still counts.
        expect: Presence,
    },
    /// The encrypted bytes of a tunnel since the last step, or since it came up.
    Counter {
        /// The tunnel.
        tunnel: InterfaceName,
        /// What they did.
        expect: Growth,
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

/// What is asked of an HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whom to call.
    pub to: SocketAddr,
    /// The path with its query.
    pub path: String,
}

/// What an HTTP server must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// What must occur in its body.
    pub body: Option<String>,
}

/// What a route must be; what is not here may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The rtable of the program that asks; the domain's own without it.
    pub rtable: Option<RtableId>,
    /// The gateway.
    pub via: Option<IpAddr>,
    /// The interface.
    pub dev: Option<InterfaceName>,
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
    /// It is taken; of a datagram, that it is answered.
    Open,
    /// The host is there and refuses.
    Refused,
    /// Nobody answers, or a router says why not.
    Unreachable,
}

/// Which domains a packet passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// These, in their order.
    Taken,
    /// It arrives, and passes none of these and nobody who says nothing.
    Avoided,
}

/// How a packet's size compares to what a path lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It is the largest that passes.
    Exact,
    /// It passes.
    Fits,
    /// It does not.
    TooBig,
}

/// What a counter did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// There are more.
    Grew,
    /// There are as many.
    Still,
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

impl Test {
    /// The time that it is given.
    pub fn time(&self) -> Duration {
        self.within.unwrap_or_else(|| self.assertion.default_within())
    }
}

impl<D> Assertion<D> {
    /// Whether it says that something does not happen, and can be watched while others happen.
    pub fn is_watch(&self) -> bool {
        match self {
            Assertion::Ping { expect: Reach::Unreachable, .. } => true,
            Assertion::Tcp { expect, .. }
            | Assertion::Udp { expect, .. }
            | Assertion::Http { expect, .. } => *expect == Connection::Unreachable,
            Assertion::Isolated { .. } => true,
            Assertion::Ping { .. } | Assertion::Dns { .. } | Assertion::Route { .. } => false,
            Assertion::Path { .. } | Assertion::Mtu { .. } | Assertion::Socket { .. } => false,
            Assertion::Handshake { .. } | Assertion::Counter { .. } | Assertion::Exec { .. } => false,
        }
    }

    /// The time that it is given where the file does not say: 5 s to become true, half a second to stay untrue, 10 s
    /// to run.
    pub fn default_within(&self) -> Duration {
        match self {
            Assertion::Exec { .. } => Duration::from_secs(10),
            watch if watch.is_watch() => Duration::from_millis(500),
            Assertion::Dns { expect: Presence::Absent, .. }
            | Assertion::Socket { expect: Presence::Absent, .. }
            | Assertion::Route { expect: Presence::Absent, .. }
            | Assertion::Handshake { expect: Presence::Absent, .. } => Duration::from_secs(1),
            Assertion::Counter { expect: Growth::Still, .. } => Duration::from_millis(200),
            Assertion::Ping { .. } | Assertion::Tcp { .. } | Assertion::Udp { .. } => Duration::from_secs(5),
            Assertion::Http { .. } | Assertion::Dns { .. } | Assertion::Route { .. } => {
                Duration::from_secs(5)
            }
            Assertion::Path { .. } | Assertion::Mtu { .. } | Assertion::Socket { .. } => {
                Duration::from_secs(5)
            }
            Assertion::Isolated { .. } | Assertion::Handshake { .. } => Duration::from_secs(5),
            Assertion::Counter { .. } => Duration::from_secs(5),
        }
    }

    /// The same with each domain called otherwise; nothing if one of them cannot be.
    pub(super) fn with_domains<E>(self, mut call: impl FnMut(D) -> Option<E>) -> Option<Assertion<E>> {
        let mut each = |domains: Vec<D>| {
            let called: Vec<_> = domains.into_iter().map(&mut call).collect();
            called.into_iter().collect::<Option<Vec<E>>>()
        };
        let mut one = |domain: Option<D>| each(domain.into_iter().collect()).map(|mut called| called.pop());
        Some(match self {
            Assertion::Tcp { to, serve, expect } => Assertion::Tcp { to, serve: one(serve)?, expect },
            Assertion::Udp { to, serve, expect } => Assertion::Udp { to, serve: one(serve)?, expect },
            Assertion::Path { to, hops, expect } => Assertion::Path { to, hops: each(hops)?, expect },
            Assertion::Isolated { domains } => Assertion::Isolated { domains: each(domains)? },
            Assertion::Ping { to, expect } => Assertion::Ping { to, expect },
            Assertion::Http { url, answer, expect } => Assertion::Http { url, answer, expect },
            Assertion::Dns { name, answers, expect } => Assertion::Dns { name, answers, expect },
            Assertion::Route { to, way, expect } => Assertion::Route { to, way, expect },
            Assertion::Mtu { to, bytes, expect } => Assertion::Mtu { to, bytes, expect },
            Assertion::Socket { protocol, port, owner, expect } => {
                Assertion::Socket { protocol, port, owner, expect }
            }
            Assertion::Handshake { tunnel, peer, expect } => Assertion::Handshake { tunnel, peer, expect },
            Assertion::Counter { tunnel, expect } => Assertion::Counter { tunnel, expect },
            Assertion::Exec { command, status, stdout } => Assertion::Exec { command, status, stdout },
        })
    }
}

/// One item of `steps:`: something is done to the network, or something is asserted after that.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Something is done.
    Act(Act),
    /// Something is asserted.
    Test(Test),
}

/// Something that is done to a network.
#[derive(Clone, Debug)]
pub struct Act {
    /// What, in the file's words.
    pub text: String,
    /// What.
    pub action: Action,
    /// Where the file says it.
    pub place: Place,
}

/// What is done.
#[derive(Clone, Debug)]
pub enum Action {
    /// An interface goes down, and with it the other end of its link.
    Cut(End),
    /// It comes back, with what was on it.
    Restore(End),
    /// A tunnel learns that a peer is elsewhere.
    Move {
        /// The tunnel.
        tunnel: End,
        /// What the file calls the peer.
        peer: String,
        /// Where it is now.
        endpoint: SocketAddr,
    },
    /// A link does this to packets.
    Set {
        /// One of its ends.
        link: End,
        /// What.
        impairment: Impairment,
        /// Whether to those alone that leave by this end.
        one_way: bool,
    },
    /// A service is killed, and stays so.
    Kill(ServiceName),
    /// It is started, and is ready then.
    Start(ServiceName),
    /// Some time passes.
    Wait(Duration),
    /// The network becomes what this file says.
    Apply(Box<Document>),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.to, self.path)
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Connection::Open => "open",
            Connection::Refused => "refused",
            Connection::Unreachable => "unreachable",
        })
    }
}

/// What is expected where that is not the usual.
fn unless_open(f: &mut fmt::Formatter<'_>, expect: Connection) -> fmt::Result {
    match expect {
        Connection::Open => Ok(()),
        Connection::Refused | Connection::Unreachable => write!(f, " is {expect}"),
    }
}

fn list<D: fmt::Display>(items: impl IntoIterator<Item = D>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl<D: fmt::Display> fmt::Display for Assertion<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Assertion::Ping { to, expect: Reach::Reachable } => write!(f, "ping {to}"),
            Assertion::Ping { to, expect: Reach::Unreachable } => write!(f, "ping {to} is unreachable"),
            Assertion::Tcp { to, serve, expect } => {
                write!(f, "tcp {to}")?;
                serve.iter().try_for_each(|serve| write!(f, " in {serve}"))?;
                unless_open(f, *expect)
            }
            Assertion::Udp { to, serve, expect } => {
                write!(f, "udp {to}")?;
                serve.iter().try_for_each(|serve| write!(f, " in {serve}"))?;
                unless_open(f, *expect)
            }
            Assertion::Http { url, answer, expect: Connection::Open } => {
                write!(f, "{url} says {}", answer.status)
            }
            Assertion::Http { url, expect, .. } => write!(f, "{url} is {expect}"),
            Assertion::Dns { name, expect: Presence::Absent, .. } => write!(f, "no address of {name}"),
            Assertion::Dns { name, answers, .. } if answers.is_empty() => write!(f, "an address of {name}"),
            Assertion::Dns { name, answers, .. } => write!(f, "{name} is {}", list(answers)),
            Assertion::Route { to, way, expect } => {
                let no = if *expect == Presence::Absent { "no " } else { "" };
                write!(f, "{no}route to {to}{way}")
            }
            Assertion::Path { to, hops, expect: Passage::Taken } => {
                write!(f, "path to {to} by {}", list(hops))
            }
            Assertion::Path { to, hops, expect: Passage::Avoided } => {
                write!(f, "path to {to} avoids {}", list(hops))
            }
            Assertion::Mtu { to, bytes, expect: Fit::Exact } => write!(f, "mtu to {to} is {bytes}"),
            Assertion::Mtu { to, bytes, expect: Fit::Fits } => write!(f, "{bytes} bytes fit to {to}"),
            Assertion::Mtu { to, bytes, expect: Fit::TooBig } => {
                write!(f, "{bytes} bytes to {to} are too big")
            }
            Assertion::Socket { protocol, port, owner, expect } => {
                let no = if *expect == Presence::Absent { "no " } else { "" };
                write!(f, "{no}socket {protocol}/{port}")?;
                owner.iter().try_for_each(|owner| write!(f, " of {owner}"))
            }
            Assertion::Isolated { domains } => write!(f, "isolated: {}", list(domains)),
            Assertion::Handshake { tunnel, peer, expect } => {
                let no = if *expect == Presence::Absent { "no " } else { "" };
                write!(f, "{no}handshake of {tunnel}")?;
                peer.iter().try_for_each(|peer| write!(f, " with {peer}"))
            }
            Assertion::Counter { tunnel, expect: Growth::Grew } => write!(f, "bytes of {tunnel} grew"),
            Assertion::Counter { tunnel, expect: Growth::Still } => {
                write!(f, "bytes of {tunnel} stand still")
            }
            Assertion::Exec { command, .. } => write!(f, "exec {}", command.join(" ")),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.via.iter().try_for_each(|via| write!(f, " via {via}"))?;
        self.dev.iter().try_for_each(|dev| write!(f, " dev {dev}"))?;
        self.rtable.iter().try_for_each(|rtable| write!(f, " in rtable {rtable}"))
    }
}
