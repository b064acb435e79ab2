//! Annotations, which GitHub shows beside the lines of the files: workflow commands, a line each
//! (docs.github.com, "Workflow commands for GitHub Actions").

use crate::status::{FileReport, Outcome, Verdict};

/// One annotation for each failure, each file that could not be run, and each that is not supported here.
pub fn github(reports: &[FileReport]) -> String {
    reports.iter().flat_map(|report| failures(report).chain(trouble(report))).collect()
}

fn failures(report: &FileReport) -> impl Iterator<Item = String> {
    report.failures().map(|verdict| failure(report, verdict))
}

fn failure(report: &FileReport, verdict: &Verdict) -> String {
    let said =
        format!("expected: {}\nseen: {}", verdict.asserted, verdict.failure.as_deref().unwrap_or_default());
    let place = format!("file={},line={}", property(&report.file), verdict.line);
    format!("::error {place},title={}::{}\n", property(&verdict.title()), data(&said))
}

fn trouble(report: &FileReport) -> Option<String> {
    let level = match report.outcome() {
        Outcome::Complete | Outcome::Interrupted => return None,
        Outcome::Unsupported => "warning",
        Outcome::Broken => "error",
    };
    let line = line(report).map_or_else(String::new, |line| format!(",line={line}"));
    Some(format!("::{level} file={}{line}::{}\n", property(&report.file), data(report.trouble.trim_end())))
}

/// Where in the file the first of what was said is, as a diagnostic shows it: ` --> FILE:LINE:COLUMN`.
fn line(report: &FileReport) -> Option<usize> {
    report.trouble.lines().find_map(|said| {
        let place = said.trim_start().strip_prefix("--> ")?.strip_prefix(&report.file)?.strip_prefix(':')?;
        place.split(':').next()?.parse().ok()
    })
}

/// What stands behind the second colons.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property, which a comma or a colon would end.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::samples::reports;
    use super::*;

    #[test]
    fn each_is_one_line_with_its_place() {
        let text = github(&reports());
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.starts_with(
                "::error file=dir/a.yaml,line=21,title=a%2C b%3A <c> & #1 \\ \"d\" (ping 192.168.5.2)::"
            ),
            "{text}"
        );
        assert!(
            text.contains("::expected: ping 192.168.5.2%0Aseen: no answer%0A\u{1b}[31m100%25 <lost>"),
            "{text}"
        );
        assert!(text.contains("\n::warning file=b.yaml::rdom: 1/x: this kernel"), "{text}");
        assert!(text.contains("\n::error file=c.yaml,line=1::error: unknown key `x`%0A"), "{text}");
    }
}
