//! Each kind of assertion with its options.

use std::net::{IpAddr, SocketAddr};

use crate::diagnostic::Diagnostic;
use crate::model::RtableId;
use crate::spec::fields::{Fields, each_parsed, listed, nearest, parsed};
use crate::spec::node::Node;
use crate::spec::report::{Placed, Report};
use crate::spec::test::{
    Assertion, Connection, Fit, Growth, HttpAnswer, Passage, Presence, Protocol, Reach, Url, Way,
};
use crate::spec::values::{self, Trouble};

type Read = Option<Assertion<Placed<String>>>;

const CONNECTIONS: [(&str, Connection); 3] =
    [("open", Connection::Open), ("refused", Connection::Refused), ("unreachable", Connection::Unreachable)];

pub(super) fn ping(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("reachable", Reach::Reachable), ("unreachable", Reach::Unreachable)];
    let expect = expect(fields, &words, report);
    let to = host(node, report)?;
    Some(Assertion::Ping { to, expect: expect? })
}

pub(super) fn tcp(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let (expect, serve) = (expect(fields, &CONNECTIONS, report), serve(fields, report));
    let to = parsed(node, "`ADDRESS:PORT`", destination, report)?.value;
    Some(Assertion::Tcp { to, serve, expect: expect? })
}

pub(super) fn udp(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let (expect, serve) = (expect(fields, &CONNECTIONS, report), serve(fields, report));
    let to = parsed(node, "`ADDRESS:PORT`", destination, report)?.value;
    Some(Assertion::Udp { to, serve, expect: expect? })
}

fn serve(fields: Fields<'_>, report: &mut Report) -> Option<Placed<String>> {
    fields.parsed("serve", "a domain", values::any_text, report)
}

pub(super) fn http(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let expect = expect(fields, &CONNECTIONS, report);
    let status = |text: &str| values::number(text, "a status of HTTP", 100, 599);
    let status = fields.parsed("status", "a status of HTTP", status, report);
    let body = fields.parsed("body", "text", values::any_text, report);
    let url = parsed(node, "`http://ADDRESS[:PORT]/PATH`", url, report)?.value;
    let answer =
        HttpAnswer { status: status.map_or(200, |status| status.value), body: body.map(|body| body.value) };
    Some(Assertion::Http { url, answer, expect: expect? })
}

fn url(text: &str) -> Result<Url, Trouble> {
    let trouble = || {
        Trouble::new(format!("`{text}` is not a URL that can be asked for here"))
            .help("write `http://ADDRESS[:PORT]/PATH`, as `http://192.168.5.2/` or `http://[fd00::2]:8080/`")
    };
    let rest = text.strip_prefix("http://").ok_or_else(trouble)?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let without_port =
        || host.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|to| SocketAddr::new(to, 80));
    let to = of_a_host(host.parse().ok().or_else(without_port).ok_or_else(trouble)?)?;
    let sound = path.chars().all(|c| c.is_ascii_graphic());
    let path = if path.is_empty() { "/" } else { path };
    if sound { Ok(Url { to, path: path.to_owned() }) } else { Err(trouble()) }
}

pub(super) fn dns(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("found", Presence::Present), ("absent", Presence::Absent)];
    let expect = expect(fields, &words, report);
    let answers = fields.value("answers").map(|node| each_parsed(node, "addresses", values::ip, report));
    let name = parsed(node, "a name", name, report)?.value;
    let answers = answers.unwrap_or_default().into_iter().map(|answer| answer.value).collect();
    Some(Assertion::Dns { name, answers, expect: expect? })
}

fn name(text: &str) -> Result<String, Trouble> {
    let trouble = || Trouble::new(format!("`{text}` is not a name that can be looked up"));
    match text.parse::<IpAddr>() {
        Ok(_) => Err(trouble().help("an address needs no looking up; `ping` asks for it")),
        Err(_) if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) => Err(trouble()),
        Err(_) => Ok(text.to_owned()),
    }
}

pub(super) fn route(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("present", Presence::Present), ("absent", Presence::Absent)];
    let expect = expect(fields, &words, report);
    let via = fields.parsed("via", "an address", values::ip, report);
    let dev = fields.parsed("dev", "an interface", values::any_interface_name, report);
    let rtable = fields.parsed("rtable", "an rtable", rtable, report);
    let to = address(node, report)?;
    let way = Way {
        rtable: rtable.map(|rtable| rtable.value),
        via: via.map(|via| via.value),
        dev: dev.map(|dev| dev.value),
    };
    Some(Assertion::Route { to, way, expect: expect? })
}

fn rtable(text: &str) -> Result<RtableId, Trouble> {
    text.parse().map_err(|error| Trouble::new(format!("`{text}` is not the number of an rtable: {error}")))
}

pub(super) fn path(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("taken", Passage::Taken), ("avoided", Passage::Avoided)];
    let expect = expect(fields, &words, report);
    let to = host(node, report);
    let hops = fields.value("hops").map(|node| each_parsed(node, "domains", values::any_text, report));
    let Some(hops) = hops.filter(|hops| !hops.is_empty()) else {
        let missing = Diagnostic::error(node.place, "a path without its hops");
        report.push(missing.help("write `hops: [DOMAIN, DOMAIN]`, the last one is where it ends"));
        return None;
    };
    Some(Assertion::Path { to: to?, hops, expect: expect? })
}

