//! What an isolation cannot give, and what domains share because of it.
//!
//! With `isolation: vrf` a domain has no namespace of its own: it has its interfaces, rules and sysctls in common with
//! the default domain, and `lo` is the default domain's (Documentation/networking/vrf.rst).

use std::collections::BTreeMap;

use super::scope::Scope;
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{DomainId, End, InterfaceName, Isolation};
use crate::spec::fields::listed;
use crate::spec::report::{Placed, Report};
use crate::spec::words::Domain;

/// Reports what cannot be under the isolations of a file, and notes what they lack.
pub(super) fn check(scope: &Scope<'_>, default_place: Option<Place>, report: &mut Report) {
    for &(id, domain) in &scope.domains {
        check_default(id, domain, report);
        if scope.isolation(id) == Isolation::Vrf {
            refuse_own_parts(id, domain, scope, report);
        }
    }
    check_devices(scope, report);
    note_what_vrf_lacks(scope, default_place, report);
}

fn check_default(id: DomainId, domain: &Domain, report: &mut Report) {
    if let Some(isolation) = domain.isolation.as_ref().filter(|_| id.is_default()) {
        let alone = Diagnostic::error(isolation.place, "the default domain has no isolation of its own");
        report.push(alone.help("remove it: the default domain is where the supervisor was started"));
    }
}

/// What a domain without a namespace cannot have.
fn refuse_own_parts(id: DomainId, domain: &Domain, scope: &Scope<'_>, report: &mut Report) {
    let word = scope.names.word(id);
    let why = "with `isolation: vrf` it is the default domain's";
    let help = "give the domain a namespace: `isolation: netns+vrf` or `netns`";
    let mut refuse = |place: Place, what: &str| {
        report.push(
            Diagnostic::error(place, format!("domain {word} has no {what} of its own")).label(why).help(help),
        );
    };
    for (name, _) in &domain.sysctls {
        let own = |interface| scope.ends.contains_key(&End { domain: id, interface });
        if !name.value.interface().is_some_and(own) && !name.value.is_forwarding() {
            refuse(name.place, &format!("sysctl `{}`", name.value));
        }
    }
    let further = domain.rtables.iter().flat_map(|rtable| &rtable.routes);
    for route in domain.routes.iter().chain(further) {
        let hops = route.value.hops.iter().filter_map(|hop| hop.dev.as_ref());
        let by_loopback = hops.chain(&route.value.dev).filter(|dev| dev.value == InterfaceName::loopback());
        by_loopback.for_each(|dev| refuse(dev.place, "`lo`"));
    }
}

/// The name of a VRF device is taken where the device is, or may be.
fn check_devices(scope: &Scope<'_>, report: &mut Report) {
    let devices: BTreeMap<InterfaceName, DomainId> =
        scope.domains.iter().map(|&(id, _)| (InterfaceName::of_vrf(id), id)).collect();
    for (end, &place) in &scope.ends {
        let Some(&id) = devices.get(&end.interface).filter(|id| !id.is_default()) else { continue };
        let taken = match scope.isolation(id) {
            Isolation::Netns => false,
            Isolation::Auto | Isolation::NetnsVrf => end.domain == id,
            Isolation::Vrf => scope.is_in_default_namespace(end.domain),
        };
        if taken {
            let message = format!(
                "`{}` is the name of the VRF device of domain {}",
                end.interface,
                scope.names.word(id)
            );
            report.push(Diagnostic::error(place, message).help("take another name"));
        }
    }
}

fn note_what_vrf_lacks(scope: &Scope<'_>, default_place: Option<Place>, report: &mut Report) {
    let bare = scope.domains.iter().filter(|(id, _)| scope.isolation(*id) == Isolation::Vrf);
    let (words, places): (Vec<String>, Vec<_>) =
        bare.map(|(id, domain)| (scope.names.word(*id), domain.isolation.as_ref().map(|i| i.place))).unzip();
    let Some(place) = places.into_iter().flatten().next().or(default_place.filter(|_| !words.is_empty()))
    else {
        return;
    };
    let message =
        format!("no `lo`, firewall, sysctls or abstract sockets of their own: domain {}", listed(&words));
    report.push(
        Diagnostic::note(place, message)
            .label("a VRF keeps apart addresses, routes and ports")
            .help("`netns+vrf` and `netns` give a domain all of them"),
    );
}

/// The kernel binds the sockets of its tunnels to no VRF (drivers/net/wireguard/socket.c).
pub(super) fn refuse_kernel_underlay(
    what: &str,
    underlay: &Placed<String>,
    scope: &Scope<'_>,
    report: &mut Report,
) {
    let Some(id) = scope.names.known(&underlay.value).filter(|id| scope.isolation(*id) == Isolation::Vrf)
    else {
        return;
    };
    let message = format!("domain {} cannot carry {what}", scope.names.word(id));
    report.push(
        Diagnostic::error(underlay.place, message)
            .label("the kernel does not bind such sockets to a VRF")
            .help("give the underlay a namespace: `isolation: netns+vrf` or `netns`"),
    );
}
