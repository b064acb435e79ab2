//! An item of `steps`: something that is done to the network, or a test after that.

use std::net::SocketAddr;
use std::time::Duration;

use super::test::{Test, socket_address};
use super::{EndWord, end_word, impairment};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Impairment, ServiceName};
use crate::spec::fields::{Fields, Shape, listed, parsed};
use crate::spec::node::{Entry, Node, Value};
use crate::spec::report::{Placed, Report};
use crate::spec::values;

/// The keys by which an item is one that does something.
const ACTIONS: [&str; 8] = ["cut", "restore", "move", "set", "kill", "start", "apply", "wait"];
/// The keys beside that of an action, and whose they are.
const FURTHER: [(&str, &str); 8] = [
    ("peer", "move"),
    ("endpoint", "move"),
    ("delay", "set"),
    ("jitter", "set"),
    ("loss", "set"),
    ("reorder", "set"),
    ("rate", "set"),
    ("one_way", "set"),
];
const STEP: Shape = Shape {
    what: "a step",
    keys: &[
        "cut", "restore", "move", "peer", "endpoint", "set", "delay", "jitter", "loss", "reorder", "rate",
        "one_way", "kill", "start", "apply", "wait",
    ],
};

/// One item of `steps`.
#[derive(Debug)]
pub(in crate::spec) enum Step {
    Test(Test),
    Act(Act),
}

/// Something that is done.
#[derive(Debug)]
pub(in crate::spec) struct Act {
    pub(in crate::spec) action: Action,
    pub(in crate::spec) place: Place,
}

/// What is done.
#[derive(Debug)]
pub(in crate::spec) enum Action {
    Cut(Placed<EndWord>),
    Restore(Placed<EndWord>),
    Move { tunnel: Placed<EndWord>, peer: Placed<String>, endpoint: SocketAddr },
    Set { link: Placed<EndWord>, impairment: Impairment, one_way: bool },
    Kill(Placed<ServiceName>),
    Start(Placed<ServiceName>),
    Apply(Placed<String>),
    Wait(Duration),
}

impl Step {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        if !is_act(node) {
            return Test::read(node, report).map(Step::Test);
        }
        let errors = report.errors();
        let fields = Fields::of(node, &STEP, report)?;
        let action = if report.errors() == errors { action(fields, report)? } else { return None };
        Some(Step::Act(Act { action, place: fields.place }))
    }
}

fn is_act(node: &Node) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    entries.iter().any(|entry| ACTIONS.contains(&entry.key.value.as_str()))
}

fn action(fields: Fields<'_>, report: &mut Report) -> Option<Action> {
    let said: Vec<&Entry> = ACTIONS.iter().filter_map(|key| fields.entry(key)).collect();
    let [entry] = said[..] else {
        let place = said.get(1).map_or(fields.place, |second| second.key.place);
        let two = Diagnostic::error(place, "a step that does two things");
        report.push(two.help(format!("make two of it; {} are steps", listed(&ACTIONS))));
        return None;
    };
    let (key, node) = (entry.key.value.as_str(), &entry.value);
    let strangers = FURTHER.iter().filter(|(_, whose)| *whose != key);
    for stranger in strangers.filter_map(|(further, _)| fields.entry(further)) {
        let message = format!("`{key}` has no `{}`", stranger.key.value);
        report.push(Diagnostic::error(stranger.key.place, message).help("leave it out"));
    }
    match key {
        "move" => moved(node, fields, report),
        "set" => set(node, fields, report),
        "kill" => parsed(node, "a service", values::service_name, report).map(Action::Kill),
        "start" => parsed(node, "a service", values::service_name, report).map(Action::Start),
        "apply" => parsed(node, "a file", values::any_text, report).map(Action::Apply),
        "wait" => parsed(node, "a time", values::duration, report).map(|time| Action::Wait(time.value)),
        "cut" => parsed(node, "`DOMAIN/IF`", end_word, report).map(Action::Cut),
        _ => parsed(node, "`DOMAIN/IF`", end_word, report).map(Action::Restore),
    }
}

fn set(node: &Node, fields: Fields<'_>, report: &mut Report) -> Option<Action> {
    let link = parsed(node, "`DOMAIN/IF`", end_word, report);
    if impairment::KEYS.iter().all(|key| fields.value(key).is_none()) {
        let nothing = Diagnostic::error(fields.place, "a set without anything that the link shall do");
        report.push(
            nothing.help("write `loss: 5%`, `delay`, `jitter`, `reorder` or `rate`; `loss: 0%` for nothing"),
        );
    }
    let impairment = impairment::read(fields, report);
    let one_way = fields.parsed("one_way", "`true` or `false`", values::truth, report);
    Some(Action::Set { link: link?, impairment, one_way: one_way.is_some_and(|one_way| one_way.value) })
}

fn moved(node: &Node, fields: Fields<'_>, report: &mut Report) -> Option<Action> {
    let tunnel = parsed(node, "`DOMAIN/IF`", end_word, report);
    for (key, help) in [
        ("peer", "write `peer: DOMAIN/IF`, as `peers` calls it"),
        ("endpoint", "write `endpoint: ADDRESS:PORT`"),
    ] {
        if fields.value(key).is_none() {
            report.push(Diagnostic::error(fields.place, format!("a move without {key}")).help(help));
        }
    }
    let peer = fields.parsed("peer", "a peer", values::any_text, report);
    let endpoint = fields.parsed("endpoint", "`ADDRESS:PORT`", socket_address, report);
    Some(Action::Move { tunnel: tunnel?, peer: peer?, endpoint: endpoint?.value })
}