pub(super) fn mtu(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("exact", Fit::Exact), ("fits", Fit::Fits), ("too-big", Fit::TooBig)];
    let expect = expect(fields, &words, report);
    let to = host(node, report)?;
    let Some(_) = fields.value("bytes") else {
        let missing = Diagnostic::error(node.place, "a path's mtu without a number");
        report.push(missing.help("write `bytes: 1420`, the header of IP included"));
        return None;
    };
    let (what, least) = if to.is_ipv4() { ("an MTU of IPv4", 68) } else { ("an MTU of IPv6", 1280) };
    let bytes = fields.parsed("bytes", "bytes", |text| values::number(text, what, least, u16::MAX), report);
    Some(Assertion::Mtu { to, bytes: bytes?.value, expect: expect? })
}

pub(super) fn socket(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("present", Presence::Present), ("absent", Presence::Absent)];
    let expect = expect(fields, &words, report);
    let owner = fields.parsed("owner", "a program", values::any_text, report).map(|owner| owner.value);
    let (protocol, port) = parsed(node, "`udp/PORT` or `tcp/PORT`", protocol_and_port, report)?.value;
    Some(Assertion::Socket { protocol, port, owner, expect: expect? })
}

pub(super) fn isolated(node: &Node, _: Fields<'_>, report: &mut Report) -> Read {
    let errors = report.errors();
    let domains = each_parsed(node, "domains", values::any_text, report);
    if domains.len() < 2 && report.errors() == errors {
        report.push(Diagnostic::error(node.place, "one domain alone is isolated").help("name two or more"));
    }
    (report.errors() == errors).then_some(Assertion::Isolated { domains })
}

pub(super) fn handshake(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("done", Presence::Present), ("absent", Presence::Absent)];
    let expect = expect(fields, &words, report);
    let peer = fields.parsed("peer", "a peer", values::any_text, report).map(|peer| peer.value);
    let tunnel = parsed(node, "a tunnel", values::interface_name, report)?.value;
    Some(Assertion::Handshake { tunnel, peer, expect: expect? })
}

pub(super) fn counter(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let words = [("grew", Growth::Grew), ("still", Growth::Still)];
    let expect = expect(fields, &words, report);
    let tunnel = parsed(node, "a tunnel", values::interface_name, report)?.value;
    Some(Assertion::Counter { tunnel, expect: expect? })
}

pub(super) fn exec(node: &Node, fields: Fields<'_>, report: &mut Report) -> Read {
    let status = |text: &str| values::number(text, "an exit status", 0, u8::MAX);
    let status = fields.parsed("status", "an exit status", status, report);
    let stdout = fields.parsed("stdout", "text", values::any_text, report);
    Some(Assertion::Exec {
        command: command(node, report)?,
        status: status.map_or(0, |status| status.value),
        stdout: stdout.map(|stdout| stdout.value),
    })
}

/// A program and its arguments.
pub(in crate::spec::words) fn command(node: &Node, report: &mut Report) -> Option<Vec<String>> {
    let errors = report.errors();
    let command = each_parsed(node, "a command and its arguments", values::any_text, report);
    if command.is_empty() && report.errors() == errors {
        report.push(Diagnostic::error(node.place, "a command with nothing in it"));
    }
    (report.errors() == errors).then(|| command.into_iter().map(|word| word.value).collect())
}

fn address(node: &Node, report: &mut Report) -> Option<IpAddr> {
    parsed(node, "an address", values::ip, report).map(|address| address.value)
}

/// The address of somebody who can be asked.
fn host(node: &Node, report: &mut Report) -> Option<IpAddr> {
    let one = |text: &str| of_a_host(SocketAddr::new(values::ip(text)?, 0)).map(|to| to.ip());
    parsed(node, "an address", one, report).map(|address| address.value)
}

fn destination(text: &str) -> Result<SocketAddr, Trouble> {
    of_a_host(socket_address(text)?)
}

/// Nobody has any other: what is sent there never arrives, whatever the network is.
fn of_a_host(to: SocketAddr) -> Result<SocketAddr, Trouble> {
    let address = to.ip();
    let is_bare = matches!(to, SocketAddr::V6(to) if to.ip().is_unicast_link_local() && to.scope_id() == 0);
    let is_everybody = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    match address.is_multicast() || address.is_unspecified() || is_everybody {
        true => Err(Trouble::new(format!("`{address}` is not the address of one host"))),
        false if is_bare => Err(Trouble::new(format!("`{address}` means something on its link only"))
            .help("ask for another address of that host")),
        false => Ok(to),
    }
}

/// An address with a port.
pub(in crate::spec::words) fn socket_address(text: &str) -> Result<SocketAddr, Trouble> {
    let parsed = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    let trouble = || Trouble::new(format!("`{text}` is not an address with a port"));
    parsed.ok_or_else(|| trouble().help("write `192.168.5.2:80` or `[fd00::2]:80`"))
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
