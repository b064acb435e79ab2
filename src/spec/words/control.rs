//! Who may ask the supervisor for something, in the user's words.

use super::allow::{account, accounts};
use crate::diagnostic::Diagnostic;
use crate::spec::Named;
use crate::spec::fields::{Fields, Shape};
use crate::spec::node::Node;
use crate::spec::report::{Placed, Report};

const CONTROL: Shape = Shape { what: "`control`", keys: &["group", "change"] };
const CHANGE: Shape = Shape { what: "`change`", keys: &["users", "groups"] };

#[derive(Debug, Default)]
pub(in crate::spec) struct Control {
    pub(in crate::spec) group: Option<Placed<String>>,
    pub(in crate::spec) change: Vec<Placed<Named>>,
}

impl Control {
    pub(super) fn read(node: &Node, report: &mut Report) -> Self {
        let errors = report.errors();
        let Some(fields) = Fields::of(node, &CONTROL, report) else { return Self::default() };
        let group = fields.parsed("group", "the name of a group", account, report);
        let change = fields.value("change").map(|node| {
            accounts(node, &CHANGE, "change", "as without it, only root may change the network", report)
        });
        if group.is_none() && report.errors() == errors {
            report.push(
                Diagnostic::error(node.place, "`control` has no group")
                    .label("so only root reaches the socket")
                    .help("write `control: {group: NAME}`: its members may look"),
            );
        }
        Self { group, change: change.unwrap_or_default() }
    }
}
