//! A domain, in the user's words.

use ipnetwork::IpNetwork;

use super::allow;
use super::dns;
use super::interface::{self, Interface};
use super::isolation;
use super::route::Route;
use super::rtable::{self, Rtable};
use super::rule::Rule;
use super::service::{self, Service};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Dns, DomainId, DomainName, Isolation, NameError, SysctlName};
use crate::spec::Named;
use crate::spec::fields::{Fields, Shape, entries, items, parsed, parsed_text};
use crate::spec::node::{Entry, Node};
use crate::spec::report::{Placed, Report};
use crate::spec::values::{self, Trouble};

pub(in crate::spec) const DOMAIN: Shape = Shape {
    what: "a domain",
    keys: &[
        "rdomain",
        "isolation",
        "lo",
        "interfaces",
        "routes",
        "rtables",
        "rules",
        "sysctls",
        "allow",
        "dns",
        "services",
    ],
};
const LOOPBACK: Shape = Shape { what: "`lo`", keys: &["addresses"] };

/// One entry of `domains`.
#[derive(Debug)]
pub(in crate::spec) struct Domain {
    /// The key, as the user has it.
    pub(in crate::spec) word: Placed<String>,
    /// Number and name; `None` if they were no good, which has been reported.
    pub(in crate::spec) identity: Option<Identity>,
    /// What keeps it apart, if it says so.
    pub(in crate::spec) isolation: Option<Placed<Isolation>>,
    /// The addresses of its loopback, if it says which.
    pub(in crate::spec) loopback: Option<Vec<Placed<IpNetwork>>>,
    pub(in crate::spec) interfaces: Vec<Interface>,
    pub(in crate::spec) routes: Vec<Placed<Route>>,
    pub(in crate::spec) rtables: Vec<Rtable>,
    pub(in crate::spec) rules: Vec<Placed<Rule>>,
    pub(in crate::spec) sysctls: Vec<(Placed<SysctlName>, String)>,
    /// Who may enter it.
    pub(in crate::spec) allow: Vec<Placed<Named>>,
    /// Where it speaks of that.
    pub(in crate::spec) allow_place: Option<Place>,
    /// How its programs look names up.
    pub(in crate::spec) dns: Dns,
    /// Where it speaks of that.
    pub(in crate::spec) dns_place: Option<Place>,
    /// What runs in it.
    pub(in crate::spec) services: Vec<Service>,
    /// Whether the name of every interface could be read.
    pub(in crate::spec) all_named: bool,
    /// Whether everything in it could be read, so that what is missing is missing in the file too.
    pub(in crate::spec) whole: bool,
}

/// What a domain is called.
#[derive(Clone, Debug)]
pub(in crate::spec) struct Identity {
    pub(in crate::spec) number: Placed<DomainId>,
    pub(in crate::spec) name: Option<DomainName>,
}

impl Domain {
    pub(super) fn read(entry: &Entry, report: &mut Report) -> Self {
        let errors = report.errors();
        let Some(fields) = Fields::of(&entry.value, &DOMAIN, report) else { return Self::unread(&entry.key) };
        let list = |key: &str, report: &mut Report| match fields.value(key) {
            Some(node) => items(node, key, report).unwrap_or_default(),
            None => &[],
        };
        let (interfaces, all_named) = match fields.value("interfaces") {
            Some(node) => interfaces(node, report),
            None => (Vec::new(), true),
        };
        Self {
            word: entry.key.clone(),
            identity: identity(&entry.key, fields, report),
            isolation: fields.parsed("isolation", "an isolation", isolation, report),
            loopback: fields.value("lo").and_then(|node| loopback(node, report)),
            interfaces,
            all_named,
            routes: list("routes", report).iter().filter_map(|node| Route::read(node, report)).collect(),
            rtables: fields.value("rtables").map(|node| rtable::read(node, report)).unwrap_or_default(),
            rules: list("rules", report).iter().filter_map(|node| Rule::read(node, report)).collect(),
            sysctls: fields.value("sysctls").map(|node| sysctls(node, report)).unwrap_or_default(),
            allow: fields.value("allow").map(|node| allow::read(node, report)).unwrap_or_default(),
            allow_place: fields.entry("allow").map(|entry| entry.key.place),
            dns: fields.value("dns").and_then(|node| dns::read(node, report)).unwrap_or_default(),
            dns_place: fields.entry("dns").map(|entry| entry.key.place),
            services: fields.value("services").map(|node| service::read(node, report)).unwrap_or_default(),
            whole: report.errors() == errors,
        }
    }

