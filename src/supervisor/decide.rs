//! What to do about changes that nobody asked for. Pure: events and the time go in, actions come out.
//!
//! A change makes its domain worth a look, and nothing else. Besides, every domain is looked at in turn, all of them in
//! [`ROUND`], or less often where looking would cost more than a two-hundredth of a processor. A difference that comes
//! back again and again is somebody's intention: it is left alone for a while, and said so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::model::{DomainId, Drift};

/// In what time all domains are looked at, whatever is heard of them.
const ROUND: Duration = Duration::from_secs(30);
/// How much longer than a look took is not looked again, but for events, up to [`ROUND`]: a look at everything after many
/// events is no reason to rest for long.
const REST_PER_LOOK: u32 = 200;
/// How often in [`FIGHT_WITHIN`] the same thing is put back.
const FIGHT_AFTER: usize = 5;
/// See [`FIGHT_AFTER`].
const FIGHT_WITHIN: Duration = Duration::from_secs(60);
/// How long something is left alone that somebody else keeps changing.
const TRUCE: Duration = Duration::from_secs(60);

/// What a watch is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// There are these domains from now on; those are new.
    Domains { all: BTreeSet<DomainId>, new: BTreeSet<DomainId> },
    /// Something has changed in these.
    Stirred(BTreeSet<DomainId>),
    /// Time has passed.
    Tick,
    /// This is what a look at these domains found, in words; it took that long.
    Looked { differences: BTreeMap<DomainId, Vec<String>>, took: Duration },
}

/// What a watch wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Look at these.
    Look(BTreeSet<DomainId>),
    /// Say that these differ.
    Report(Vec<String>),
    /// Put these back.
    Repair(BTreeSet<DomainId>),
    /// Say that this keeps coming back and is left alone.
    BackOff(String),
}

/// Over the domains of one network.
#[derive(Debug)]
pub(super) struct Watch {
    drift: Drift,
    domains: Vec<DomainId>,
    next: usize,
    due: Option<Instant>,
    put_back: BTreeMap<String, VecDeque<Instant>>,
    left_alone: BTreeMap<String, Instant>,
    reported: BTreeMap<DomainId, Vec<String>>,
}

impl Watch {
    pub(super) fn new(drift: Drift) -> Self {
        Self {
            drift,
            domains: Vec::new(),
            next: 0,
            due: None,
            put_back: BTreeMap::new(),
            left_alone: BTreeMap::new(),
            reported: BTreeMap::new(),
        }
    }

    /// Another file may want it otherwise.
    pub(super) fn set(&mut self, drift: Drift) {
        self.drift = drift;
    }

    /// Whether it is looked at all whether anything differs.
    pub(super) fn looks(&self) -> bool {
        self.drift != Drift::Off
    }

    /// Whether what differs is put back.
    pub(super) fn repairs(&self) -> bool {
        self.drift == Drift::Repair
    }

    /// What to do about this.
    pub(super) fn handle(&mut self, happening: Happening, now: Instant) -> Vec<Action> {
        match (self.drift, happening) {
            (_, Happening::Domains { all, new }) => self.meet(all, new, now),
            (Drift::Off, Happening::Stirred(_) | Happening::Tick | Happening::Looked { .. }) => Vec::new(),
            (Drift::Repair | Drift::Report, Happening::Stirred(domains)) => look(domains),
            (Drift::Repair | Drift::Report, Happening::Tick) => self.tick(now),
            (Drift::Repair, Happening::Looked { differences, took }) => {
                self.rest(took, now);
                self.judge(&differences, now)
            }
            (Drift::Report, Happening::Looked { differences, took }) => {
                self.rest(took, now);
                self.report(differences)
            }
        }
    }

