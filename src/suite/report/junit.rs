//! JUnit's XML in the form that Jenkins, GitLab and most others read: a suite a file, a case a test.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::status::{FileReport, Outcome, Verdict};

/// The document; `time` is how long all of it took.
pub fn junit(reports: &[FileReport], time: Duration) -> Result<String, SerializeError> {
    let mut document = Report::new("rdom test");
    document.set_time(time);
    document.add_test_suites(reports.iter().map(suite));
    document.to_string()
}

fn suite(report: &FileReport) -> TestSuite {
    let mut suite = TestSuite::new(report.label());
    suite.set_time(seconds(report.duration_secs));
    suite.add_test_cases(report.verdicts.iter().map(|verdict| case(report, verdict)));
    suite.add_test_cases(trouble(report));
    suite
}

fn case(report: &FileReport, verdict: &Verdict) -> TestCase {
    let status = match &verdict.failure {
        None => TestCaseStatus::success(),
        Some(failure) => non_success(
            NonSuccessKind::Failure,
            &format!("expected: {}", verdict.asserted),
            &description(report, verdict, failure),
        ),
    };
    let mut case = TestCase::new(verdict.title(), status);
    case.set_classname(report.file.as_str()).set_time(seconds(verdict.duration_secs));
    case.extra.insert("file".into(), report.file.as_str().into());
    case.extra.insert("line".into(), verdict.line.to_string().into());
    case
}

fn description(report: &FileReport, verdict: &Verdict, failure: &str) -> String {
    let place = format!("{}:{}", report.file, verdict.line);
    let packets = verdict.capture_line("packets: ");
    format!("{place}\nexpected: {}\nseen: {failure}\n{packets}{}", verdict.asserted, verdict.surroundings())
}

/// What stands for a file whose tests were not all run.
fn trouble(report: &FileReport) -> Option<TestCase> {
    let status = match report.outcome() {
        Outcome::Complete => return None,
        Outcome::Unsupported => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(report.trouble.lines().next().unwrap_or_default());
            skipped
        }
        Outcome::Interrupted => non_success(NonSuccessKind::Error, "interrupted", ""),
        Outcome::Broken => non_success(NonSuccessKind::Error, "could not be run", &report.trouble),
    };
    let mut case = TestCase::new("the file", status);
    case.set_classname(report.file.as_str());
    Some(case)
}

fn non_success(kind: NonSuccessKind, message: &str, description: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_message(message).set_description(description);
    status
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::samples::reports;
    use super::*;

    #[test]
    fn what_is_written_can_be_read_and_adds_up() {
        let text = junit(&reports(), Duration::from_millis(1500)).unwrap();
        let read = Report::deserialize_from_str(&text).unwrap();
        assert_eq!((read.tests, read.failures, read.errors), (5, 1, 2), "{text}");
        let names: Vec<_> = read.test_suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["dir/a.yaml (run 2)", "b.yaml", "c.yaml", "d.yaml"]);
        let failed = &read.test_suites[0].test_cases[1];
        assert_eq!(failed.name.as_str(), "a, b: <c> & #1 \\ \"d\" (ping 192.168.5.2)");
        let TestCaseStatus::NonSuccess { description: Some(seen), .. } = &failed.status else {
            panic!("{failed:?}")
        };
        assert!(seen.as_str().contains("100% <lost>"), "{seen:?}");
        assert!(seen.as_str().contains("1: get host 192.168.5.2: not in table"), "{seen:?}");
        assert!(seen.as_str().contains("\npackets: /tmp/a-line21.pcapng\n"), "{seen:?}");
        assert!(!text.contains('\u{1b}'), "a character that XML does not have");
    }
}
