//! A route, in the user's words.

use std::net::IpAddr;

use crate::diagnostic::{Diagnostic, Place};
use crate::model::{InterfaceName, Prefix};
use crate::spec::fields::{Fields, Shape, items, parsed};
use crate::spec::node::{Entry, Node};
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

const ROUTE: Shape =
    Shape { what: "a route", keys: &["to", "via", "dev", "metric", "src", "onlink", "type", "nexthops"] };
const HOP: Shape = Shape { what: "a nexthop", keys: &["via", "dev", "weight"] };

/// One item of `routes`.
#[derive(Debug)]
pub(in crate::spec) struct Route {
    pub(in crate::spec) to: Placed<Prefix>,
    pub(in crate::spec) metric: Option<u32>,
    /// What becomes of its packets instead of their leaving; then there is no gateway, interface or source.
    pub(in crate::spec) dropped: Option<Dropped>,
    pub(in crate::spec) via: Option<Placed<IpAddr>>,
    pub(in crate::spec) dev: Option<Placed<InterfaceName>>,
    pub(in crate::spec) src: Option<Placed<IpAddr>>,
    pub(in crate::spec) onlink: bool,
    /// The ways that it leaves by, each flow by its own; then it has no gateway and interface itself.
    pub(in crate::spec) hops: Vec<Hop>,
}

/// One item of `nexthops`.
#[derive(Debug)]
pub(in crate::spec) struct Hop {
    pub(in crate::spec) via: Option<Placed<IpAddr>>,
    pub(in crate::spec) dev: Option<Placed<InterfaceName>>,
    pub(in crate::spec) weight: u16,
    pub(in crate::spec) place: Place,
}

/// A route's `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spec) enum Dropped {
    Blackhole,
    Unreachable,
    Prohibit,
}

impl Route {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Placed<Self>> {
        let errors = report.errors();
        let fields = Fields::of(node, &ROUTE, report)?;
        let via = fields.parsed("via", "an address", values::ip, report);
        let hops = fields.value("nexthops").map(|node| hops(node, report)).unwrap_or_default();
        let first_via = via.as_ref().or_else(|| hops.first()?.via.as_ref());
        let route = Self {
            to: to(fields, first_via, report)?,
            metric: fields.parsed("metric", "a number", metric, report).map(|metric| metric.value),
            dropped: fields.parsed("type", "a type", dropped, report).map(|dropped| dropped.value),
            via,
            dev: fields.parsed("dev", "an interface", values::any_interface_name, report),
            src: fields.parsed("src", "an address", values::ip, report),
            onlink: fields
                .parsed("onlink", "`true` or `false`", values::truth, report)
                .is_some_and(|t| t.value),
            hops,
        };
        if report.errors() == errors {
            check_target(&route, fields, report);
            check_families(&route, report);
        }
        (report.errors() == errors).then(|| Placed::new(route, fields.place))
    }
}

fn to(fields: Fields<'_>, via: Option<&Placed<IpAddr>>, report: &mut Report) -> Option<Placed<Prefix>> {
    let Some(node) = fields.value("to") else {
        let missing = Diagnostic::error(fields.place, "a route without a destination");
        report.push(missing.help("write `to: PREFIX`, or `to: default`"));
        return None;
    };
    let everything = if via.is_some_and(|via| via.value.is_ipv6()) { "::/0" } else { "0.0.0.0/0" };
    let destination = |text: &str| values::prefix(if text == "default" { everything } else { text });
    parsed(node, "a prefix or `default`", destination, report)
}

fn metric(text: &str) -> Result<u32, Trouble> {
    values::number(text, "a metric", 0, u32::MAX)
}

fn dropped(text: &str) -> Result<Dropped, Trouble> {
    match text {
        "blackhole" => Ok(Dropped::Blackhole),
        "unreachable" => Ok(Dropped::Unreachable),
        "prohibit" => Ok(Dropped::Prohibit),
        other => Err(Trouble::new(format!("no route type `{other}`")).help(
            "write `blackhole`, `unreachable` or `prohibit`; a route that leads somewhere needs no type",
        )),
    }
}