    fn meet(&mut self, all: BTreeSet<DomainId>, new: BTreeSet<DomainId>, now: Instant) -> Vec<Action> {
        self.reported.retain(|domain, _| all.contains(domain));
        self.domains = all.into_iter().collect();
        self.due = Some(self.due.unwrap_or(now + ROUND));
        match self.drift {
            Drift::Repair | Drift::Report => look(new),
            Drift::Off => Vec::new(),
        }
    }

    /// The next of the round, as many as are due within a second.
    fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.put_back.retain(|_, times| {
            times.retain(|time| now.duration_since(*time) < FIGHT_WITHIN);
            !times.is_empty()
        });
        self.left_alone.retain(|_, until| *until > now);
        if self.domains.is_empty() || self.due.is_some_and(|due| due > now) {
            return Vec::new();
        }
        let count = self.domains.len().div_ceil(ROUND.as_secs() as usize);
        let turn = (0..count).map(|offset| self.domains[(self.next + offset) % self.domains.len()]);
        let turn = turn.collect();
        self.next = (self.next + count) % self.domains.len();
        let share = count as f64 / self.domains.len() as f64;
        self.due = Some(self.due.unwrap_or(now) + ROUND.mul_f64(share));
        look(turn)
    }

    fn rest(&mut self, took: Duration, now: Instant) {
        let rested = now + (took * REST_PER_LOOK).min(ROUND);
        self.due = self.due.map(|due| due.max(rested));
    }

    fn judge(&mut self, differences: &BTreeMap<DomainId, Vec<String>>, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut fresh = BTreeSet::new();
        for (domain, difference) in
            differences.iter().flat_map(|(id, all)| all.iter().map(move |each| (id, each)))
        {
            if self.left_alone.get(difference).is_some_and(|until| *until > now) {
                continue;
            }
            let times = self.put_back.entry(difference.clone()).or_default();
            times.retain(|time| now.duration_since(*time) < FIGHT_WITHIN);
            times.push_back(now);
            if times.len() > FIGHT_AFTER {
                self.put_back.remove(difference);
                self.left_alone.insert(difference.clone(), now + TRUCE);
                actions.push(Action::BackOff(difference.clone()));
            } else {
                fresh.insert(*domain);
            }
        }
        actions.extend((!fresh.is_empty()).then_some(Action::Repair(fresh)));
        actions
    }

    /// Each difference is told once, until it is gone.
    fn report(&mut self, differences: BTreeMap<DomainId, Vec<String>>) -> Vec<Action> {
        let mut news = Vec::new();
        for (domain, found) in differences {
            let known = self.reported.insert(domain, found.clone()).unwrap_or_default();
            news.extend(found.into_iter().filter(|difference| !known.contains(difference)));
        }
        if news.is_empty() { Vec::new() } else { vec![Action::Report(news)] }
    }
}

