//! One assertion: nothing, or what was seen instead.

mod apart;
mod leads;
mod program;
mod reach;
mod serve;
mod socket;
mod tunnel;
mod way;

use std::time::{Duration, Instant};

use super::{Ground, throughout, until};
use crate::backend::linux::view::Which;
use crate::spec::{Assertion, Test};

/// The longest single try at something that may be tried again.
const TRY: Duration = Duration::from_secs(1);

pub(super) fn failure(test: &Test, ground: &Ground, deadline: Instant) -> Option<String> {
    let Some(domain) = test.inside else {
        return match &test.assertion {
            Assertion::Isolated { domains } => apart::failure(domains, ground, deadline),
            other => Some(format!("`{other}` needs a domain")),
        };
    };
    let inside = match ground.inside(domain) {
        Ok(inside) => inside,
        Err(gone) => return Some(gone),
    };
    match &test.assertion {
        Assertion::Ping { to, expect } => reach::pinged(&inside, *to, *expect, deadline),
        Assertion::Tcp { to, serve, expect } => {
            reach::called(&inside, *to, served(*serve, ground), *expect, deadline)
        }
        Assertion::Udp { to, serve, expect } => {
            reach::asked(&inside, *to, served(*serve, ground), *expect, deadline)
        }
        Assertion::Http { url, answer, expect } => reach::fetched(&inside, url, answer, *expect, deadline),
        Assertion::Dns { name, answers, expect } => {
            program::looked_up(domain, ground, name, answers, *expect, deadline)
        }
        Assertion::Route { to, way, expect } => {
            until(deadline, |_| way::routed(domain, ground, *to, way, *expect))
        }
        Assertion::Path { to, hops, expect } => way::passed(&inside, ground, *to, hops, *expect, deadline),
        Assertion::Mtu { to, bytes, expect } => way::fitted(&inside, *to, *bytes, *expect, deadline),
        Assertion::Socket { protocol, port, owner, expect } => {
            let wanted = socket::Bound { protocol: *protocol, port: *port, owner: owner.as_deref() };
            until(deadline, |_| socket::looked_for(domain, &inside, ground, &wanted, *expect))
        }
        Assertion::Handshake { tunnel, peer, expect } => {
            until(deadline, |_| tunnel::shaken(domain, ground, tunnel, peer.as_deref(), *expect))
        }
        Assertion::Counter { tunnel, expect } => tunnel::counted(domain, ground, tunnel, *expect, deadline),
        Assertion::Isolated { domains } => apart::failure(domains, ground, deadline),
        Assertion::Exec { command, status, stdout } => {
            let mut command = ground.command(domain, command);
            program::run(&mut command, *status, stdout.as_deref(), deadline)
        }
    }
}

/// Whether nothing comes of watching: what must not arrive has no route by which it could leave.
pub(super) fn is_settled(test: &Test, ground: &Ground) -> bool {
    let to = match &test.assertion {
        watch if !watch.is_watch() => return false,
        Assertion::Ping { to, .. } => *to,
        Assertion::Tcp { to, .. } | Assertion::Udp { to, .. } => to.ip(),
        Assertion::Http { url, .. } => url.to.ip(),
        Assertion::Isolated { .. } | Assertion::Dns { .. } | Assertion::Route { .. } => return false,
        Assertion::Path { .. } | Assertion::Mtu { .. } | Assertion::Socket { .. } => return false,
        Assertion::Handshake { .. } | Assertion::Counter { .. } | Assertion::Exec { .. } => return false,
    };
    let found = test.inside.map(|domain| ground.survey.route_get(domain, Which::Own, to));
    found.is_some_and(|found| found.is_ok_and(|found| found.is_none_or(|found| !found.leads_somewhere())))
}

/// Where the test itself serves.
fn served(domain: Option<crate::model::DomainId>, ground: &Ground) -> Option<reach::Server<'_>> {
    domain.map(|domain| reach::Server { domain, ground })
}
