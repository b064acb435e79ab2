//! The place of tunnels' sockets while the network is up. It is looked at a moment after their domain has stirred: an
//! engine opens them when its interface comes up, and has none if their port was taken meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::Supervisor;
use super::place::{Misplaced, misplaced_of};
use crate::backend::{Backend, BackendError};
use crate::diagnostic::chain;
use crate::model::{DomainId, End};
use crate::plan::Step;

/// How long an engine may take to follow its interface.
const SETTLING: Duration = Duration::from_millis(300);
/// When what could not be put back is tried again, whether or not anything stirs.
const AGAIN: Duration = Duration::from_secs(30);

/// When domains are due, and what was told of them.
#[derive(Debug, Default)]
pub(super) struct Looks {
    due: BTreeMap<DomainId, Instant>,
    told: BTreeMap<DomainId, BTreeSet<String>>,
}

impl Looks {
    /// Those that are due, now that these have stirred.
    fn take(&mut self, stirred: &BTreeSet<DomainId>, now: Instant) -> BTreeSet<DomainId> {
        for domain in stirred {
            let due = self.due.entry(*domain).or_insert(now + SETTLING);
            *due = (*due).min(now + SETTLING);
        }
        let due = self.due.iter().filter(|(_, at)| **at <= now).map(|(domain, _)| *domain).collect();
        self.due.retain(|_, at| *at > now);
        due
    }

    /// Whether this has not been told of the domain since it was last in order; it is looked at again.
    fn is_news(&mut self, domain: DomainId, what: &str, now: Instant) -> bool {
        self.due.entry(domain).or_insert(now + AGAIN);
        self.told.entry(domain).or_default().insert(what.to_owned())
    }

    /// These were looked at, and some of them are not in order.
    fn settle(&mut self, looked_at: &BTreeSet<DomainId>, wrong: &BTreeSet<DomainId>) {
        self.told.retain(|domain, _| !looked_at.contains(domain) || wrong.contains(domain));
    }
}

impl Supervisor {
    /// To be called with the domains that have stirred or are listened to from now on, and about once a second.
    pub(super) fn look_after_sockets(&mut self, stirred: &BTreeSet<DomainId>) {
        let due = self.looks.take(stirred, Instant::now());
        if due.is_empty() || !self.watch.looks() {
            return;
        }
        match misplaced_of(&self.directories, &self.desired, &due) {
            Ok(found) => {
                let wrong = found.iter().filter_map(|misplaced| Some(misplaced.tunnel()?.domain)).collect();
                self.looks.settle(&due, &wrong);
                found.iter().for_each(|misplaced| self.put_sockets_back(misplaced));
            }
            Err(error) => {
                debug!(%error, "the place of sockets is not looked at, which is tried again");
                let _not_yet = self.looks.take(&due, Instant::now());
            }
        }
    }

    /// Sockets that are missing are opened again; whose another one is that is astray nobody knows.
    fn put_sockets_back(&mut self, misplaced: &Misplaced) {
        let Some(tunnel) = misplaced.tunnel() else { return };
        let reopened = match misplaced {
            Misplaced::Missing { at, .. } if self.watch.repairs() => Some(self.reopen(at)),
            Misplaced::Missing { .. } | Misplaced::Astray { .. } | Misplaced::Backend(_) => None,
        };
        let (what, is_back) = (misplaced.to_string(), matches!(reopened, Some(Ok(()))));
        if !is_back && !self.looks.is_news(tunnel.domain, &what, Instant::now()) {
            return;
        }
        let fate = match reopened {
            Some(Ok(())) => "restored".to_owned(),
            Some(Err(error)) => format!("not restored: {}", chain(&error)),
            None => "left as it is".to_owned(),
        };
        warn!("drift: {what}; {fate}");
        self.drifted(what, &fate);
    }

    fn reopen(&mut self, at: &End) -> Result<(), BackendError> {
        let tunnel = self.desired.interface(at).and_then(|interface| interface.wireguard());
        tunnel
            .cloned()
            .map_or(Ok(()), |tunnel| self.backend.apply(&Step::SetTunnel { at: at.clone(), tunnel }))
    }
}
