//! Services: each name once in a network, and who waits for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, Service, ServiceName};
use crate::spec::fields::{listed, nearest};
use crate::spec::report::{Placed, Report};
use crate::spec::words;

/// Every service of the file, and where the file has it.
pub(super) type Services = BTreeMap<ServiceName, (Service, Place)>;

/// The services of all domains; their directories begin at `base`.
pub(super) fn lower(scope: &Scope<'_>, base: &Path, report: &mut Report) -> Services {
    let mut services = Services::new();
    let mut dependencies = Vec::new();
    for (domain, words) in all(scope) {
        let Placed { value: name, place } = &words.name;
        match services.get(name) {
            Some((_, first)) => report.push(
                Diagnostic::error(*place, format!("a second service `{name}`"))
                    .related(*first, "the first one")
                    .help("a service is called by its name alone; give one of them another"),
            ),
            None => {
                services.insert(name.clone(), (service(domain, words, base), *place));
                dependencies.extend(words.depends_on.iter().map(|on| (name, on)));
            }
        }
    }
    for (_, on) in &dependencies {
        check(on, &services, scope, report);
    }
    for (name, on) in dependencies {
        if let Some(circle) = circle(name, &on.value, &services) {
            report.push(
                Diagnostic::error(on.place, format!("services wait for each other: {circle}"))
                    .help("remove one of these from `depends_on`"),
            );
            break;
        }
    }
    services
}

/// A service that is named somewhere is one of the file's.
pub(super) fn check(word: &Placed<ServiceName>, services: &Services, scope: &Scope<'_>, report: &mut Report) {
    let all_read = scope.domains.iter().all(|(_, domain)| domain.whole) && scope.names.is_whole();
    if services.contains_key(&word.value) || !all_read {
        return;
    }
    let unknown = Diagnostic::error(word.place, format!("no service `{}`", word.value));
    let near = nearest(word.value.as_str(), services.keys().map(ServiceName::as_str));
    let all: Vec<_> = services.keys().collect();
    report.push(unknown.help(match near {
        Some(near) => format!("write `{near}`"),
        None => format!("the file has {}", listed(&all)),
    }));
}

fn all<'a>(scope: &Scope<'a>) -> impl Iterator<Item = (DomainId, &'a words::Service)> {
    scope.domains.iter().flat_map(|&(id, domain)| domain.services.iter().map(move |words| (id, words)))
}

fn service(domain: DomainId, words: &words::Service, base: &Path) -> Service {
    Service {
        name: words.name.value.clone(),
        domain,
        command: words.command.clone(),
        env: words.env.clone(),
        user: words.user.clone(),
        directory: base.join(words.directory.as_deref().unwrap_or(Path::new(""))),
        ready: words.ready.clone(),
        depends_on: words.depends_on.iter().map(|on| on.value.clone()).collect(),
        restart: words.restart,
    }
}

/// The way from a service by this dependency of its back to itself, if there is one.
fn circle(name: &ServiceName, on: &ServiceName, services: &Services) -> Option<String> {
    let mut ways = vec![vec![name, on]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == name {
            return Some(way.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" -> "));
        }
        if !seen.insert(last) {
            continue;
        }
        let next = services.get(last).into_iter().flat_map(|(service, _)| &service.depends_on);
        ways.extend(next.map(|next| [way.as_slice(), &[next]].concat()));
    }
    None
}
