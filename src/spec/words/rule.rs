//! A policy rule, in the user's words.

use super::rtable;
use crate::diagnostic::Diagnostic;
use crate::model::{Fwmark, InterfaceName, Prefix, RtableId};
use crate::spec::fields::{Fields, Shape};
use crate::spec::node::Node;
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

const RULE: Shape =
    Shape { what: "a rule", keys: &["from", "to", "iif", "uid", "fwmark", "rtable", "priority"] };

/// The first priority that is not the kernel's or rdom's: 0 is its rule for local addresses, those below this one
/// are for what a domain's isolation is made of.
const FIRST_PRIORITY: u32 = 10;
/// The last priority that is not the kernel's: 32766 and 32767 are its rules for `main` and `default`.
const LAST_PRIORITY: u32 = 32_765;

/// One item of `rules`.
#[derive(Debug)]
pub(in crate::spec) struct Rule {
    pub(in crate::spec) from: Option<Prefix>,
    pub(in crate::spec) to: Option<Prefix>,
    pub(in crate::spec) iif: Option<Placed<InterfaceName>>,
    pub(in crate::spec) uid: Option<(u32, u32)>,
    pub(in crate::spec) fwmark: Option<Fwmark>,
    pub(in crate::spec) rtable: Placed<RtableWord>,
    pub(in crate::spec) priority: Option<Placed<u32>>,
}

/// Which rtable is meant: by its number, or the own one of a domain by the domain's name.
#[derive(Clone, Debug)]
pub(in crate::spec) enum RtableWord {
    Number(RtableId),
    Own(String),
}

impl Rule {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Placed<Self>> {
        let errors = report.errors();
        let fields = Fields::of(node, &RULE, report)?;
        if fields.value("rtable").is_none() {
            let missing = Diagnostic::error(fields.place, "a rule without an rtable");
            report.push(missing.help("write `rtable: NUMBER`: where its packets are looked up"));
        }
        let prefix = |key: &str, report: &mut Report| fields.parsed(key, "a prefix", values::prefix, report);
        let (from, to) = (prefix("from", report), prefix("to", report));
        check_families(from.as_ref(), to.as_ref(), report);
        let rule = Self {
            from: from.map(|from| from.value),
            to: to.map(|to| to.value),
            iif: fields.parsed("iif", "an interface", values::any_interface_name, report),
            uid: fields.parsed("uid", "a user id or `FIRST-LAST`", uids, report).map(|uid| uid.value),
            fwmark: fields.parsed("fwmark", "a mark", fwmark, report).map(|fwmark| fwmark.value),
            rtable: fields.parsed("rtable", "an rtable", rtable_word, report)?,
            priority: fields.parsed("priority", "a number", priority, report),
        };
        (report.errors() == errors).then(|| Placed::new(rule, fields.place))
    }
}

fn check_families(from: Option<&Placed<Prefix>>, to: Option<&Placed<Prefix>>, report: &mut Report) {
    let (Some(from), Some(to)) = (from, to) else { return };
    if from.value.is_ipv6() != to.value.is_ipv6() {
        let message = format!("{} is not of the family of {}", to.value, from.value);
        report.push(Diagnostic::error(to.place, message).related(from.place, "the source"));
    }
}

fn rtable_word(text: &str) -> Result<RtableWord, Trouble> {
    match text.starts_with(|c: char| c.is_ascii_digit()) {
        true => rtable::number(text).map(RtableWord::Number),
        false => Ok(RtableWord::Own(text.to_owned())),
    }
}

fn priority(text: &str) -> Result<u32, Trouble> {
    values::number(text, "the priority of a rule", FIRST_PRIORITY, LAST_PRIORITY)
}

/// One user id, or the first and the last of several; the largest number is nobody's (linux/uidgid.h).
fn uids(text: &str) -> Result<(u32, u32), Trouble> {
    let id = |text: &str| values::number(text, "a user id", 0, u32::MAX - 1);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (id(first)?, id(last)?);
    match first <= last {
        true => Ok((first, last)),
        false => {
            Err(Trouble::new(format!("`{text}` ends before it begins"))
                .help(format!("write `{last}-{first}`")))
        }
    }
}

/// `7`, `0x7` or `0x7/0xff`; without a mask every bit matters.
fn fwmark(text: &str) -> Result<Fwmark, Trouble> {
    let bits = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => values::number(text, "a mark", 0, u32::MAX).ok(),
    };
    let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
    let parsed = bits(value).zip(mask.map_or(Some(u32::MAX), bits));
    let Some((value, mask)) = parsed else {
        return Err(Trouble::new(format!("`{text}` is not a mark")).help("write `7`, `0x7` or `0x7/0xff`"));
    };
    match value & !mask {
        0 => Ok(Fwmark { value, mask }),
        _ => Err(Trouble::new(format!("`{text}` has bits that its mask leaves out"))
            .help(format!("write `{:#x}/{mask:#x}`", value & mask))),
    }
}
