//! Verdicts as people and machines read them: lines in the manner of nextest, JUnit, TAP, annotations of GitHub.
//!
//! Pure: what is made here is text, whoever writes it where.

mod github;
mod junit;
#[cfg(test)]
mod samples;
mod tap;

pub use github::github;
pub use junit::junit;
pub use tap::tap;

use std::fmt::{self, Write};

use crate::status::{FileReport, Outcome, Verdict};

/// Width of the column in which the word for an outcome stands.
const WORD: usize = 12;

impl Verdict {
    /// The one line that tells of it; `label` is that of its file.
    pub fn line(&self, label: &str) -> String {
        let word = if self.passed() { "PASS" } else { "FAIL" };
        format!("{word:>WORD$} [{:>8.3}s] {label}  {}", self.duration_secs, self.title())
    }

    /// Its name, and what it asserts where the name does not say so.
    pub fn title(&self) -> String {
        match self.name.contains(&self.asserted) {
            true => self.name.clone(),
            false => format!("{} ({})", self.name, self.asserted),
        }
    }

    /// What was expected and what was seen, each line indented.
    fn evidence(&self, file: &str) -> String {
        let seen = self.failure.as_deref().unwrap_or_default().replace('\n', "\n            ");
        let Self { line, asserted, .. } = self;
        let domain = self.domain.map(|domain| format!(" in domain {domain}")).unwrap_or_default();
        let packets = self.capture_line("  packets:  ");
        let shown = self.surroundings().replace('\n', "\n  ");
        format!("  {file}:{line}:{domain}\n  expected: {asserted}\n  seen:     {seen}\n{packets}  {shown}")
            .trim_end()
            .to_owned()
            + "\n"
    }

    /// A line with the path of its capture behind this; nothing if there is none.
    fn capture_line(&self, before: &str) -> String {
        self.capture.as_ref().map(|path| format!("{before}{}\n", path.display())).unwrap_or_default()
    }

    /// What the network looked like, in lines; nothing if the assertion held.
    fn surroundings(&self) -> String {
        self.evidence.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Everything that is said once all is over: failures again, files that could not be run, copies that were kept, and
/// how many of what. `seconds` is how long all of it took.
pub fn summary(reports: &[FileReport], seconds: f64) -> String {
    let mut text = String::from("------------\n");
    for report in reports {
        let _ = write_failures(&mut text, report);
    }
    for report in reports {
        let _ = write_trouble(&mut text, report);
    }
    let _ = writeln!(text, "{:>WORD$} [{seconds:>8.3}s] {}", "Summary", Count::of(reports));
    for report in reports {
        let _ = write_kept(&mut text, report);
    }
    text
}

fn write_failures(text: &mut String, report: &FileReport) -> fmt::Result {
    for verdict in report.failures() {
        writeln!(text, "{}", verdict.line(&report.label()))?;
        text.push_str(&verdict.evidence(&report.file));
    }
    Ok(())
}

fn write_trouble(text: &mut String, report: &FileReport) -> fmt::Result {
    let (word, why) = match report.outcome() {
        Outcome::Complete | Outcome::Interrupted => return Ok(()),
        Outcome::Unsupported => ("UNSUPPORTED", "this system lacks what it needs"),
        Outcome::Broken => ("ERROR", "could not be run"),
    };
    writeln!(text, "{word:>WORD$} {}: {why}\n{}", report.label(), report.trouble.trim_end())
}

fn write_kept(text: &mut String, report: &FileReport) -> fmt::Result {
    let Some(kept) = &report.kept else { return Ok(()) };
    writeln!(text, "{:>WORD$} {}: the copy is still there", "KEPT", report.label())?;
    writeln!(text, "  enter it: {}\n  end it:   {}", kept.enter, kept.end)
}

/// How many of what.
struct Count {
    files: usize,
    run: usize,
    failed: usize,
    unrun: usize,
    unsupported: usize,
    broken: usize,
    interrupted: bool,
}

impl Count {
    fn of(reports: &[FileReport]) -> Self {
        let files = |outcome| reports.iter().filter(|report| report.outcome() == outcome).count();
        let run = reports.iter().map(|report| report.verdicts.len()).sum();
        Self {
            files: reports.len(),
            run,
            failed: reports.iter().map(|report| report.failures().count()).sum(),
            unrun: reports.iter().map(|report| report.tests).sum::<usize>().saturating_sub(run),
            unsupported: files(Outcome::Unsupported),
            broken: files(Outcome::Broken),
            interrupted: files(Outcome::Interrupted) > 0,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count =
            |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
        write!(f, "{} in {}: ", count(self.run, "test"), count(self.files, "file"))?;
        write!(f, "{} passed, {} failed", self.run - self.failed, self.failed)?;
        if self.unrun > 0 {
            write!(f, ", {} not run", self.unrun)?;
        }
        if self.unsupported > 0 {
            write!(f, ", {} not supported here", count(self.unsupported, "file"))?;
        }
        if self.broken > 0 {
            write!(f, ", {} could not be run", count(self.broken, "file"))?;
        }
        f.write_str(if self.interrupted { ", interrupted" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::samples::reports;
    use super::*;

    #[test]
    fn the_summary_tells_failures_again_and_counts() {
        let text = summary(&reports(), 1.5);
        let failure =
            "        FAIL [   0.250s] dir/a.yaml (run 2)  a, b: <c> & #1 \\ \"d\" (ping 192.168.5.2)
  dir/a.yaml:21: in domain 1
  expected: ping 192.168.5.2
  seen:     no answer
            ";
        let packets = "\n  packets:  /tmp/a-line21.pcapng\n  the way, domain by domain:\n";
        assert!(text.contains(packets), "{text}");
        assert!(text.starts_with(&format!("------------\n{failure}")), "{text}");
        let trouble = " UNSUPPORTED b.yaml: this system lacks what it needs
rdom: 1/x: this kernel has no links of kind dummy
help: another kernel
       ERROR c.yaml: could not be run
error: unknown key `x`
";
        assert!(text.contains(trouble), "{text}");
        let counts = "     Summary [   1.500s] 2 tests in 4 files: 1 passed, 1 failed, 7 not run, \
                      1 file not supported here, 1 file could not be run, interrupted\n";
        assert!(text.ends_with(counts), "{text}");
    }
}
