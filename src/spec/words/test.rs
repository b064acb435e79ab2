//! A test, in the user's words: everything but which domain it runs in is already what it means.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Place};
use crate::spec::fields::{Fields, Shape, each_parsed, listed, nearest, parsed};
use crate::spec::node::{Entry, Node};
use crate::spec::report::{Placed, Report};
use crate::spec::test::{Assertion, Connection, Presence, Protocol, Reach};
use crate::spec::values::{self, Trouble};

const ASSERTIONS: [&str; 4] = ["ping", "tcp", "socket", "exec"];
const TEST: Shape = Shape {
    what: "a test",
    keys: &["in", "name", "ping", "tcp", "socket", "exec", "expect", "status", "stdout", "within"],
    later: &[],
};

/// One item of `tests`.
#[derive(Debug)]
pub(in crate::spec) struct Test {
    pub(in crate::spec) inside: Placed<String>,
    pub(in crate::spec) name: Option<String>,
    pub(in crate::spec) assertion: Assertion,
    pub(in crate::spec) within: Option<Duration>,
    pub(in crate::spec) place: Place,
}

impl Test {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let errors = report.errors();
        let fields = Fields::of(node, &TEST, report)?;
        if report.errors() != errors {
            return None;
        }
        let inside = inside(fields, report);
        let name = fields.parsed("name", "a name", values::any_text, report);
        let within = fields.parsed("within", "a time", values::duration, report);
        let assertion = assertion(fields, report);
        Some(Self {
            inside: inside?,
            name: name.map(|name| name.value),
            assertion: assertion?,
            within: within.map(|within| within.value),
            place: fields.place,
        })
    }
}

fn inside(fields: Fields<'_>, report: &mut Report) -> Option<Placed<String>> {
    if fields.value("in").is_none() {
        let missing = Diagnostic::error(fields.place, "a test without a domain");
        report.push(missing.help("write `in: DOMAIN`; the default domain is `in: 0`"));
    }
    fields.parsed("in", "a domain", values::any_text, report)
}

fn assertion(fields: Fields<'_>, report: &mut Report) -> Option<Assertion> {
    let said: Vec<&Entry> = ASSERTIONS.iter().filter_map(|key| fields.entry(key)).collect();
    let [entry] = said[..] else {
        report.push(not_one(&said, fields.place));
        return None;
    };
    refuse_strangers(entry, fields, report);
    match entry.key.value.as_str() {
        "ping" => ping(&entry.value, fields, report),
        "tcp" => tcp(&entry.value, fields, report),
        "socket" => socket(&entry.value, fields, report),
        _ => exec(&entry.value, fields, report),
    }
}

fn not_one(said: &[&Entry], place: Place) -> Diagnostic {
    let help = format!("write one of {}", listed(&ASSERTIONS));
    match said {
        [first, second, ..] => Diagnostic::error(second.key.place, "a test that asserts two things")
            .related(first.key.place, "one thing")
            .help("make two tests of it"),
        _ => Diagnostic::error(place, "a test that asserts nothing").help(help),
    }
}

/// `status` and `stdout` belong to `exec`, `expect` to all others.
fn refuse_strangers(assertion: &Entry, fields: Fields<'_>, report: &mut Report) {
    let strangers: &[&str] = if assertion.key.value == "exec" { &["expect"] } else { &["status", "stdout"] };
    for stranger in strangers.iter().filter_map(|key| fields.entry(key)) {
        let message = format!("`{}` has no `{}`", assertion.key.value, stranger.key.value);
        let help =
            if assertion.key.value == "exec" { "write `status` or `stdout`" } else { "write `expect`" };
        report.push(Diagnostic::error(stranger.key.place, message).help(help));
    }
}

fn ping(node: &Node, fields: Fields<'_>, report: &mut Report) -> Option<Assertion> {
    let words = [("reachable", Reach::Reachable), ("unreachable", Reach::Unreachable)];
    let expect = expect(fields, &words, report);
    let to: Placed<IpAddr> = parsed(node, "an address", values::ip, report)?;
    Some(Assertion::Ping { to: to.value, expect: expect? })
}

fn tcp(node: &Node, fields: Fields<'_>, report: &mut Report) -> Option<Assertion> {
    let words = [
        ("open", Connection::Open),
        ("refused", Connection::Refused),
        ("unreachable", Connection::Unreachable),
    ];
    let expect = expect(fields, &words, report);
    let to = parsed(node, "`ADDRESS:PORT`", socket_address, report)?;
    Some(Assertion::Tcp { to: to.value, expect: expect? })
}

fn socket_address(text: &str) -> Result<SocketAddr, Trouble> {
    let parsed = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    let trouble = || Trouble::new(format!("`{text}` is not an address with a port"));
    parsed.ok_or_else(|| trouble().help("write `192.168.5.2:80` or `[fd00::2]:80`"))
}

fn socket(node: &Node, fields: Fields<'_>, report: &mut Report) -> Option<Assertion> {
    let words = [("present", Presence::Present), ("absent", Presence::Absent)];
    let expect = expect(fields, &words, report);
    let (protocol, port) = parsed(node, "`udp/PORT` or `tcp/PORT`", protocol_and_port, report)?.value;
    Some(Assertion::Socket { protocol, port, expect: expect? })
}

fn protocol_and_port(text: &str) -> Result<(Protocol, u16), Trouble> {
    let (protocol, port) = text.split_once('/').unwrap_or((text, ""));
    let protocol = match protocol {
        "udp" => Protocol::Udp,
        "tcp" => Protocol::Tcp,
        _ => {
            let trouble = Trouble::new(format!("`{text}` is not a protocol with a port"));
            return Err(trouble.help("write `udp/PORT` or `tcp/PORT`"));
        }
    };
    Ok((protocol, values::port(port)?))
}

fn exec(node: &Node, fields: Fields<'_>, report: &mut Report) -> Option<Assertion> {
    let status = fields.parsed("status", "an exit status", exit_status, report);
    let stdout = fields.parsed("stdout", "text", values::any_text, report);
    let errors = report.errors();
    let command = each_parsed(node, "a command and its arguments", values::any_text, report);
    if command.is_empty() && report.errors() == errors {
        report.push(Diagnostic::error(node.place, "a command with nothing in it"));
    }
    (report.errors() == errors).then(|| Assertion::Exec {
        command: command.into_iter().map(|word| word.value).collect(),
        status: status.map_or(0, |status| status.value),
        stdout: stdout.map(|stdout| stdout.value),
    })
}

fn exit_status(text: &str) -> Result<u8, Trouble> {
    values::number(text, "an exit status", 0, u8::MAX)
}

/// What is expected: the first of these words, unless the file says another.
fn expect<T: Copy>(fields: Fields<'_>, words: &[(&str, T)], report: &mut Report) -> Option<T> {
    if fields.value("expect").is_none() {
        return words.first().map(|&(_, value)| value);
    }
    let known: Vec<&str> = words.iter().map(|&(word, _)| word).collect();
    let meaning = |text: &str| {
        let found = words.iter().find(|&&(word, _)| word == text).map(|&(_, value)| value);
        let trouble = || Trouble::new(format!("`{text}` cannot be expected here"));
        found.ok_or_else(|| match nearest(text, known.iter().copied()) {
            Some(near) => trouble().help(format!("write `{near}`")),
            None => trouble().help(format!("write one of {}", listed(&known))),
        })
    };
    fields.parsed("expect", "what to expect", meaning, report).map(|value| value.value)
}
