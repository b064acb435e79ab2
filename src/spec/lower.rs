//! From words to a model: looks up everything that refers to something else.
//!
//! Every part reports what it misses and leaves that out. Where something could not even be read, nothing else is
//! blamed for its absence: one mistake, one diagnostic.

mod allow;
mod devices;
mod dns;
mod interfaces;
mod isolations;
mod kinds;
mod lent;
mod links;
mod names;
mod peers;
mod routes;
mod rtables;
mod rules;
mod scope;
mod services;
mod shared;
mod story;
mod tests;
mod tunnels;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::origins::Origins;
use super::report::Report;
use super::words::{self, File};
use super::{Lowered, Source};
use crate::diagnostic::Diagnostics;
use crate::model::{Domain, DomainId, DomainName, Network, Object, SecretName};

pub(super) use interfaces::loopback_addresses;

use scope::Scope;
use shared::Renamed;
pub(super) use story::Story;

/// Lowers a whole file, with steps that may be those of another one.
pub(super) fn lower(file: &File, story: Story<'_>, source: &Source, report: &mut Report) -> Lowered {
    let scope = Scope::of(file, report);
    let services = services::lower(&scope, &source.directory, report);
    let mut lowered = Lowered {
        network: Network::empty(file.name.clone().unwrap_or_else(|| source.network.clone())),
        drift: file.drift.unwrap_or_default(),
        control: allow::control(&file.control),
        origins: Origins::default(),
        secrets: BTreeMap::new(),
        accounts: allow::accounts(&file.control, &scope),
        tests: file.tests.iter().filter_map(|words| tests::test(words, &scope, report)).collect(),
        steps: story
            .until_next_file()
            .filter_map(|words| tests::turn(words, &scope, &services, report))
            .collect(),
        services,
        warnings: Diagnostics::new(&source.file, "", Vec::new()),
        notes: Diagnostics::new(&source.file, "", Vec::new()),
    };
    for &(id, words) in &scope.domains {
        let domain = domain(id, words, &scope, &mut lowered.origins, report);
        lowered.network.domains.insert(id, domain);
    }
    interfaces::add_link_ends(&scope, &mut lowered.network, &mut lowered.origins);
    kinds::add_parents(&scope, &mut lowered.network, &mut lowered.origins);
    interfaces::join_bridges(&scope, &mut lowered.network, report);
    for &(id, words) in &scope.domains {
        let Some(domain) = lowered.network.domains.get_mut(&id) else { continue };
        (domain.routes, domain.rtables) = routes::lower(id, words, &scope, &mut lowered.origins, report);
        domain.rules = rules::lower(id, words, &scope, &mut lowered.origins, report);
    }
    tunnels::check_ports(&scope, report);
    kinds::check_tags(&scope, report);
    kinds::check_numbers(&scope, report);
    lent::check(&scope, report);
    allow::check(&scope, report);
    dns::check(&scope, report);
    isolations::check(&scope, file.isolation.as_ref().map(|isolation| isolation.place), report);
    lowered.secrets = secrets(&scope, source);
    Renamed::of(&scope, report).apply(&mut lowered);
    lowered.steps.extend(story.with_next_file(&lowered.network.name, report));
    lowered
}

fn domain(
    id: DomainId,
    words: &words::Domain,
    scope: &Scope<'_>,
    origins: &mut Origins,
    report: &mut Report,
) -> Domain {
    origins.add(Object::Domain(id), words.word.place);
    let named = words.identity.as_ref().and_then(|identity| identity.name.clone());
    let mut domain = Domain::bare(id);
    domain.name = named.unwrap_or_else(|| DomainName::of_number(id));
    domain.isolation = scope.isolation(id);
    domain.interfaces = interfaces::lower(id, words, scope, origins, report);
    for (name, value) in &words.sysctls {
        origins.add(Object::Sysctl(id, name.value.clone()), name.place);
        domain.sysctls.insert(name.value.clone(), value.clone());
    }
    domain.allow = allow::lower(&words.allow);
    domain.dns = words.dns.clone();
    domain
}

fn secrets(scope: &Scope<'_>, source: &Source) -> BTreeMap<SecretName, PathBuf> {
    let mut secrets = BTreeMap::new();
    for (end, tunnel) in scope.tunnels() {
        if let Some(path) = &tunnel.private_key_file {
            secrets.insert(SecretName::PrivateKey(end.clone()), source.directory.join(path));
        }
        for peer in &tunnel.peers {
            if let Some(path) = &peer.preshared_key_file {
                let name = SecretName::PresharedKey(end.clone(), peer.word.value.clone());
                secrets.insert(name, source.directory.join(&path.value));
            }
        }
    }
    secrets
}
