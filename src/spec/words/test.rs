//! A test, in the user's words: everything but which domains it names is already what it means.

mod assertions;

pub(super) use assertions::{command, socket_address};

use std::time::Duration;

use crate::diagnostic::{Diagnostic, Place};
use crate::spec::fields::{Fields, Shape, listed};
use crate::spec::node::{Entry, Node};
use crate::spec::report::{Placed, Report};
use crate::spec::test::Assertion;
use crate::spec::values;

/// What reads an assertion: its own value, and the options beside it.
type Reader = fn(&Node, Fields<'_>, &mut Report) -> Option<Assertion<Placed<String>>>;

/// One kind of assertion: its key, the options that it has, and what reads it.
struct Kind {
    key: &'static str,
    options: &'static [&'static str],
    read: Reader,
}

const KINDS: [Kind; 13] = [
    Kind { key: "ping", options: &["expect"], read: assertions::ping },
    Kind { key: "tcp", options: &["expect", "serve"], read: assertions::tcp },
    Kind { key: "udp", options: &["expect", "serve"], read: assertions::udp },
    Kind { key: "http", options: &["expect", "status", "body"], read: assertions::http },
    Kind { key: "dns", options: &["expect", "answers"], read: assertions::dns },
    Kind { key: "route", options: &["expect", "via", "dev", "rtable"], read: assertions::route },
    Kind { key: "path", options: &["expect", "hops"], read: assertions::path },
    Kind { key: "mtu", options: &["expect", "bytes"], read: assertions::mtu },
    Kind { key: "socket", options: &["expect", "owner"], read: assertions::socket },
    Kind { key: "isolated", options: &[], read: assertions::isolated },
    Kind { key: "handshake", options: &["expect", "peer"], read: assertions::handshake },
    Kind { key: "counter", options: &["expect"], read: assertions::counter },
    Kind { key: "exec", options: &["status", "stdout"], read: assertions::exec },
];

const TEST: Shape = Shape {
    what: "a test",
    keys: &[
        "in",
        "name",
        "within",
        "ping",
        "tcp",
        "udp",
        "http",
        "dns",
        "route",
        "path",
        "mtu",
        "socket",
        "isolated",
        "handshake",
        "counter",
        "exec",
        "expect",
        "serve",
        "status",
        "body",
        "answers",
        "via",
        "dev",
        "rtable",
        "hops",
        "bytes",
        "owner",
        "peer",
        "stdout",
    ],
};

/// One item of `tests`, or of `steps` that asserts something.
#[derive(Debug)]
pub(in crate::spec) struct Test {
    pub(in crate::spec) inside: Option<Placed<String>>,
    pub(in crate::spec) name: Option<String>,
    pub(in crate::spec) assertion: Assertion<Placed<String>>,
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
        let name = fields.parsed("name", "a name", values::any_text, report);
        let within = fields.parsed("within", "a time", values::duration, report);
        let assertion = assertion(fields, report);
        let inside = inside(fields, report);
        Some(Self {
            inside: inside?,
            name: name.map(|name| name.value),
            assertion: assertion?,
            within: within.map(|within| within.value),
            place: fields.place,
        })
    }
}

/// The domain that it is made from: none is named by those that are about several alike, and by no others.
fn inside(fields: Fields<'_>, report: &mut Report) -> Option<Option<Placed<String>>> {
    match (fields.entry("in"), fields.entry("isolated")) {
        (None, Some(_)) => Some(None),
        (Some(inside), Some(_)) => {
            let stranger = Diagnostic::error(inside.key.place, "`isolated` has no `in`");
            report.push(stranger.help("name all of the domains in its list"));
            None
        }
        (None, None) => {
            let missing = Diagnostic::error(fields.place, "a test without a domain");
            report.push(missing.help("write `in: DOMAIN`; the default domain is `in: 0`"));
            None
        }
        (Some(_), None) => fields.parsed("in", "a domain", values::any_text, report).map(Some),
    }
}

fn assertion(fields: Fields<'_>, report: &mut Report) -> Option<Assertion<Placed<String>>> {
    let said: Vec<(&Kind, &Entry)> =
        KINDS.iter().filter_map(|kind| Some((kind, fields.entry(kind.key)?))).collect();
    let [(kind, entry)] = said[..] else {
        report.push(not_one(&said, fields.place));
        return None;
    };
    refuse_strangers(kind, fields, report);
    (kind.read)(&entry.value, fields, report)
}

fn not_one(said: &[(&Kind, &Entry)], place: Place) -> Diagnostic {
    let keys = KINDS.map(|kind| kind.key);
    match said {
        [(_, first), (_, second), ..] => {
            Diagnostic::error(second.key.place, "a test that asserts two things")
                .related(first.key.place, "one thing")
                .help("make two tests of it")
        }
        _ => Diagnostic::error(place, "a test that asserts nothing")
            .help(format!("write one of {}", listed(&keys))),
    }
}

/// Options of other kinds.
fn refuse_strangers(kind: &Kind, fields: Fields<'_>, report: &mut Report) {
    let of_any = KINDS.iter().flat_map(|kind| kind.options.iter());
    let mut seen = Vec::new();
    for option in of_any.filter(|option| !kind.options.contains(option)) {
        let Some(stranger) = fields.entry(option).filter(|_| !seen.contains(&option)) else { continue };
        seen.push(option);
        let message = format!("`{}` has no `{option}`", kind.key);
        let help = match kind.options {
            [] => "leave it out".to_owned(),
            options => format!("it has {}", listed(options)),
        };
        report.push(Diagnostic::error(stranger.key.place, message).help(help));
    }
}
