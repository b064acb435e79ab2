//! The file in the user's words: every part read on its own, nothing looked up yet.
//!
//! What refers to something else is still text here; what stands for itself is already a checked type.

mod allow;
mod control;
mod dns;
mod domain;
mod impairment;
mod interface;
mod kinds;
mod route;
mod rtable;
mod rule;
mod service;
mod step;
mod test;
mod wireguard;

use super::fields::{Fields, Shape, entries, items, parsed};
use super::node::{Node, Value};
use super::report::{Placed, Report};
use super::values::{self, Trouble};
use crate::diagnostic::Diagnostic;
use crate::model::{Drift, Engine, Impairment, InterfaceName, Isolation, NetworkName};

pub(super) use control::Control;
pub(super) use domain::{DOMAIN, Domain};
pub use impairment::impairment;
pub(super) use interface::{Interface, Kind};
pub(super) use kinds::Vxlan;
pub(super) use route::{Dropped, Hop, Route};
pub(super) use rule::{RtableWord, Rule};
pub(super) use service::Service;
pub(super) use step::{Act, Action, Step};
pub(super) use test::Test;
pub(super) use wireguard::{Peer, PeerWord, WireGuard};

const FILE: Shape =
    Shape { what: "a network", keys: &["name", "defaults", "control", "domains", "links", "tests", "steps"] };
const DEFAULTS: Shape = Shape { what: "`defaults`", keys: &["isolation", "engine", "drift"] };
const LINK: Shape = Shape { what: "a link", keys: &["ends", "delay", "jitter", "loss", "reorder", "rate"] };
const LINK_END: Shape =
    Shape { what: "an end of a link", keys: &["at", "delay", "jitter", "loss", "reorder", "rate"] };

/// The whole file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) name: Option<NetworkName>,
    /// What runs the tunnels that do not say it themselves.
    pub(super) engine: Option<Engine>,
    /// What keeps the domains apart that do not say it themselves.
    pub(super) isolation: Option<Placed<Isolation>>,
    /// What becomes of differences that nobody asked for.
    pub(super) drift: Option<Drift>,
    /// Who besides root may ask the supervisor for something.
    pub(super) control: Control,
    pub(super) domains: Vec<Domain>,
    pub(super) links: Vec<Link>,
    /// Whether all links could be read.
    pub(super) links_whole: bool,
    pub(super) tests: Vec<Test>,
    pub(super) steps: Vec<Step>,
}

/// Two joined ends.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [LinkEnd; 2],
}

/// One of them.
#[derive(Debug)]
pub(super) struct LinkEnd {
    pub(super) at: Placed<EndWord>,
    /// What becomes of packets that leave by it.
    pub(super) impairment: Impairment,
}

/// `DOMAIN/IF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EndWord {
    pub(super) domain: String,
    pub(super) interface: InterfaceName,
}

impl File {
    /// Reads the whole tree.
    pub(super) fn read(node: &Node, report: &mut Report) -> Self {
        let Some(fields) = Fields::of(node, &FILE, report) else { return Self::default() };
        let list = |key: &str, report: &mut Report| match fields.value(key) {
            Some(node) => items(node, key, report).unwrap_or_default(),
            None => &[],
        };
        let defaults = fields.value("defaults").and_then(|node| Fields::of(node, &DEFAULTS, report));
        let errors = report.errors();
        let links = list("links", report).iter().filter_map(|node| Link::read(node, report)).collect();
        Self {
            links,
            links_whole: report.errors() == errors,
            name: fields.parsed("name", "a name", values::network_name, report).map(|name| name.value),
            engine: defaults
                .and_then(|fields| fields.parsed("engine", "an engine", engine, report))
                .map(|e| e.value),
            isolation: defaults
                .and_then(|fields| fields.parsed("isolation", "an isolation", isolation, report)),
            drift: defaults
                .and_then(|fields| fields.parsed("drift", "what to do", drift, report))
                .map(|drift| drift.value),
            control: fields.value("control").map(|node| Control::read(node, report)).unwrap_or_default(),
            domains: fields.value("domains").map(|node| domains(node, report)).unwrap_or_default(),
            tests: list("tests", report).iter().filter_map(|node| Test::read(node, report)).collect(),
            steps: list("steps", report).iter().filter_map(|node| Step::read(node, report)).collect(),
        }
    }
}

