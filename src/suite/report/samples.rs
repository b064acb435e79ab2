//! Verdicts of every sort, with what has to be escaped.

use crate::status::{Evidence, Lookup};
use crate::status::{FileReport, Verdict};

pub(super) fn reports() -> Vec<FileReport> {
    let verdict = |number, name: &str, failure: Option<&str>| Verdict {
        number,
        domain: Some(1),
        name: name.into(),
        asserted: "ping 192.168.5.2".into(),
        duration_secs: 0.25,
        failure: failure.map(str::to_owned),
        evidence: failure.map(|_| Box::new(evidence())),
        capture: failure.map(|_| "/tmp/a-line21.pcapng".into()),
        line: 20 + number,
    };
    let passed = verdict(0, "1: ping 192.168.5.2", None);
    let failed =
        verdict(1, "a, b: <c> & #1 \\ \"d\"", Some("no answer\n\u{1b}[31m100% <lost>, # not \\ there"));
    let whole = FileReport {
        verdicts: vec![passed, failed],
        duration_secs: 0.75,
        ..FileReport::new("dir/a.yaml", Some(2), 2)
    };
    let lacking = FileReport {
        status: 4,
        trouble: "rdom: 1/x: this kernel has no links of kind dummy\nhelp: another kernel".into(),
        ..FileReport::new("b.yaml", None, 3)
    };
    let broken = FileReport {
        status: 2,
        trouble: "error: unknown key `x`\n --> c.yaml:1:1".into(),
        ..FileReport::new("c.yaml", None, 0)
    };
    let ended = FileReport::new("d.yaml", None, 4).interrupted();
    vec![whole, lacking, broken, ended]
}

/// That there is no route.
fn evidence() -> Evidence {
    let to = "192.168.5.2".parse().expect("an address");
    Evidence { way: vec![Lookup { domain: 1, to, found: None, is_stopped: false }], ..Evidence::default() }
}
