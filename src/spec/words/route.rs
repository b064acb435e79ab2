//! A route, in the user's words.

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;
use crate::model::{InterfaceName, Prefix};
use crate::spec::fields::{Fields, Shape, parsed};
use crate::spec::node::Node;
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

const ROUTE: Shape = Shape {
    what: "a route",
    keys: &["to", "via", "dev", "metric", "src", "onlink", "type"],
    later: &["nexthops"],
};

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
        let route = Self {
            to: to(fields, via.as_ref(), report)?,
            metric: fields.parsed("metric", "a number", metric, report).map(|metric| metric.value),
            dropped: fields.parsed("type", "a type", dropped, report).map(|dropped| dropped.value),
            via,
            dev: fields.parsed("dev", "an interface", values::any_interface_name, report),
            src: fields.parsed("src", "an address", values::ip, report),
            onlink: fields
                .parsed("onlink", "`true` or `false`", values::truth, report)
                .is_some_and(|t| t.value),
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

fn check_target(route: &Route, fields: Fields<'_>, report: &mut Report) {
    let Some(kind) = fields.entry("type") else {
        if fields.value("via").is_none() && fields.value("dev").is_none() {
            let nowhere =
                Diagnostic::error(fields.place, format!("the route to {} leads nowhere", route.to.value));
            report.push(nowhere.help("write `via: GATEWAY`, `dev: INTERFACE` or `type: unreachable`"));
        }
        if let (Some(onlink), None) = (fields.entry("onlink"), fields.value("dev")) {
            let nowhere = Diagnostic::error(onlink.key.place, "`onlink` without an interface");
            report.push(nowhere.help("write `dev: INTERFACE` too"));
        }
        return;
    };
    for other in ["via", "dev", "src", "onlink"].iter().filter_map(|key| fields.entry(key)) {
        report.push(
            Diagnostic::error(
                other.key.place,
                format!("`{}` and `type` exclude each other", other.key.value),
            )
            .related(kind.key.place, "the packets go nowhere")
            .help(format!("remove `{}` or `type`", other.key.value)),
        );
    }
}

fn check_families(route: &Route, report: &mut Report) {
    for address in [&route.via, &route.src].into_iter().flatten() {
        if address.value.is_ipv6() != route.to.value.is_ipv6() {
            let message = format!("{} is not of the family of {}", address.value, route.to.value);
            report.push(Diagnostic::error(address.place, message).related(route.to.place, "the destination"));
        }
    }
}