fn isolation(text: &str) -> Result<Isolation, Trouble> {
    match text {
        "auto" => Ok(Isolation::Auto),
        "netns" => Ok(Isolation::Netns),
        "netns+vrf" => Ok(Isolation::NetnsVrf),
        "vrf" => Ok(Isolation::Vrf),
        other => Err(Trouble::new(format!("no isolation `{other}`"))
            .help("write `auto`, `netns+vrf`, `netns` or `vrf`")),
    }
}

fn drift(text: &str) -> Result<Drift, Trouble> {
    match text {
        "repair" => Ok(Drift::Repair),
        "report" => Ok(Drift::Report),
        "off" => Ok(Drift::Off),
        other => {
            Err(Trouble::new(format!("nothing to do called `{other}`"))
                .help("write `repair`, `report` or `off`"))
        }
    }
}

pub(super) fn engine(text: &str) -> Result<Engine, Trouble> {
    match text {
        "auto" => Ok(Engine::Auto),
        "kernel" => Ok(Engine::Kernel),
        "userspace" => Ok(Engine::Userspace),
        other => {
            Err(Trouble::new(format!("no engine `{other}`")).help("write `auto`, `kernel` or `userspace`"))
        }
    }
}

fn domains(node: &Node, report: &mut Report) -> Vec<Domain> {
    let entries = entries(node, "`domains`", report).unwrap_or_default();
    entries.iter().map(|entry| Domain::read(entry, report)).collect()
}

impl Link {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let fields = Fields::of(node, &LINK, report)?;
        let missing = || Diagnostic::error(fields.place, "a link without ends");
        let Some(ends) = fields.value("ends") else {
            report.push(missing().help("write `ends: [DOMAIN/IF, DOMAIN/IF]`"));
            return None;
        };
        let list = items(ends, "ends", report)?;
        let [one, other] = list else {
            let message = format!("a link has two ends, found {}", list.len());
            report.push(
                Diagnostic::error(ends.place, message)
                    .help("write `ends: [DOMAIN/IF, DOMAIN/IF]`; a bridge joins more than two"),
            );
            return None;
        };
        let ends = [one, other].map(|end| LinkEnd::read(end, report));
        let both_ways = impairment::read(fields, report);
        let [Some(one), Some(other)] = ends else { return None };
        let end = |(at, own): (_, Option<_>)| LinkEnd { at, impairment: own.unwrap_or(both_ways) };
        Some(Self { ends: [end(one), end(other)] })
    }
}

impl LinkEnd {
    /// `DOMAIN/IF`, or a mapping that says besides what this end does instead of what the link does both ways.
    fn read(node: &Node, report: &mut Report) -> Option<(Placed<EndWord>, Option<Impairment>)> {
        let Value::Map(_) = &node.value else {
            return Some((parsed(node, "`DOMAIN/IF`", end_word, report)?, None));
        };
        let fields = Fields::of(node, &LINK_END, report)?;
        let Some(at) = fields.value("at") else {
            let missing = Diagnostic::error(fields.place, "an end of a link without its place");
            report.push(missing.help("write `{at: DOMAIN/IF, delay: 20ms}`, or `DOMAIN/IF` alone"));
            return None;
        };
        let at = parsed(at, "`DOMAIN/IF`", end_word, report);
        let own = impairment::KEYS.iter().any(|key| fields.value(key).is_some());
        let impairment = impairment::read(fields, report);
        Some((at?, own.then_some(impairment)))
    }
}

fn end_word(text: &str) -> Result<EndWord, Trouble> {
    let malformed =
        || Trouble::new(format!("`{text}` is not an end of a link")).help("write `DOMAIN/IF`, as `1/eth0`");
    let (domain, interface) =
        text.split_once('/').filter(|(domain, _)| !domain.is_empty()).ok_or_else(malformed)?;
    Ok(EndWord { domain: domain.to_owned(), interface: values::interface_name(interface)? })
}
