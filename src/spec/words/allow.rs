//! Who may enter a domain, in the user's words.

use crate::diagnostic::Diagnostic;
use crate::spec::Named;
use crate::spec::fields::{Fields, Shape, each_parsed};
use crate::spec::node::Node;
use crate::spec::report::{Placed, Report};
use crate::spec::values::Trouble;

const ALLOW: Shape = Shape { what: "`allow`", keys: &["users", "groups"] };

/// The longest name of a user or group, in bytes (login.defs(5), useradd(8): 32; directories have longer ones).
const LONGEST: usize = 256;

pub(super) fn read(node: &Node, report: &mut Report) -> Vec<Placed<Named>> {
    accounts(node, &ALLOW, "allow", "as without it, only root may enter", report)
}

/// Users and groups below a key; nobody at all is an error, for `nobody` is what comes of it.
pub(super) fn accounts(
    node: &Node,
    shape: &Shape,
    key: &str,
    nobody: &str,
    report: &mut Report,
) -> Vec<Placed<Named>> {
    let errors = report.errors();
    let Some(fields) = Fields::of(node, shape, report) else { return Vec::new() };
    let mut list = |key: &str, expected: &str, named: fn(String) -> Named| -> Vec<Placed<Named>> {
        let Some(node) = fields.value(key) else { return Vec::new() };
        let read = each_parsed(node, expected, account, report);
        read.into_iter().map(|name| Placed::new(named(name.value), name.place)).collect()
    };
    let mut allowed = list("users", "names of users", Named::User);
    allowed.extend(list("groups", "names of groups", Named::Group));
    if allowed.is_empty() && report.errors() == errors {
        report.push(
            Diagnostic::error(node.place, format!("`{key}` names nobody"))
                .label(nobody)
                .help(format!("write `{key}: {{users: [NAME], groups: [NAME]}}`, or leave it out")),
        );
    }
    allowed
}

/// A name, or a number; passwd(5) and group(5) have no colon in it, and nobody is called by a pattern.
pub(super) fn account(text: &str) -> Result<String, Trouble> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || ":,*?/".contains(c);
    match text.find(odd) {
        Some(_) => Err(Trouble::new(format!("`{text}` is not the name of a user or group"))
            .help("write each name or number as an item of its own: `[alice, bob]`")),
        None if text.is_empty() || text.len() > LONGEST || text.starts_with('-') => {
            Err(Trouble::new(format!("`{text}` is not the name of a user or group")))
        }
        None => Ok(text.to_owned()),
    }
}
