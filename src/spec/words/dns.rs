//! How names are looked up in a domain, in the user's words.

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;
use crate::model::{Dns, Resolver};
use crate::spec::fields::{Fields, Shape, each_parsed, entries, parsed, parsed_text};
use crate::spec::node::{Node, Value};
use crate::spec::report::{Placed, Report};
use crate::spec::values::Trouble;

const DNS: Shape = Shape { what: "`dns`", keys: &["servers", "search", "hosts"] };

/// How many servers a C library asks (resolv.conf(5), `MAXNS`).
const MOST_SERVERS: usize = 3;
/// The longest name (RFC 1035, 2.3.4), without the dot at its end.
const LONGEST: usize = 253;

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Dns> {
    if let Value::Text(text) = &node.value {
        let word = Placed::new(text.as_str(), node.place);
        return parsed_text(&word, host, report).map(|_| Dns::Host);
    }
    let errors = report.errors();
    let fields = Fields::of(node, &DNS, report)?;
    let mut resolver = Resolver::default();
    if let Some(node) = fields.value("servers") {
        let servers = each_parsed(node, "addresses", address, report);
        if let Some(one_too_many) = servers.get(MOST_SERVERS) {
            report.push(
                Diagnostic::error(one_too_many.place, "a fourth server is never asked")
                    .label("resolv.conf(5) has room for three")
                    .help("remove it"),
            );
        }
        resolver.servers = servers.into_iter().map(|server| server.value).collect();
    }
    if let Some(node) = fields.value("search") {
        resolver.search = each_parsed(node, "names", name, report).into_iter().map(|n| n.value).collect();
    }
    if let Some(node) = fields.value("hosts") {
        for entry in entries(node, "`hosts`", report).unwrap_or_default() {
            let key = Placed::new(entry.key.value.as_str(), entry.key.place);
            let name = parsed_text(&key, name, report);
            let address = parsed(&entry.value, "an address", address, report);
            resolver.hosts.extend(name.zip(address).map(|(name, address)| (name.value, address.value)));
        }
    }
    if resolver == Resolver::default() && report.errors() == errors {
        report.push(
            Diagnostic::error(node.place, "`dns` says nothing")
                .help("write `dns: {servers: [ADDRESS]}`, or leave it out"),
        );
    }
    Some(Dns::Own(resolver))
}

fn host(text: &str) -> Result<(), Trouble> {
    match text {
        "host" => Ok(()),
        other => Err(Trouble::new(format!("nobody to ask called `{other}`"))
            .help("write `dns: {servers: [ADDRESS]}`; `dns: host` lets the host's daemons answer")),
    }
}

fn address(text: &str) -> Result<IpAddr, Trouble> {
    text.parse().map_err(|_| {
        Trouble::new(format!("`{text}` is not an address"))
            .help("write an address without length or port: `10.0.1.53`, `\"fd00::53\"`")
    })
}

fn name(text: &str) -> Result<String, Trouble> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = text.strip_suffix('.').unwrap_or(text);
    let sound = !name.is_empty()
        && name.len() <= LONGEST
        && name.chars().all(fits)
        && name.split('.').all(|label| !label.is_empty() && label.len() <= 63 && !label.starts_with('-'));
    match sound {
        true => Ok(name.to_owned()),
        false => Err(Trouble::new(format!("`{text}` is not a name that can be looked up"))
            .help("write letters, digits and `-`, with dots between: `db.blue.example`")),
    }
}