    /// A domain of which nothing but its word is known.
    fn unread(word: &Placed<String>) -> Self {
        Self {
            word: word.clone(),
            identity: None,
            isolation: None,
            loopback: None,
            interfaces: Vec::new(),
            routes: Vec::new(),
            rtables: Vec::new(),
            rules: Vec::new(),
            sysctls: Vec::new(),
            allow: Vec::new(),
            allow_place: None,
            dns: Dns::Unsaid,
            dns_place: None,
            services: Vec::new(),
            all_named: false,
            whole: false,
        }
    }
}

/// A key that begins with a digit is a number, any other a name with the number inside.
fn identity(key: &Placed<String>, fields: Fields<'_>, report: &mut Report) -> Option<Identity> {
    let word = Placed::new(key.value.as_str(), key.place);
    let inner = fields.entry("rdomain");
    if !key.value.starts_with(|c: char| c.is_ascii_digit()) {
        let name = parsed_text(&word, values::domain_name, report);
        let number = number_inside(key, inner, report);
        return Some(Identity { name: Some(name?.value), number: number? });
    }
    if let Some(entry) = inner {
        report.push(
            Diagnostic::error(entry.key.place, format!("domain {} has a number already", key.value))
                .label("a second number")
                .related(key.place, "its number")
                .help("remove `rdomain`, or write a name instead of the number"),
        );
    }
    parsed_text(&word, domain_number, report).map(|number| Identity { number, name: None })
}

fn number_inside(
    name: &Placed<String>,
    inner: Option<&Entry>,
    report: &mut Report,
) -> Option<Placed<DomainId>> {
    let Some(entry) = inner else {
        report.push(
            Diagnostic::error(name.place, format!("domain `{}` has no number", name.value))
                .help("write `rdomain: NUMBER` in it"),
        );
        return None;
    };
    let number = parsed(&entry.value, "the number of a domain", domain_number, report)?;
    if number.value.is_default() {
        let message = format!("domain `{}` cannot be number 0", name.value);
        report.push(
            Diagnostic::error(number.place, message)
                .label("the default domain, which has no other name")
                .help(format!("write `0` instead of `{}`, or take another number", name.value)),
        );
        return None;
    }
    Some(number)
}

fn domain_number(text: &str) -> Result<DomainId, Trouble> {
    text.parse().map_err(|error: NameError| match error {
        NameError::Reserved(number) => Trouble::new(format!("domain number {number} is reserved"))
            .help("253, 254 and 255 are the kernel's own tables; take another number"),
        NameError::OutOfRange(number) => {
            Trouble::new(format!("domain number {number} is out of range")).help("the largest is 4294967295")
        }
        NameError::NotANumber(text) => Trouble::new(format!("`{text}` is not the number of a domain"))
            .help("write a decimal number without leading zeros; a name begins with a letter"),
        NameError::Empty | NameError::TooLong { .. } | NameError::Character { .. } => {
            Trouble::new(error.to_string())
        }
    })
}

fn loopback(node: &Node, report: &mut Report) -> Option<Vec<Placed<IpNetwork>>> {
    let fields = Fields::of(node, &LOOPBACK, report)?;
    fields.value("addresses").map(|node| interface::addresses(node, report))
}

/// The interfaces that can be read, and whether they are all that there are.
fn interfaces(node: &Node, report: &mut Report) -> (Vec<Interface>, bool) {
    let Some(entries) = entries(node, "`interfaces`", report) else { return (Vec::new(), false) };
    let read: Vec<Interface> = entries.iter().filter_map(|entry| Interface::read(entry, report)).collect();
    let all = read.len() == entries.len();
    (read, all)
}

fn sysctls(node: &Node, report: &mut Report) -> Vec<(Placed<SysctlName>, String)> {
    let entries = entries(node, "`sysctls`", report).unwrap_or_default();
    let read = |entry: &Entry, report: &mut Report| {
        let key = Placed::new(entry.key.value.as_str(), entry.key.place);
        let name = parsed_text(&key, values::sysctl_name, report);
        let value = parsed(&entry.value, "a value", sysctl_value, report);
        Some((name?, value?.value))
    };
    entries.iter().filter_map(|entry| read(entry, report)).collect()
}

/// The value with one space between its parts: /proc/sys has tabs between some (proc_dointvec), a backend has none.
fn sysctl_value(text: &str) -> Result<String, Trouble> {
    if let Some(number) =
        [("true", 1), ("false", 0)].iter().find_map(|&(word, n)| (word == text).then_some(n))
    {
        return Err(
            Trouble::new(format!("`{text}` is not a value of a sysctl")).help(format!("write `{number}`"))
        );
    }
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}
