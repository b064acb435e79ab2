//! TAP version 14 (testanything.org/tap-version-14-specification.html).

use crate::status::{FileReport, Outcome, Verdict};

/// A test point for each test, and for each file that could not be run; the plan comes first.
pub fn tap(reports: &[FileReport]) -> String {
    let points: Vec<String> =
        reports.iter().flat_map(|report| tests(report).chain(trouble(report))).collect();
    let mut text = format!("TAP version 14\n1..{}\n", points.len());
    for (point, number) in points.iter().zip(1..) {
        text.push_str(&point.replacen("ok", &format!("ok {number}"), 1));
    }
    if reports.iter().any(|report| report.outcome() == Outcome::Interrupted) {
        text.push_str("Bail out! interrupted\n");
    }
    text
}

fn tests(report: &FileReport) -> impl Iterator<Item = String> {
    report.verdicts.iter().map(|verdict| test(report, verdict))
}

fn test(report: &FileReport, verdict: &Verdict) -> String {
    let name = description(&format!("{}: {}", report.label(), verdict.title()));
    let millis = format!("duration_ms: {:.3}", verdict.duration_secs * 1000.0);
    let Some(failure) = &verdict.failure else { return format!("ok - {name}\n  ---\n  {millis}\n  ...\n") };
    let place = format!("file: {}\n  line: {}", quoted(&report.file), verdict.line);
    let (expected, seen) = (quoted(&verdict.asserted), quoted(failure));
    let packets = verdict.capture.as_ref().map(|path| quoted(&path.display().to_string()));
    let packets = packets.map(|path| format!("  packets: {path}\n")).unwrap_or_default();
    let evidence = quoted(&verdict.surroundings());
    format!(
        "not ok - {name}\n  ---\n  {place}\n  {millis}\n  expected: {expected}\n  seen: {seen}\n{packets}  evidence: {evidence}\n  ...\n"
    )
}

fn trouble(report: &FileReport) -> Option<String> {
    let name = description(&report.label());
    let said = report.trouble.trim_end();
    match report.outcome() {
        Outcome::Complete | Outcome::Interrupted => None,
        Outcome::Unsupported => {
            let first = said.lines().next().unwrap_or_default();
            Some(format!("ok - {name} # SKIP {}\n", description(first)))
        }
        Outcome::Broken => Some(format!("not ok - {name}\n  ---\n  message: {}\n  ...\n", quoted(said))),
    }
}

/// A description: neither `#` nor `\` means anything in it.
fn description(text: &str) -> String {
    text.replace('\\', "\\\\").replace('#', "\\#").replace('\n', " ")
}

/// A scalar of YAML in double quotes: JSON's strings are among them (YAML 1.2.2, 1.2).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::samples::reports;
    use super::*;

    #[test]
    fn points_are_numbered_and_marks_are_escaped() {
        let text = tap(&reports());
        assert!(
            text.starts_with("TAP version 14\n1..4\nok 1 - dir/a.yaml (run 2): 1: ping 192.168.5.2\n"),
            "{text}"
        );
        assert!(text.contains(
            "\nnot ok 2 - dir/a.yaml (run 2): a, b: <c> & \\#1 \\\\ \"d\" (ping 192.168.5.2)\n  ---\n"
        ));
        assert!(
            text.contains(
                "\n  seen: \"no answer\\n\\u001b[31m100% <lost>, # not \\\\ there\"\n  packets: \"/tmp/a-line21.pcapng\"\n  evidence: \"the way, "
            ),
            "{text}"
        );
        assert!(
            text.contains("\nok 3 - b.yaml # SKIP rdom: 1/x: this kernel has no links of kind dummy\n"),
            "{text}"
        );
        assert!(text.ends_with("\nBail out! interrupted\n"), "{text}");
    }
}
