//! A further rtable of a domain, in the user's words.

use super::route::Route;
use crate::model::{NameError, RtableId};
use crate::spec::fields::{Fields, Shape, entries, items, parsed_text};
use crate::spec::node::{Entry, Node};
use crate::spec::report::{Placed, Report};
use crate::spec::values::Trouble;

const RTABLE: Shape = Shape { what: "an rtable", keys: &["routes"] };

/// One entry of `rtables`.
#[derive(Debug)]
pub(in crate::spec) struct Rtable {
    pub(in crate::spec) number: Placed<RtableId>,
    pub(in crate::spec) routes: Vec<Placed<Route>>,
}

/// The value of `rtables`.
pub(super) fn read(node: &Node, report: &mut Report) -> Vec<Rtable> {
    let entries = entries(node, "`rtables`", report).unwrap_or_default();
    entries.iter().filter_map(|entry| Rtable::read(entry, report)).collect()
}

impl Rtable {
    fn read(entry: &Entry, report: &mut Report) -> Option<Self> {
        let key = Placed::new(entry.key.value.as_str(), entry.key.place);
        let number = parsed_text(&key, number, report);
        let fields = Fields::of(&entry.value, &RTABLE, report)?;
        let routes =
            fields.value("routes").and_then(|node| items(node, "routes", report)).unwrap_or_default();
        let routes = routes.iter().filter_map(|node| Route::read(node, report)).collect();
        Some(Self { number: number?, routes })
    }
}

/// The number of an rtable.
pub(super) fn number(text: &str) -> Result<RtableId, Trouble> {
    text.parse().map_err(|error: NameError| match error {
        NameError::Reserved(number) => Trouble::new(format!("rtable number {number} is reserved")).help(
            "253, 254 and 255 are the kernel's own tables `default`, `main` and `local`; take another number",
        ),
        NameError::OutOfRange(number) => {
            Trouble::new(format!("rtable number {number} is out of range")).help("the largest is 4294967295")
        }
        NameError::NotANumber(text) => Trouble::new(format!("`{text}` is not the number of an rtable"))
            .help("write a decimal number without leading zeros"),
        NameError::Empty | NameError::TooLong { .. } | NameError::Character { .. } => {
            Trouble::new(error.to_string())
        }
    })
}
