//! `rdom test FILE...`: each file in a private copy of its own, in parallel; one line a test, failures again at the end.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::live::Live;
use super::run::private_copy;
use super::say::{count, say};
use super::trouble::Trouble;
use super::{Common, Ended, file};
use crate::backend::BackendError;
use crate::backend::linux::{Namespace, Survey};
use crate::model::{DomainId, InterfaceName};
use crate::spec::Test;
use crate::status::SocketTable;
use crate::suite::{self, Ground, Verdict};

#[derive(Debug, Args)]
pub(super) struct Words {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many files at once; without it, one a processor
    #[arg(short, long)]
    jobs: Option<usize>,
    /// Run the one file's tests here and print verdicts, a line of JSON each: what each copy is started with
    #[arg(long, hide = true)]
    verdicts: bool,
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    match (words.verdicts, words.files.as_slice()) {
        (true, [file]) => one_file(file, common),
        (_, files) => all_files(files, words.jobs, common),
    }
}

fn one_file(path: &Path, common: &Common) -> Ended {
    let document = file::read(Some(path))?;
    let tests = document.lowered.tests.clone();
    let judge = || verdicts(&tests, common).map_or_else(Trouble::tell, |()| 0);
    let status = private_copy(&document, Trouble::tell, judge)?;
    Ok(ExitCode::from(status))
}

fn verdicts(tests: &[Test], common: &Common) -> Result<(), Trouble> {
    let ground = LiveGround::of(Live::find(common)?)?;
    for test in tests {
        let verdict = suite::run(test, &ground);
        say(serde_json::to_string(&verdict).map_err(Trouble::failed)?);
    }
    Ok(())
}

/// The domains of a live network.
struct LiveGround {
    live: Live,
    survey: Survey,
}

impl LiveGround {
    fn of(live: Live) -> Result<Self, Trouble> {
        let survey = live.survey()?;
        Ok(Self { live, survey })
    }
}

impl Ground for LiveGround {
    fn namespace(&self, domain: DomainId) -> Option<&Namespace> {
        self.survey.namespaces().domain(domain).map(|place| &place.namespace)
    }

    fn device(&self, domain: DomainId) -> Option<InterfaceName> {
        let place = self.survey.namespaces().domain(domain)?;
        (!place.record.isolation.has_namespace()).then(|| InterfaceName::of_vrf(domain))
    }

    fn sockets(&self, domain: DomainId) -> Result<SocketTable, BackendError> {
        self.survey.socket_table(domain)
    }

    fn command(&self, domain: DomainId, words: &[String]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["exec", "-n", self.live.name.as_str(), "-T", &domain.to_string(), "--"]).args(words);
        command
    }
}

/// The exit status of a file that needs what this system does not permit or does not have.
const UNSUPPORTED: u8 = 4;

/// What came of one file.
#[derive(Debug, Serialize)]
struct FileVerdict {
    file: String,
    verdicts: Vec<Verdict>,
    /// The exit status of the copy: 0 unless its tests could not be run.
    status: u8,
    /// What it said of that.
    trouble: String,
}