fn look(domains: BTreeSet<DomainId>) -> Vec<Action> {
    if domains.is_empty() { Vec::new() } else { vec![Action::Look(domains)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn domains(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<DomainId> {
        numbers.into_iter().filter_map(|number| DomainId::new(number).ok()).collect()
    }

    fn watch(drift: Drift, numbers: std::ops::Range<u32>, now: Instant) -> Watch {
        let mut watch = Watch::new(drift);
        let all = domains(numbers);
        watch.handle(Happening::Domains { all, new: BTreeSet::new() }, now);
        watch
    }

    fn repair() -> Action {
        Action::Repair(domains([1]))
    }

    fn found(what: &str) -> Happening {
        let differences = BTreeMap::from([(DomainId::new(1).unwrap(), vec![what.to_owned()])]);
        Happening::Looked { differences, took: Duration::ZERO }
    }

    #[test]
    fn what_stirs_is_looked_at_and_nothing_else() {
        let now = Instant::now();
        let mut watch = watch(Drift::Repair, 0..1000, now);
        assert_eq!(watch.handle(Happening::Stirred(domains([7])), now), [Action::Look(domains([7]))]);
        assert_eq!(watch.handle(found("x"), now), [repair()]);
        let nothing = Happening::Looked { differences: BTreeMap::new(), took: SECOND };
        assert_eq!(watch.handle(nothing, now), []);
    }

    #[test]
    fn domains_that_are_new_are_looked_at_once() {
        let now = Instant::now();
        let mut watch = Watch::new(Drift::Repair);
        let (all, new) = (domains(0..4), domains([3]));
        assert_eq!(watch.handle(Happening::Domains { all, new: new.clone() }, now), [Action::Look(new)]);
    }

    #[test]
    fn everything_is_looked_at_in_a_round() {
        for count in [1, 2, 29, 30, 31, 1000] {
            let mut now = Instant::now();
            let mut watch = watch(Drift::Repair, 0..count, now);
            now += ROUND;
            let mut seen = BTreeSet::new();
            let mut most = 0;
            // A second or two more, for time passes in whole ones.
            for _ in 0..ROUND.as_secs() + 2 {
                for action in watch.handle(Happening::Tick, now) {
                    let Action::Look(turn) = action else { panic!("{action:?}") };
                    most = most.max(turn.len());
                    seen.extend(turn);
                }
                now += SECOND;
            }
            assert_eq!(seen, domains(0..count), "{count}");
            assert_eq!(most, domains(0..count).len().div_ceil(30));
        }
    }

    #[test]
    fn looking_costs_a_two_hundredth_of_a_processor_at_most() {
        let mut now = Instant::now() + ROUND;
        let mut watch = watch(Drift::Repair, 0..3000, now - ROUND);
        let (mut spent, begin) = (Duration::ZERO, now);
        for _ in 0..2000 {
            if !watch.handle(Happening::Tick, now).is_empty() {
                let took = Duration::from_millis(100);
                spent += took;
                watch.handle(Happening::Looked { differences: BTreeMap::new(), took }, now);
            }
            now += SECOND;
        }
        let share = spent.as_secs_f64() / (now - begin).as_secs_f64();
        assert!((0.003..0.0051).contains(&share), "{share}");
    }

    #[test]
    fn a_fight_is_given_up_for_a_while() {
        let mut now = Instant::now();
        let mut watch = watch(Drift::Repair, 0..2, now);
        for _ in 0..FIGHT_AFTER {
            assert_eq!(watch.handle(found("x"), now), [repair()]);
            now += SECOND;
        }
        assert_eq!(watch.handle(found("x"), now), [Action::BackOff("x".into())]);
        assert_eq!(watch.handle(found("x"), now + SECOND), []);
        assert_eq!(watch.handle(found("y"), now + SECOND), [repair()], "others are put back");
        assert_eq!(watch.handle(found("x"), now + TRUCE), [repair()]);
    }

    #[test]
    fn what_comes_back_seldom_is_no_fight() {
        let mut now = Instant::now();
        let mut watch = watch(Drift::Repair, 0..2, now);
        for _ in 0..50 {
            assert_eq!(watch.handle(found("x"), now), [repair()]);
            now += Duration::from_secs(13);
        }
    }

    #[test]
    fn a_report_is_given_once_until_the_difference_is_gone() {
        let now = Instant::now();
        let mut watch = watch(Drift::Report, 0..2, now);
        let report = [Action::Report(vec!["x".into()])];
        assert_eq!(watch.handle(found("x"), now), report);
        assert_eq!(watch.handle(found("x"), now), []);
        let gone = BTreeMap::from([(DomainId::new(1).unwrap(), Vec::new())]);
        watch.handle(Happening::Looked { differences: gone, took: Duration::ZERO }, now);
        assert_eq!(watch.handle(found("x"), now), report);
    }

    #[test]
    fn off_does_not_look() {
        let now = Instant::now();
        let mut watch = watch(Drift::Off, 0..2, now);
        assert_eq!(watch.handle(Happening::Stirred(domains([1])), now), []);
        assert_eq!(watch.handle(Happening::Tick, now + ROUND), []);
    }
}
