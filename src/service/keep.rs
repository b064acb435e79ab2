//! What to do about services. Pure: what happens and the time go in, actions come out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::model::{Restart, Service, ServiceName};
use crate::status::{ServiceState, ServiceView};

/// How long a service may take to end when it is asked to (docker-compose-stop(1) has the same).
const GRACE: Duration = Duration::from_secs(10);
/// The rest before a service is started again for the first time; doubled each time.
const FIRST_REST: Duration = Duration::from_millis(100);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After so long a life a service that ends has not failed again, but for the first time.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// What happens.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// These are wanted from now on, and no others.
    Wanted(Vec<Service>),
    /// This one is to be killed, and to stay so.
    Kill(ServiceName),
    /// This one is to run.
    Start(ServiceName),
    /// It has a process, which is about to become the program.
    Spawned(ServiceName, i32),
    /// The process has become the program.
    Became(ServiceName),
    /// Others may count on it.
    Ready(ServiceName),
    /// It has ended with this status, or has not even begun.
    Ended(ServiceName, u8),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Spawn(Service),
    Signal(i32, Signal),
}

/// The services of one network.
#[derive(Debug, Default)]
pub(super) struct Keep {
    kept: BTreeMap<ServiceName, Kept>,
}

#[derive(Debug)]
struct Kept {
    service: Service,
    state: State,
    fate: Fate,
    restarts: u32,
    /// How often it has ended after a short life, one after another.
    failures: u32,
    status: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    /// Its process is being made.
    Spawning,
    Starting {
        pid: i32,
        since: Instant,
        became: bool,
    },
    Ready {
        pid: i32,
        since: Instant,
    },
    Stopping {
        pid: i32,
        kill_at: Option<Instant>,
    },
    Resting {
        until: Instant,
    },
    Ended,
}

/// What shall become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Runs,
    Killed,
    Goes,
    Becomes(Box<Service>),
}

impl Keep {
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn has(&self, name: &ServiceName) -> bool {
        self.kept.contains_key(name)
    }

    /// What to do about this.
    pub(super) fn handle(&mut self, happening: Happening, now: Instant) -> Vec<Action> {
        match happening {
            Happening::Wanted(services) => self.want(services),
            Happening::Kill(name) => self.with(&name, |kept| kept.fate = Fate::Killed),
            Happening::Start(name) => self.with(&name, Kept::start),
            Happening::Spawned(name, pid) => {
                self.with(&name, |kept| kept.state = State::Starting { pid, since: now, became: false });
            }
            Happening::Became(name) => self.with(&name, Kept::become_program),
            Happening::Ready(name) => self.with(&name, Kept::be_ready),
            Happening::Ended(name, status) => self.with(&name, |kept| kept.end(status, now)),
            Happening::Tick => {}
        }
        self.settle(now)
    }

    /// Services whose process has been made and that are not ready: the service, its process, and whether that is the
    /// program yet.
    pub(super) fn starting(&self) -> Vec<(Service, i32, bool)> {
        let starting = |kept: &Kept| {
            let State::Starting { pid, became, .. } = kept.state else { return None };
            Some((kept.service.clone(), pid, became))
        };
        self.kept.values().filter_map(starting).collect()
    }

    /// When time makes a difference next.
    pub(super) fn due(&self) -> Option<Instant> {
        let due = |kept: &Kept| match kept.state {
            State::Stopping { kill_at, .. } => kill_at,
            State::Resting { until } => Some(until),
            State::Waiting | State::Spawning | State::Starting { .. } => None,
            State::Ready { .. } | State::Ended => None,
        };
        self.kept.values().filter_map(due).min()
    }

    pub(super) fn views(&self, now: Instant) -> Vec<ServiceView> {
        self.kept.values().map(|kept| kept.view(now)).collect()
    }

    fn with(&mut self, name: &ServiceName, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.kept.get_mut(name) {
            change(kept);
        }
    }

    /// Who is as it was goes on.
    fn want(&mut self, services: Vec<Service>) {
        let names: BTreeSet<_> = services.iter().map(|service| service.name.clone()).collect();
        for (_, kept) in self.kept.iter_mut().filter(|(name, _)| !names.contains(name)) {
            kept.fate = Fate::Goes;
        }
        for service in services {
            match self.kept.get_mut(&service.name) {
                Some(kept) if kept.service == service => {
                    if kept.fate != Fate::Killed {
                        kept.fate = Fate::Runs;
                    }
                }
                Some(kept) => kept.fate = Fate::Becomes(Box::new(service)),
                None => drop(self.kept.insert(service.name.clone(), Kept::new(service))),
            }
        }
    }

    /// Everything that can be done now.
    fn settle(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.kept.retain(|_, kept| kept.fate != Fate::Goes || kept.pid().is_some() || kept.is_spawning());
        let names: Vec<_> = self.kept.keys().cloned().collect();
        for name in &names {
            let (waited_for, can_start) = (self.is_waited_for(name), self.can_start(name));
            let Some(kept) = self.kept.get_mut(name) else { continue };
            actions.extend(kept.settle(waited_for, can_start, now));
        }
        actions
    }

    /// Whether somebody who depends on it is yet to end first.
    fn is_waited_for(&self, name: &ServiceName) -> bool {
        let ends = |kept: &Kept| kept.fate == Fate::Goes && kept.pid().is_some();
        self.kept.values().any(|kept| ends(kept) && kept.service.depends_on.contains(name))
    }

    fn can_start(&self, name: &ServiceName) -> bool {
        let Some(kept) = self.kept.get(name) else { return false };
        kept.service.depends_on.iter().all(|on| self.kept.get(on).is_some_and(Kept::can_be_counted_on))
    }
}

