//! `rdom test FILE...`: each file in a private copy of its own, in parallel; one line a test, failures again at the end.
//!
//! This process reads files, starts copies (`pool`) and tells of verdicts; each copy is this program again (`copy`).

mod copy;
mod pool;

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::{Args, ValueEnum};
use nix::unistd::mkdtemp;
use serde::Serialize;

use super::file;
use super::say::{answer, complain, say};
use super::substitute::Substitution;
use super::trouble::{Trouble, paint};
use super::{Common, Ended, print_json, unused};
use crate::spec::{self, Lowered, Test};
use crate::suite::{self, FileReport};
use pool::{Event, Job, Pool};

#[derive(Debug, Args)]
#[command(arg = unused("network"))]
pub(super) struct Words {
    /// The files, `-` for standard input; without any ./domains.yaml or /etc/rdom/domains.yaml
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How many copies at once; without it, two a processor
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Only tests whose file, line or name contains this, as the list shows them; may be given several times
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Run each file this often, each time in a copy of its own
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    repeat: usize,
    /// List the tests, a line each, and run none
    #[arg(long)]
    list: bool,
    /// Write a JUnit report to this file as well
    #[arg(long, value_name = "OUT.xml")]
    junit: Option<PathBuf>,
    /// Print TAP version 14 and nothing else
    #[arg(long)]
    tap: bool,
    /// Leave the copies in which a test failed as they are until Ctrl-C, and say how to get into them; captures too
    #[arg(long)]
    keep_on_fail: bool,
    /// Keep the packets of each failure, on its way and since its beginning, as a file of pcapng in this directory
    #[arg(long, value_name = "DIRECTORY")]
    captures: Option<PathBuf>,
    #[command(flatten)]
    substitution: Substitution,
    /// Run the one file's tests here and print what is seen, a line of JSON each: what each copy is started with
    #[arg(long, hide = true)]
    inside: bool,
}

/// What the verdicts are printed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Lines,
    Tap,
    Json,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err("a number from 1 up".to_owned()),
    }
}

pub(super) fn run(words: &Words, common: &Common) -> Ended {
    if words.inside {
        let file = words.files.first().ok_or_else(|| Trouble::usage("no file"))?;
        return copy::run(file, words);
    }
    let files = files(words)?;
    if words.list {
        return list(&files, common);
    }
    let chosen = files.iter().filter(|file| file.has_something_to_run()).count();
    if chosen == 0 && !words.filter.is_empty() {
        return Err(Trouble::usage(format!(
            "no test has {} in it: see rdom test --list",
            words.filter.join(" or ")
        )));
    }
    if chosen == 0 {
        return Err(Trouble::Usage {
            message: "nothing to test: no file has `tests:`".to_owned(),
            help: Some(
                "as `tests: [{in: 1, ping: 10.0.0.2}]`; rdom run FILE -- COMMAND needs none".to_owned(),
            ),
        });
    }
    // Before anything is run: who waits for minutes for a report shall not learn then that it cannot be written.
    let junit = words.junit.as_deref().map(super::create).transpose()?;
    run_all(&files, words, common, junit)
}

/// A file as it is before it is run.
struct Candidate {
    /// What to call it.
    name: String,
    path: PathBuf,
    /// What stands in for the path where it is standard input.
    text: Option<String>,
    /// The tests that are to be run, or why there are none.
    tests: Result<Vec<Listed>, Unreadable>,
}

/// A file that cannot be run: the exit status that says so, and what there is to say.
#[derive(Debug)]
struct Unreadable {
    status: u8,
    trouble: String,
}

/// One line of the list.
#[derive(Clone, Debug, Serialize)]
struct Listed {
    file: String,
    line: usize,
    name: String,
}

impl Listed {
    fn of(file: &str, test: &Test) -> Self {
        Self { file: file.to_owned(), line: test.place.line, name: test.name.clone() }
    }

    fn text(&self) -> String {
        format!("{}:{}  {}", self.file, self.line, self.name)
    }
}

impl Candidate {
    fn read(path: &Path, filters: &[String]) -> Self {
        let mut text = None;
        let tests = file::open(Some(path)).and_then(|source| {
            text = (path == Path::new("-")).then(|| source.text.clone());
            let lowered = spec::read(&source).map_err(|errors| Trouble::Diagnostics(Box::new(errors), 2))?;
            Ok(listed(&source.file, &lowered, filters))
        });
        let tests = tests.map_err(|trouble: Trouble| Unreadable {
            status: trouble.status(),
            trouble: trouble.text(paint()),
        });
        let name = if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() };
        Self { name, path: path.to_owned(), text, tests }
    }

    /// Whether it has tests, or an error to tell of.
    fn has_something_to_run(&self) -> bool {
        self.tests.as_ref().map_or(true, |tests| !tests.is_empty())
    }
}