fn all_files(files: &[PathBuf], jobs: Option<usize>, common: &Common) -> Ended {
    let started = Instant::now();
    let jobs = jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let waiting = Mutex::new(files.iter().enumerate().collect::<VecDeque<_>>());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs.min(files.len()) {
            scope.spawn(|| {
                while let Some((number, path)) = next(&waiting) {
                    let verdict = in_a_copy(path, common);
                    if let Ok(mut done) = done.lock() {
                        done.push((number, verdict));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(number, _)| *number);
    let done: Vec<_> = done.into_iter().map(|(_, verdict)| verdict).collect();
    if common.json {
        say(serde_json::to_string_pretty(&done).map_err(Trouble::failed)?);
    } else {
        summarise(&done, started);
    }
    Ok(ExitCode::from(worst(&done)))
}

fn next<'a>(waiting: &Mutex<VecDeque<(usize, &'a PathBuf)>>) -> Option<(usize, &'a PathBuf)> {
    waiting.lock().ok()?.pop_front()
}

fn in_a_copy(path: &Path, common: &Common) -> FileVerdict {
    let file = path.display().to_string();
    let failed = |error: std::io::Error| FileVerdict {
        file: file.clone(),
        verdicts: Vec::new(),
        status: 1,
        trouble: error.to_string(),
    };
    let mut command = Command::new("/proc/self/exe");
    command.args(["test", "--verdicts"]).arg(path).stdin(Stdio::null());
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    match spawned.and_then(|child| heard(child, &file, common)) {
        Ok(verdict) => verdict,
        Err(error) => failed(error),
    }
}

/// Reads verdicts as they come, and shows each.
fn heard(mut child: Child, file: &str, common: &Common) -> std::io::Result<FileVerdict> {
    let errors = child.stderr.take();
    let errors = thread::spawn(move || errors.map(std::io::read_to_string).transpose());
    let mut verdicts = Vec::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        let verdict: Verdict = serde_json::from_str(&line?)?;
        if !common.json {
            say(line_of(file, &verdict));
        }
        verdicts.push(verdict);
    }
    let status = crate::exec::status_of(child.wait()?);
    let trouble = errors.join().ok().and_then(Result::ok).flatten().unwrap_or_default();
    Ok(FileVerdict { file: file.to_owned(), verdicts, status, trouble })
}

fn line_of(file: &str, verdict: &Verdict) -> String {
    let word = if verdict.passed() { "PASS" } else { "FAIL" };
    let Verdict { name, duration_secs, .. } = verdict;
    format!("{word:>12} [{duration_secs:>8.3}s] {file}  {name}")
}

fn summarise(done: &[FileVerdict], started: Instant) {
    let failed = done.iter().flat_map(|file| file.verdicts.iter().map(move |verdict| (file, verdict)));
    let failed: Vec<_> = failed.filter(|(_, verdict)| !verdict.passed()).collect();
    say("------------");
    for (file, verdict) in &failed {
        let Verdict { domain, asserted, line, failure, .. } = verdict;
        say(line_of(&file.file, verdict));
        say(format_args!("  {}:{line}: in domain {domain}", file.file));
        say(format_args!("  expected: {asserted}"));
        say(format_args!(
            "  seen:     {}",
            failure.as_deref().unwrap_or_default().replace('\n', "\n            ")
        ));
    }
    for file in done.iter().filter(|file| file.status != 0) {
        let (word, why) = match file.status {
            UNSUPPORTED => ("UNSUPPORTED", "this system lacks what it needs"),
            _ => ("ERROR", "could not be run"),
        };
        say(format_args!("{word:>12} {}: {why}\n{}", file.file, file.trouble.trim_end()));
    }
    let run: usize = done.iter().map(|file| file.verdicts.len()).sum();
    let (seconds, broken) = (started.elapsed().as_secs_f64(), failed.len());
    let what = format!("{} in {}", count(run, "test"), count(done.len(), "file"));
    let unrun = done.iter().filter(|file| file.status != 0).count();
    let errors =
        if unrun == 0 { String::new() } else { format!(", {} could not be run", count(unrun, "file")) };
    say(format_args!(
        "{:>12} [{seconds:>8.3}s] {what}: {} passed, {broken} failed{errors}",
        "Summary",
        run - broken
    ));
}

/// 1 if a test failed, else the status of a file that could not be run, 4 only if no other; else 0.
fn worst(done: &[FileVerdict]) -> u8 {
    if done.iter().any(|file| file.verdicts.iter().any(|verdict| !verdict.passed())) {
        return 1;
    }
    let broken = done.iter().map(|file| file.status).filter(|&status| status != 0);
    broken.min_by_key(|&status| status == UNSUPPORTED).unwrap_or(0)
}
