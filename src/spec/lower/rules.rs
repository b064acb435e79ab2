//! Policy rules: each asks for an rtable of its own domain.
//!
//! Rules that give no priority are asked in the order of the file, behind the kernel's rule for local addresses (0)
//! and before its rule for VRF devices (1000, net/core/fib_rules.c): a VRF's table answers everything, so nothing
//! behind that is ever asked in a domain with a VRF.

use std::collections::{BTreeMap, BTreeSet};

use super::devices;
use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{Action, DomainId, Isolation, Object, RtableId, Rule, Selector};
use crate::spec::origins::Origins;
use crate::spec::report::{Placed, Report};
use crate::spec::words::{self, RtableWord};

/// The priority of the first rule that gives none.
const FIRST_PRIORITY: u32 = 100;
/// That of the kernel's rule for VRF devices.
const VRF_PRIORITY: u32 = 1000;

/// The rules of a domain.
pub(super) fn lower(
    id: DomainId,
    domain: &words::Domain,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> BTreeSet<Rule> {
    let mut taken: BTreeMap<u32, Place> = BTreeMap::new();
    let mut automatic = FIRST_PRIORITY..;
    let mut rules = BTreeSet::new();
    for Placed { value: words, place } in &domain.rules {
        check_reach(id, words, *place, scope, report);
        let given = words.priority.as_ref().map(|priority| priority.value);
        let Some(priority) = given.or_else(|| automatic.next()) else { continue };
        if let Some(&first) = taken.get(&priority) {
            report.push(twice(priority, words, *place, first));
            continue;
        }
        taken.insert(priority, *place);
        let Some(rtable) = rtable(id, &words.rtable, scope, report) else { continue };
        origins.add(Object::Rule(id, priority), *place);
        rules.insert(Rule {
            priority,
            selector: selector(id, words, scope, report),
            action: Action::Lookup(rtable),
        });
    }
    rules
}

fn twice(priority: u32, words: &words::Rule, place: Place, first: Place) -> Diagnostic {
    let place = words.priority.as_ref().map_or(place, |given| given.place);
    Diagnostic::error(place, format!("two rules of priority {priority}"))
        .label("again here")
        .related(first, "first here")
        .help("rules without a priority have 100 and up, in the order of the file; write another one")
}

/// A rule must be asked at all, and about packets of its own domain only.
fn check_reach(id: DomainId, words: &words::Rule, place: Place, scope: &Scope<'_>, report: &mut Report) {
    let word = scope.names.word(id);
    let isolation = scope.isolation(id);
    if let Some(priority) = words.priority.as_ref().filter(|priority| priority.value >= VRF_PRIORITY)
        && isolation != Isolation::Netns
    {
        let message = format!("a rule of priority {} is never asked in domain {word}", priority.value);
        report.push(
            Diagnostic::error(priority.place, message)
                .label("the rule of its VRF, of priority 1000, answers before")
                .help("write a priority below 1000, or `isolation: netns`"),
        );
    }
    if isolation == Isolation::Vrf && words.iif.is_none() {
        let message = format!("this rule of domain {word} would be about packets of the default domain too");
        report.push(
            Diagnostic::error(place, message)
                .label("with `isolation: vrf` the two have the same rules")
                .help("write `iif: INTERFACE` too, or give the domain a namespace: `isolation: netns+vrf`"),
        );
    }
}

fn selector(id: DomainId, words: &words::Rule, scope: &Scope<'_>, report: &mut Report) -> Selector {
    if let Some(iif) = &words.iif {
        devices::check(id, iif, scope, report);
    }
    Selector {
        from: words.from,
        to: words.to,
        iif: words.iif.as_ref().map(|iif| iif.value.clone()),
        uid: words.uid,
        fwmark: words.fwmark,
        in_vrf: false,
    }
}

fn rtable(
    id: DomainId,
    word: &Placed<RtableWord>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<RtableId> {
    let (rtable, owner) = match &word.value {
        RtableWord::Number(number) => (*number, scope.rtables.get(number).map(|&(owner, _)| owner)),
        RtableWord::Own(name) => {
            let owner = scope.names.domain(&Placed::new(name.clone(), word.place), report)?;
            (owner.into(), Some(owner))
        }
    };
    let diagnostic = match owner {
        Some(owner) if owner == id => return Some(rtable),
        Some(owner) => {
            let message = format!("rtable {rtable} is one of domain {}", scope.names.word(owner));
            let help =
                format!("a domain is closed: write {}, its own, or one of its `rtables:`", id.number());
            Diagnostic::error(word.place, message).help(help)
        }
        None if !scope.is_whole(id) || !scope.names.is_whole() => return None,
        None => Diagnostic::error(word.place, format!("no rtable {rtable}"))
            .help(format!("add `rtables: {{{rtable}: {{}}}}` to domain {}", scope.names.word(id))),
    };
    report.push(diagnostic);
    None
}