fn files(words: &Words) -> Result<Vec<Candidate>, Trouble> {
    let usual = || file::usual_place().map(|path| vec![path]);
    let paths = if words.files.is_empty() { usual()? } else { words.files.clone() };
    Ok(paths.iter().map(|path| Candidate::read(path, &words.filter)).collect())
}

/// The tests of a file that a filter lets through; without filters all of them.
fn listed(file: &str, lowered: &Lowered, filters: &[String]) -> Vec<Listed> {
    let listed = lowered.all_tests().map(|test| Listed::of(file, test));
    listed.filter(|test| is_chosen(&test.text(), filters)).collect()
}

fn is_chosen(text: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| text.contains(filter.as_str()))
}

fn list(files: &[Candidate], common: &Common) -> Ended {
    let tests: Vec<_> = files.iter().filter_map(|file| file.tests.as_ref().ok()).flatten().collect();
    if common.json {
        super::print_json(&tests)?;
    } else {
        tests.iter().for_each(|test| say(test.text()));
    }
    let unreadable: Vec<_> = files.iter().filter_map(|file| file.tests.as_ref().err()).collect();
    unreadable.iter().for_each(|file| complain(&file.trouble));
    Ok(ExitCode::from(unreadable.iter().map(|file| file.status).max().unwrap_or(0)))
}

fn run_all(files: &[Candidate], words: &Words, common: &Common, junit: Option<File>) -> Ended {
    let started = Instant::now();
    let format = match (common.json, words.tap) {
        (true, true) => return Err(Trouble::usage("--json and --tap: one of them")),
        (true, false) => Format::Json,
        (false, true) => Format::Tap,
        (false, false) => Format::Lines,
    };
    let jobs = jobs_of(files, words);
    let captures = captures(words)?;
    let pool = Pool::new(jobs.len(), words, captures.as_deref())?;
    let mut reports: Vec<FileReport> = jobs.iter().map(|job| job.report().interrupted()).collect();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        pool.start(scope, &jobs, tell);
        for event in told {
            match event {
                Event::Verdict(job, verdict) if format == Format::Lines => {
                    say(verdict.line(&reports[job].label()));
                }
                Event::Verdict(..) => {}
                Event::Ended(job, report) => reports[job] = *report,
            }
        }
        tell_all(&reports, format, started)?;
        let Some(mut file) = junit else { return Ok(()) };
        let text = suite::junit(&reports, started.elapsed()).map_err(Trouble::failed)?;
        let unwritten = |error| Trouble::failed(format!("cannot write the JUnit report: {error}"));
        file.write_all(text.as_bytes()).map_err(unwritten)
    })?;
    if let (None, Some(directory)) = (&words.captures, captures) {
        // Where no packets were kept in it, it was made for nothing.
        let _ = fs::remove_dir(directory);
    }
    Ok(ExitCode::from(suite::exit_status(&reports)))
}

/// The directory for captures, if there shall be some: the one that was named, or a new one for copies that are kept.
fn captures(words: &Words) -> Result<Option<PathBuf>, Trouble> {
    let cannot = |path: &Path, why: io::Error| {
        Trouble::usage(format!("cannot make the directory {}: {why}", path.display()))
    };
    match &words.captures {
        Some(path) => {
            fs::create_dir_all(path).map_err(|error| cannot(path, error))?;
            Ok(Some(path.clone()))
        }
        None if words.keep_on_fail => {
            let new = env::temp_dir().join("rdom-test.XXXXXX");
            mkdtemp(&new).map(Some).map_err(|error| cannot(&new, error.into()))
        }
        None => Ok(None),
    }
}

fn jobs_of<'f>(files: &'f [Candidate], words: &Words) -> Vec<Job<'f>> {
    let runs = (1..=words.repeat).map(|run| (words.repeat > 1).then_some(run));
    let chosen = files.iter().filter(|file| file.has_something_to_run());
    let jobs = chosen.flat_map(|file| runs.clone().map(move |run| Job { file, run }));
    jobs.collect()
}

fn tell_all(reports: &[FileReport], format: Format, started: Instant) -> Result<(), Trouble> {
    match format {
        Format::Lines => say(suite::summary(reports, started.elapsed().as_secs_f64()).trim_end()),
        Format::Tap => answer(suite::tap(reports))?,
        Format::Json => drop(print_json(&reports)?),
    }
    let on_github = env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
    let annotations = suite::github(reports);
    if on_github && format == Format::Lines && !annotations.is_empty() {
        say(annotations.trim_end());
    }
    Ok(())
}
