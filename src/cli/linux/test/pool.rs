//! Copies as processes: so many at a time, each heard until it ends, all of them ended by Ctrl-C.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};
use std::time::Instant;

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getppid};

use super::copy::Said;
use super::{Candidate, Words};
use crate::cli::trouble::Trouble;
use crate::exec::status_of;
use crate::suite::{FileReport, Kept, Verdict};

/// One run of one file.
pub(super) struct Job<'f> {
    pub(super) file: &'f Candidate,
    /// Which run it is, if there are several.
    pub(super) run: Option<usize>,
}

impl Job<'_> {
    /// Its report before it has been run.
    pub(super) fn report(&self) -> FileReport {
        FileReport::new(self.file.name.as_str(), self.run, self.file.tests.as_ref().map_or(0, Vec::len))
    }
}

/// What is heard of a job, which is named by its number.
pub(super) enum Event {
    Verdict(usize, Verdict),
    Ended(usize, Box<FileReport>),
}

/// Processes that make copies.
pub(super) struct Pool {
    workers: usize,
    arguments: Vec<OsString>,
    next: AtomicUsize,
    running: Arc<Running>,
}

impl Pool {
    /// For so many jobs. From here on Ctrl-C, SIGTERM and SIGHUP end copies and not this process, which has one thread
    /// yet.
    pub(super) fn new(jobs: usize, words: &Words, captures: Option<&Path>) -> Result<Self, Trouble> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        // A copy waits more than it works.
        let workers = words.jobs.unwrap_or(2 * processors).min(jobs);
        let filters = words.filter.iter().map(|filter| option("--filter=", filter));
        let keep = words.keep_on_fail.then(|| "--keep-on-fail".into());
        let captures = captures.into_iter().map(|path| option("--captures=", path));
        let running = Arc::new(Running::default());
        Running::heed_signals(&running).map_err(Trouble::failed)?;
        let substitution = words.substitution.arguments().map(OsString::from);
        let arguments = filters.chain(keep).chain(captures).chain(substitution).collect();
        Ok(Self { workers, arguments, next: AtomicUsize::new(0), running })
    }

    /// Starts the jobs; `tell` is dropped with the last of them. Copies that are kept die with the thread that started
    /// them, so it waits until the user has ended them.
    pub(super) fn start<'s, 'e: 's>(
        &'e self,
        scope: &'s Scope<'s, 'e>,
        jobs: &'e [Job<'_>],
        tell: Sender<Event>,
    ) {
        for _ in 0..self.workers {
            let tell = tell.clone();
            scope.spawn(move || {
                let mut kept = Vec::new();
                while let Some((number, job)) = self.next(jobs) {
                    let report = self.run(number, job, &tell, &mut kept);
                    let _ = tell.send(Event::Ended(number, Box::new(report)));
                }
                drop(tell);
                kept.into_iter().for_each(|child| drop(self.running.wait_for(child)));
            });
        }
    }

    fn next<'j, 'f>(&self, jobs: &'j [Job<'f>]) -> Option<(usize, &'j Job<'f>)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        jobs.get(number).filter(|_| !self.running.is_over()).map(|job| (number, job))
    }

    fn run(&self, number: usize, job: &Job<'_>, tell: &Sender<Event>, kept: &mut Vec<Child>) -> FileReport {
        let started = Instant::now();
        let mut report = job.report();
        if let Err(unreadable) = &job.file.tests {
            (report.status, report.trouble) = (unreadable.status, unreadable.trouble.clone());
            return report;
        }
        let heard = self.spawn(job).and_then(|child| {
            self.hear(child, &mut report, |verdict| drop(tell.send(Event::Verdict(number, verdict))))
        });
        match heard {
            Ok(left) => kept.extend(left),
            Err(error) => {
                (report.status, report.trouble) =
                    (1, format!("rdom: cannot run the process of the copy: {error}"))
            }
        }
        report.verdicts.sort_by_key(|verdict| verdict.number);
        report.duration_secs = started.elapsed().as_secs_f64();
        if self.running.is_over() && report.verdicts.len() < report.tests {
            report.interrupted()
        } else {
            report
        }
    }

    fn spawn(&self, job: &Job<'_>) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.args(["test", "--inside"]).args(&self.arguments).arg("--").arg(&job.file.path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C at a terminal is for this process alone, which tells its copies.
        command.process_group(0);
        let parent = nix::unistd::getpid();
        // Two system calls, which may be made after a fork.
        unsafe { command.pre_exec(move || die_with(parent)) };
        let mut child = command.spawn()?;
        self.running.add(&child);
        if let (Some(mut stdin), Some(text)) = (child.stdin.take(), &job.file.text) {
            // Who does not read it says why.
            let _ = stdin.write_all(text.as_bytes());
        }
        Ok(child)
    }

    /// Reads what a copy says until it ends, or until it says that it is kept: then its process is returned.
    fn hear(
        &self,
        mut child: Child,
        report: &mut FileReport,
        mut tell: impl FnMut(Verdict),
    ) -> io::Result<Option<Child>> {
        let errors = child.stderr.take().map(drain);
        let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
        for line in lines {
            match serde_json::from_str(&line?)? {
                Said::Verdict(verdict) => {
                    tell(verdict.clone());
                    report.verdicts.push(verdict);
                }
                Said::Kept => {
                    report.kept = Some(kept(&child));
                    return Ok(Some(child));
                }
            }
        }
        report.status = status_of(self.running.wait_for(child)?);
        report.trouble = errors.and_then(|errors| errors.join().ok()).unwrap_or_default();
        Ok(None)
    }
}

