//! The threads that carry packets: as many as there are processors, for all interfaces of the process together.
//!
//! A job is something to do whenever a descriptor is readable. Workers wait on one epoll(7) instance; each event goes
//! to one worker (EPOLLONESHOT), which runs that job until there is nothing left or its turn is over, and only then
//! lets the kernel report it again. So a job never runs twice at once, its packets stay in order, all processors
//! serve whichever interfaces are busy, buffers belong to workers and not to interfaces, and an idle interface
//! costs no thread. The threads begin with the first interface and end with the last.

use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};

use super::events::Events;
use super::scratch::Scratch;

/// One direction of a tunnel is one job: fewer threads would make two directions wait for each other.
const WORKERS_MIN: usize = 2;
/// More than this many interfaces at full load on one machine are not to be expected.
const WORKERS_MAX: usize = 64;

/// Something to do whenever a descriptor is readable.
pub(super) trait Job: Send + Sync {
    /// What must be readable. It stays the same and open for the job's life.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Does it, within a budget.
    fn run(&self, scratch: &mut Scratch) -> Next;

    /// It panicked, and will not be run again.
    fn failed(&self);
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It runs again when there is something to read.
    Again,
    /// Never.
    Over,
}

/// Names a job that was added.
#[derive(Debug)]
pub(super) struct JobId(u64);

/// Running workers.
pub(super) struct Workers {
    common: Arc<Common>,
    threads: Vec<JoinHandle<()>>,
}

struct Common {
    events: Events,
    jobs: Mutex<Jobs>,
    /// A job has returned.
    returned: Condvar,
}

#[derive(Default)]
struct Jobs {
    by_key: HashMap<u64, Entry>,
    last_key: u64,
    /// How many wait for a job to return.
    waiting: usize,
}

struct Entry {
    job: Arc<dyn Job>,
    is_running: bool,
}

impl Workers {
    /// Those of this process: the running ones, or new ones.
    pub(super) fn of_process() -> io::Result<Arc<Self>> {
        static RUNNING: Mutex<Weak<Workers>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workers) = running.upgrade() {
            return Ok(workers);
        }
        let workers = Arc::new(Self::start()?);
        *running = Arc::downgrade(&workers);
        Ok(workers)
    }

    /// Adds a job.
    pub(super) fn add(&self, job: Arc<dyn Job>) -> io::Result<JobId> {
        let mut jobs = self.common.jobs();
        jobs.last_key += 1;
        let key = jobs.last_key;
        self.common.events.add(job.descriptor(), event(key))?;
        jobs.by_key.insert(key, Entry { job, is_running: false });
        Ok(JobId(key))
    }

    /// Takes a job away, once it has returned: afterwards no worker holds it or its descriptor.
    pub(super) fn remove(&self, id: JobId) {
        let mut jobs = self.common.jobs();
        while jobs.by_key.get(&id.0).is_some_and(|entry| entry.is_running) {
            jobs.waiting += 1;
            jobs = self.common.returned.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            jobs.waiting -= 1;
        }
        if let Some(entry) = jobs.by_key.remove(&id.0) {
            self.common.events.take_away(entry.job.descriptor());
        }
    }

    fn start() -> io::Result<Self> {
        let common = Common { events: Events::new()?, jobs: Mutex::default(), returned: Condvar::new() };
        let mut workers = Self { common: Arc::new(common), threads: Vec::new() };
        let count = thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
        for number in 0..count.clamp(WORKERS_MIN, WORKERS_MAX) {
            let common = Arc::clone(&workers.common);
            let thread = thread::Builder::new().name(format!("wg-{number}"));
            workers.threads.push(thread.spawn(move || common.work())?);
        }
        Ok(workers)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.common.events.stop();
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl Common {
    fn work(&self) {
        let mut scratch = Scratch::new();
        let mut room = [EpollEvent::empty()];
        loop {
            let mut keys = match self.events.wait(&mut room, EpollTimeout::NONE) {
                Ok(Some(keys)) => keys,
                Ok(None) => return,
                Err(error) => return tracing::error!(%error, "a wireguard worker ends"),
            };
            let Some(key) = keys.next() else { continue };
            if let Some(job) = self.begin(key) {
                let next = catch_unwind(AssertUnwindSafe(|| job.run(&mut scratch))).unwrap_or_else(|_| {
                    // What lies there is of that interface, and not for the next one.
                    scratch = Scratch::new();
                    job.failed();
                    Next::Over
                });
                self.end(key, job, next);
            }
        }
    }

    fn begin(&self, key: u64) -> Option<Arc<dyn Job>> {
        let mut jobs = self.jobs();
        let entry = jobs.by_key.get_mut(&key)?;
        entry.is_running = true;
        Some(Arc::clone(&entry.job))
    }

    fn end(&self, key: u64, job: Arc<dyn Job>, next: Next) {
        let mut jobs = self.jobs();
        if let Some(entry) = jobs.by_key.get_mut(&key) {
            entry.is_running = false;
        }
        if next == Next::Again {
            self.events.rearm(job.descriptor(), event(key));
        }
        drop(job);
        // Without anybody who waits it would be a system call for nothing.
        if jobs.waiting > 0 {
            self.returned.notify_all();
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(key: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, key)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::sync::{Barrier, mpsc};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    use super::*;

    /// Does something in a worker while all others do it too.
    struct Together {
        ready: EventFd,
        all: Arc<Barrier>,
        task: fn(&mut Scratch),
        went_well: mpsc::Sender<bool>,
    }

    impl Job for Together {
        fn descriptor(&self) -> BorrowedFd<'_> {
            self.ready.as_fd()
        }

        fn run(&self, scratch: &mut Scratch) -> Next {
            self.all.wait();
            (self.task)(scratch);
            self.went_well.send(true).unwrap();
            Next::Over
        }

        fn failed(&self) {
            self.went_well.send(false).unwrap();
        }
    }

    /// In how many workers it went well.
    fn in_all(workers: &Workers, task: fn(&mut Scratch)) -> usize {
        let all = Arc::new(Barrier::new(workers.threads.len()));
        let (went_well, results) = mpsc::channel();
        for _ in &workers.threads {
            let ready = EventFd::from_value_and_flags(1, EfdFlags::EFD_NONBLOCK).unwrap();
            let (all, went_well) = (Arc::clone(&all), went_well.clone());
            workers.add(Arc::new(Together { ready, all, task, went_well })).unwrap();
        }
        results.iter().take(workers.threads.len()).filter(|went_well| *went_well).count()
    }

    #[test]
    fn what_a_job_left_when_it_panicked_is_nothing_to_the_next_one() {
        let workers = Workers::start().unwrap();
        let went_well = in_all(&workers, |scratch| {
            scratch.batch.push_packet(1);
            panic!("as is meant to be");
        });
        assert_eq!(went_well, 0);
        let went_well = in_all(&workers, |scratch| assert!(scratch.batch.is_empty()));
        assert_eq!(went_well, workers.threads.len());
    }
}
