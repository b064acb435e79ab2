//! The services of a domain, in the user's words.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::test::command;
use crate::diagnostic::Diagnostic;
use crate::model::{Ready, Restart, ServiceName, Sign};
use crate::spec::fields::{Fields, Shape, each_parsed, entries, listed, parsed, parsed_text};
use crate::spec::node::{Entry, Node, Value};
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

const SERVICE: Shape = Shape {
    what: "a service",
    keys: &["command", "env", "user", "directory", "ready", "depends_on", "restart"],
};
const SIGNS: [&str; 4] = ["tcp", "udp", "exec", "log"];
const READY: Shape = Shape { what: "`ready`", keys: &["tcp", "udp", "exec", "log", "within"] };

/// How long a service may take to be ready where the file does not say.
const USUAL_WITHIN: Duration = Duration::from_secs(10);

/// One entry of `services`.
#[derive(Debug)]
pub(in crate::spec) struct Service {
    pub(in crate::spec) name: Placed<ServiceName>,
    pub(in crate::spec) command: Vec<String>,
    pub(in crate::spec) env: BTreeMap<String, String>,
    pub(in crate::spec) user: Option<String>,
    pub(in crate::spec) directory: Option<PathBuf>,
    pub(in crate::spec) ready: Option<Ready>,
    pub(in crate::spec) depends_on: Vec<Placed<ServiceName>>,
    pub(in crate::spec) restart: Restart,
}

/// The services that can be read.
pub(super) fn read(node: &Node, report: &mut Report) -> Vec<Service> {
    let entries = entries(node, "`services`", report).unwrap_or_default();
    entries.iter().filter_map(|entry| service(entry, report)).collect()
}

fn service(entry: &Entry, report: &mut Report) -> Option<Service> {
    let key = Placed::new(entry.key.value.as_str(), entry.key.place);
    let name = parsed_text(&key, values::service_name, report);
    let errors = report.errors();
    let fields = Fields::of(&entry.value, &SERVICE, report)?;
    let command = match fields.value("command") {
        Some(node) => words(node, report),
        None if report.errors() != errors => None,
        None => {
            let missing = Diagnostic::error(key.place, format!("service `{}` has no command", key.value));
            report.push(missing.help("write `command: [PROGRAM, ARGUMENT]`, or a line for sh(1)"));
            None
        }
    };
    let text = |key: &str, expected: &str, report: &mut Report| {
        fields.parsed(key, expected, something, report).map(|text| text.value)
    };
    Some(Service {
        user: text("user", "a user", report),
        directory: text("directory", "a directory", report).map(PathBuf::from),
        env: fields.value("env").map(|node| environment(node, report)).unwrap_or_default(),
        ready: fields.value("ready").and_then(|node| ready(node, report)),
        depends_on: match fields.value("depends_on") {
            Some(node) => each_parsed(node, "services", values::service_name, report),
            None => Vec::new(),
        },
        restart: fields.parsed("restart", "what to do", restart, report).map_or(Restart::No, |it| it.value),
        name: name?,
        command: command?,
    })
}

/// A list is a program and its arguments, a text a line for sh(1).
fn words(node: &Node, report: &mut Report) -> Option<Vec<String>> {
    let Value::Text(_) = &node.value else { return command(node, report) };
    let line = parsed(node, "a command", something, report)?.value;
    Some(["sh".to_owned(), "-c".to_owned(), line].into())
}

fn something(text: &str) -> Result<String, Trouble> {
    match text.trim().is_empty() {
        true => Err(Trouble::new("nothing is said here")),
        false => Ok(text.to_owned()),
    }
}

fn environment(node: &Node, report: &mut Report) -> BTreeMap<String, String> {
    let read = |entry: &Entry, report: &mut Report| {
        let key = Placed::new(entry.key.value.as_str(), entry.key.place);
        let name = parsed_text(&key, variable, report);
        let value = parsed(&entry.value, "a value", values::any_text, report);
        Some((name?.value, value?.value))
    };
    let entries = entries(node, "`env`", report).unwrap_or_default();
    entries.iter().filter_map(|entry| read(entry, report)).collect()
}

fn variable(text: &str) -> Result<String, Trouble> {
    match text.is_empty() || text.contains(['=', '\0']) {
        true => Err(Trouble::new(format!("`{text}` is not the name of a variable"))
            .help("write `env: {NAME: value}`")),
        false => Ok(text.to_owned()),
    }
}

fn ready(node: &Node, report: &mut Report) -> Option<Ready> {
    let fields = Fields::of(node, &READY, report)?;
    let within = fields.parsed("within", "a time", values::duration, report);
    let said: Vec<&Entry> = SIGNS.iter().filter_map(|key| fields.entry(key)).collect();
    let [entry] = said[..] else {
        let message = match said.get(1) {
            Some(_) => "`ready` names two signs",
            None => "`ready` names no sign",
        };
        let place = said.get(1).map_or(node.place, |second| second.key.place);
        report.push(Diagnostic::error(place, message).help(format!("write one of {}", listed(&SIGNS))));
        return None;
    };
    let (key, node) = (entry.key.value.as_str(), &entry.value);
    let port = |report: &mut Report| parsed(node, "a port", values::port, report).map(|port| port.value);
    let sign = match key {
        "tcp" => Sign::Tcp(port(report)?),
        "udp" => Sign::Udp(port(report)?),
        "exec" => Sign::Exec(words(node, report)?),
        _ => Sign::Log(parsed(node, "text", something, report)?.value),
    };
    Some(Ready { sign, within: within.map_or(USUAL_WITHIN, |within| within.value) })
}

fn restart(text: &str) -> Result<Restart, Trouble> {
    match text {
        "no" => Ok(Restart::No),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        other => Err(Trouble::new(format!("no way to restart called `{other}`"))
            .help("write `no`, `on-failure` or `always`")),
    }
}