/// An option with its value in one word, for the value may begin as an option does.
fn option(name: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut word = OsString::from(name);
    word.push(value);
    word
}

/// Asks to be killed when the parent dies (prctl(2), PR_SET_PDEATHSIG), which may have happened already.
fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    match getppid() == parent {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// How to get into a copy, and how to end it. Its process 1 is that child of the process that made it which has
/// processes of its own.
fn kept(child: &Child) -> Kept {
    let maker = child.id();
    let children = fs::read_to_string(format!("/proc/{maker}/task/{maker}/children")).unwrap_or_default();
    let first = children.split_whitespace().find(|pid| is_apart(pid, "pid")).unwrap_or_default();
    let user = if is_apart(first, "user") { "-U --preserve-credentials " } else { "" };
    let enter = format!("nsenter -t {first} {user}-n -m -p sh");
    Kept { enter, end: format!("kill {maker}, or Ctrl-C for all") }
}

/// Whether a process is in another namespace of this type than we are.
fn is_apart(pid: &str, namespace: &str) -> bool {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).ok();
    of(pid) != of("self")
}

/// The processes that run, and whether they shall.
#[derive(Default)]
struct Running {
    over: AtomicBool,
    pids: Mutex<BTreeSet<i32>>,
}

impl Running {
    /// Ends everything at the first signal, on a thread of its own.
    fn heed_signals(running: &Arc<Self>) -> io::Result<()> {
        let set = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        set.thread_block()?;
        let running = Arc::clone(running);
        let heed = move || {
            while set.wait().is_ok() {
                running.end();
            }
        };
        thread::Builder::new().name("signals".into()).spawn(heed).map(|_| ())
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn end(&self) {
        let pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        self.over.store(true, Ordering::SeqCst);
        for &pid in pids.iter() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// One more; it ends at once if all is over.
    fn add(&self, child: &Child) {
        let mut pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = child.id() as i32;
        pids.insert(pid);
        if self.is_over() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Waits for its end. Its number is another's only after it has been struck off.
    fn wait_for(&self, mut child: Child) -> io::Result<std::process::ExitStatus> {
        let pid = child.id() as i32;
        let _ = waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        child.wait()
    }
}
