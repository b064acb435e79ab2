use super::*;
use crate::model::{DomainId, Ready, Sign};

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn service(text: &str, depends_on: &[&str], restart: Restart) -> Service {
    Service {
        name: name(text),
        domain: DomainId::DEFAULT,
        command: vec![text.to_owned()],
        env: BTreeMap::new(),
        user: None,
        directory: "/".into(),
        ready: None,
        depends_on: depends_on.iter().map(|on| name(on)).collect(),
        restart,
    }
}

fn with_port(service: Service) -> Service {
    Service { ready: Some(Ready { sign: Sign::Tcp(80), within: SECOND }), ..service }
}

/// A keep whose processes come about at once.
struct World {
    keep: Keep,
    now: Instant,
    done: Vec<String>,
    pids: BTreeMap<ServiceName, i32>,
}

impl World {
    fn of(services: &[Service]) -> Self {
        let keep = Keep::default();
        let mut world = Self { keep, now: Instant::now(), done: Vec::new(), pids: BTreeMap::new() };
        world.tell(Happening::Wanted(services.to_vec()));
        world
    }

    fn tell(&mut self, happening: Happening) {
        for action in self.keep.handle(happening, self.now) {
            match action {
                Action::Spawn(service) => {
                    let pid = i32::try_from(self.pids.len()).unwrap() + 1;
                    self.done.push(format!("start {}", service.name));
                    self.pids.insert(service.name.clone(), pid);
                    self.tell(Happening::Spawned(service.name.clone(), pid));
                    self.tell(Happening::Became(service.name));
                }
                Action::Signal(pid, signal) => {
                    let (name, _) = self.pids.iter().find(|(_, own)| **own == pid).unwrap();
                    self.done.push(format!("{signal} {name}"));
                }
            }
        }
    }

    fn ends(&mut self, text: &str, status: u8) {
        self.tell(Happening::Ended(name(text), status));
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.tell(Happening::Tick);
    }

    /// What has been done since the last time that this was asked.
    fn did(&mut self) -> String {
        std::mem::take(&mut self.done).join(", ")
    }

    fn state(&self, text: &str) -> ServiceState {
        self.keep.views(self.now).into_iter().find(|view| view.name == text).unwrap().state
    }
}

#[test]
fn services_start_when_those_are_ready_that_they_depend_on() {
    let [setup, db] = ["setup", "db"].map(|name| service(name, &[], Restart::No));
    let web = service("web", &["db", "setup"], Restart::No);
    let mut world = World::of(&[web, with_port(db), setup]);
    assert_eq!(world.did(), "start db, start setup");
    world.ends("setup", 0);
    assert_eq!((world.did().as_str(), world.state("web")), ("", ServiceState::Waiting));
    world.tell(Happening::Ready(name("db")));
    assert_eq!(world.did(), "start web");
    assert_eq!((world.state("db"), world.state("setup")), (ServiceState::Ready, ServiceState::Done));
}

#[test]
fn nobody_starts_on_what_has_failed() {
    let setup = with_port(service("setup", &[], Restart::No));
    let mut world = World::of(&[service("web", &["setup"], Restart::No), setup]);
    world.did();
    world.ends("setup", 0);
    assert_eq!((world.state("setup"), world.state("web")), (ServiceState::Failed, ServiceState::Waiting));
    assert_eq!(world.did(), "");
}

#[test]
fn services_end_before_those_that_they_depend_on() {
    let db = service("db", &[], Restart::Always);
    let mut world = World::of(&[service("web", &["db"], Restart::Always), db]);
    assert_eq!(world.did(), "start db, start web");
    world.tell(Happening::Wanted(vec![]));
    assert_eq!(world.did(), "SIGTERM web");
    world.ends("web", 143);
    assert_eq!(world.did(), "SIGTERM db");
    world.passes(GRACE);
    assert_eq!(world.did(), "SIGKILL db");
    world.ends("db", 137);
    assert!(world.keep.is_empty());
}

#[test]
fn what_fails_again_and_again_rests_longer_each_time_and_not_for_ever() {
    let mut world = World::of(&[service("web", &[], Restart::OnFailure)]);
    world.did();
    let mut rests = Vec::new();
    for _ in 0..12 {
        world.ends("web", 1);
        let rest = world.keep.due().unwrap() - world.now;
        world.passes(rest - Duration::from_millis(1));
        assert_eq!(world.did(), "");
        world.passes(Duration::from_millis(1));
        assert_eq!(world.did(), "start web");
        rests.push(rest.as_millis());
    }
    assert_eq!(rests[..4], [100, 200, 400, 800]);
    assert_eq!(rests[10..], [60_000, 60_000]);
    world.passes(LONG_LIFE);
    world.ends("web", 1);
    assert_eq!(world.keep.due().unwrap() - world.now, FIRST_REST, "after a long life");
    world.passes(SECOND);
    world.ends("web", 0);
    assert_eq!((world.keep.due(), world.state("web")), (None, ServiceState::Done));
}

#[test]
fn only_what_changed_is_touched() {
    let [web, db] = ["web", "db"].map(|name| service(name, &[], Restart::No));
    let mut world = World::of(&[web.clone(), db.clone()]);
    world.did();
    let other = Service { command: vec!["other".into()], ..db.clone() };
    world.tell(Happening::Wanted(vec![web.clone(), other]));
    assert_eq!(world.did(), "SIGTERM db");
    world.ends("db", 143);
    assert_eq!(world.did(), "start db");
    world.tell(Happening::Wanted(vec![db.clone()]));
    assert_eq!(world.did(), "SIGTERM db, SIGTERM web");
    world.tell(Happening::Wanted(vec![web, db]));
    world.ends("web", 143);
    assert_eq!(world.did(), "start web", "what was stopped too early is started again");
}

#[test]
fn what_is_killed_stays_so_until_it_is_started() {
    let mut world = World::of(&[service("web", &[], Restart::Always)]);
    world.did();
    world.tell(Happening::Kill(name("web")));
    assert_eq!(world.did(), "SIGKILL web");
    world.ends("web", 137);
    world.passes(LONGEST_REST);
    assert_eq!((world.did().as_str(), world.state("web")), ("", ServiceState::Killed));
    world.tell(Happening::Start(name("web")));
    assert_eq!((world.did().as_str(), world.state("web")), ("start web", ServiceState::Ready));
}

#[test]
fn what_is_not_ready_in_time_is_said_to_be_late_and_may_still_become_so() {
    let mut world = World::of(&[with_port(service("web", &[], Restart::No))]);
    assert_eq!(world.state("web"), ServiceState::Starting);
    world.passes(SECOND);
    assert_eq!(world.state("web"), ServiceState::Late);
    world.tell(Happening::Ready(name("web")));
    assert_eq!(world.state("web"), ServiceState::Ready);
}