impl Kept {
    fn new(service: Service) -> Self {
        Self { service, state: State::Waiting, fate: Fate::Runs, restarts: 0, failures: 0, status: None }
    }

    fn pid(&self) -> Option<i32> {
        match self.state {
            State::Starting { pid, .. } | State::Ready { pid, .. } | State::Stopping { pid, .. } => Some(pid),
            State::Waiting | State::Spawning | State::Resting { .. } | State::Ended => None,
        }
    }

    fn is_spawning(&self) -> bool {
        self.state == State::Spawning
    }

    fn can_be_counted_on(&self) -> bool {
        match self.state {
            State::Ready { .. } => true,
            State::Ended => self.service.ready.is_none() && self.status == Some(0),
            State::Waiting | State::Spawning | State::Starting { .. } => false,
            State::Stopping { .. } | State::Resting { .. } => false,
        }
    }

    fn start(&mut self) {
        self.fate = Fate::Runs;
        self.failures = 0;
        if matches!(self.state, State::Ended | State::Resting { .. }) {
            self.state = State::Waiting;
        }
    }

    fn become_program(&mut self) {
        if let State::Starting { pid, since, .. } = self.state {
            self.state = match self.service.ready {
                Some(_) => State::Starting { pid, since, became: true },
                None => State::Ready { pid, since },
            };
        }
    }

    fn be_ready(&mut self) {
        if let State::Starting { pid, since, .. } = self.state {
            self.state = State::Ready { pid, since };
        }
    }

    fn end(&mut self, status: u8, now: Instant) {
        let lived = match self.state {
            State::Starting { since, .. } | State::Ready { since, .. } => now.duration_since(since),
            State::Waiting | State::Spawning | State::Stopping { .. } => Duration::ZERO,
            State::Resting { .. } | State::Ended => Duration::ZERO,
        };
        self.failures = if lived < LONG_LIFE { self.failures + 1 } else { 1 };
        self.status = Some(status);
        let again = match self.service.restart {
            Restart::No => false,
            Restart::OnFailure => status != 0,
            Restart::Always => true,
        };
        self.state = match (&self.fate, self.state) {
            // It was stopped for a change that has been taken back.
            (Fate::Runs, State::Stopping { .. }) => State::Waiting,
            (Fate::Runs, _) if again => State::Resting { until: now + rest_after(self.failures) },
            (Fate::Runs | Fate::Killed | Fate::Goes | Fate::Becomes(_), _) => State::Ended,
        };
    }

    fn settle(&mut self, waited_for: bool, can_start: bool, now: Instant) -> Option<Action> {
        if let (Fate::Becomes(next), None, false) = (&self.fate, self.pid(), self.is_spawning()) {
            *self = Self::new((**next).clone());
        }
        match (&self.fate, self.state) {
            (Fate::Runs, State::Waiting) if can_start => self.spawn(),
            (Fate::Runs, State::Resting { until }) if until <= now => {
                self.restarts += 1;
                self.spawn()
            }
            (Fate::Killed, State::Starting { pid, .. } | State::Ready { pid, .. }) => {
                self.state = State::Stopping { pid, kill_at: None };
                Some(Action::Signal(pid, Signal::SIGKILL))
            }
            (Fate::Killed, State::Resting { .. } | State::Waiting) => {
                self.state = State::Ended;
                None
            }
            (Fate::Goes | Fate::Becomes(_), State::Starting { pid, .. } | State::Ready { pid, .. })
                if !waited_for =>
            {
                self.state = State::Stopping { pid, kill_at: Some(now + GRACE) };
                Some(Action::Signal(pid, Signal::SIGTERM))
            }
            (_, State::Stopping { pid, kill_at: Some(time) }) if time <= now => {
                self.state = State::Stopping { pid, kill_at: None };
                Some(Action::Signal(pid, Signal::SIGKILL))
            }
            (Fate::Runs | Fate::Killed | Fate::Goes | Fate::Becomes(_), _) => None,
        }
    }

    fn spawn(&mut self) -> Option<Action> {
        self.state = State::Spawning;
        Some(Action::Spawn(self.service.clone()))
    }

    fn view(&self, now: Instant) -> ServiceView {
        let is_late = |since: Instant| {
            self.service.ready.as_ref().is_some_and(|ready| now.duration_since(since) >= ready.within)
        };
        let state = match (self.state, &self.fate) {
            (State::Starting { .. } | State::Ready { .. }, Fate::Goes | Fate::Becomes(_)) => {
                ServiceState::Stopping
            }
            (State::Waiting, _) => ServiceState::Waiting,
            (State::Starting { since, .. }, _) if is_late(since) => ServiceState::Late,
            (State::Spawning | State::Starting { .. }, _) => ServiceState::Starting,
            (State::Ready { .. }, _) => ServiceState::Ready,
            (State::Stopping { .. }, _) => ServiceState::Stopping,
            (State::Resting { .. }, _) => ServiceState::Restarting,
            (State::Ended, Fate::Killed) => ServiceState::Killed,
            (State::Ended, _) if self.can_be_counted_on() => ServiceState::Done,
            (State::Ended, _) => ServiceState::Failed,
        };
        ServiceView {
            name: self.service.name.to_string(),
            domain: self.service.domain.number(),
            state,
            pid: self.pid().and_then(|pid| u32::try_from(pid).ok()),
            restarts: self.restarts,
            status: self.status,
        }
    }
}

/// The rest after so many failures.
fn rest_after(failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(10));
    (FIRST_REST * doubled).min(LONGEST_REST)
}

#[cfg(test)]
mod tests;