/// The ways of a route with several; one alone is no choice.
fn hops(node: &Node, report: &mut Report) -> Vec<Hop> {
    let list = items(node, "nexthops", report).unwrap_or_default();
    let hops: Vec<Hop> = list.iter().filter_map(|node| Hop::read(node, report)).collect();
    if list.len() < 2 {
        let message = format!("a route by several ways has two or more, found {}", list.len());
        report.push(
            Diagnostic::error(node.place, message)
                .help("add a nexthop, or write its `via` and `dev` in the route itself"),
        );
    }
    for (number, hop) in hops.iter().enumerate() {
        let way = |hop: &Hop| (hop.via.as_ref().map(|v| v.value), hop.dev.as_ref().map(|d| d.value.clone()));
        if let Some(first) = hops.iter().take(number).find(|first| way(first) == way(hop)) {
            report.push(
                Diagnostic::error(hop.place, "the same way twice")
                    .related(first.place, "first here")
                    .help("remove one of the two; a larger `weight` gives a way more of the flows"),
            );
        }
    }
    hops
}

impl Hop {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let errors = report.errors();
        let fields = Fields::of(node, &HOP, report)?;
        let weight = |text: &str| values::number(text, "a weight", 1, 256);
        let hop = Self {
            via: fields.parsed("via", "an address", values::ip, report),
            dev: fields.parsed("dev", "an interface", values::any_interface_name, report),
            weight: fields.parsed("weight", "a number", weight, report).map_or(1, |weight| weight.value),
            place: fields.place,
        };
        if report.errors() == errors && hop.via.is_none() && hop.dev.is_none() {
            let nowhere = Diagnostic::error(fields.place, "a nexthop that leads nowhere");
            report.push(nowhere.help("write `via: GATEWAY` or `dev: INTERFACE`"));
        }
        (report.errors() == errors).then_some(hop)
    }
}

fn check_target(route: &Route, fields: Fields<'_>, report: &mut Report) {
    if let Some(kind) = fields.entry("type") {
        let others = ["via", "dev", "src", "onlink", "nexthops"];
        return refuse_others(kind, "the packets go nowhere", &others, fields, report);
    }
    if let Some(hops) = fields.entry("nexthops") {
        return refuse_others(hops, "the packets go these ways", &["via", "dev", "onlink"], fields, report);
    }
    if fields.value("via").is_none() && fields.value("dev").is_none() {
        let nowhere =
            Diagnostic::error(fields.place, format!("the route to {} leads nowhere", route.to.value));
        report.push(nowhere.help("write `via: GATEWAY`, `dev: INTERFACE` or `type: unreachable`"));
    }
    if let (Some(onlink), None) = (fields.entry("onlink"), fields.value("dev")) {
        let nowhere = Diagnostic::error(onlink.key.place, "`onlink` without an interface");
        report.push(nowhere.help("write `dev: INTERFACE` too"));
    }
}

fn refuse_others(kind: &Entry, label: &str, others: &[&str], fields: Fields<'_>, report: &mut Report) {
    let kind_word = &kind.key.value;
    for other in others.iter().filter_map(|key| fields.entry(key)) {
        let word = &other.key.value;
        report.push(
            Diagnostic::error(other.key.place, format!("`{word}` and `{kind_word}` exclude each other"))
                .related(kind.key.place, label)
                .help(format!("remove `{word}` or `{kind_word}`")),
        );
    }
}

/// IPv4 may have a gateway of IPv6 (RFC 9229), IPv6 none of IPv4.
fn check_families(route: &Route, report: &mut Report) {
    let ways = route.hops.iter().filter_map(|hop| hop.via.as_ref()).chain(&route.via);
    let of_other_family = ways.filter(|via| via.value.is_ipv4()).chain(&route.src);
    for address in of_other_family {
        if address.value.is_ipv6() != route.to.value.is_ipv6() {
            let message = format!("{} is not of the family of {}", address.value, route.to.value);
            report.push(Diagnostic::error(address.place, message).related(route.to.place, "the destination"));
        }
    }
}
