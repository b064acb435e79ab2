//! `rdom test`: what files assert about their networks.

use std::path::Path;

use crate::capability::lacks;
use crate::copy::{self, Owner, in_private_copies};
use crate::world::{EXAMPLE, Traces, json, sh, write};

#[test]
fn every_example_holds() {
    in_private_copies("suite::every_example_holds", || {
        let before = Traces::now();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let examples =
            root.join("examples").read_dir().expect("examples").flatten().map(|entry| entry.path());
        let mut files: Vec<_> =
            examples.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
        files.push(root.join("domains.yaml"));
        files.retain(|file| !needs_more_than_this_kernel(file));
        let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        sh(&format!("rdom test {}", files.join(" "))).ends_with(0).says(", 0 failed").says("PASS");
        before.is_all_there_is();
    });
}

/// Whether an example needs kinds of links that are missing here, and not required to be here.
fn needs_more_than_this_kernel(file: &Path) -> bool {
    let needs: &[&str] = match file.file_stem().and_then(|stem| stem.to_str()) {
        // Its programs are members of control groups, which only the real root's copy has.
        Some("vrf") if copy::owner() == Owner::Anybody => return true,
        Some("vrf") => &["vrf"],
        Some("kinds") => &["dummy", "vlan", "macvlan", "vxlan"],
        _ => &[],
    };
    needs.iter().any(|kind| lacks(kind))
}

#[test]
fn a_failure_says_what_was_expected_and_what_was_seen() {
    in_private_copies("suite::a_failure_says_what_was_expected_and_what_was_seen", || {
        let tests = "
tests:
  - {in: 1, ping: 192.168.5.77, within: 100ms, name: nobody is there}
  - {in: 2, ping: 192.168.5.1}
  - {in: 1, exec: [sh, -c, echo seen; exit 3]}
  - {in: 0, socket: udp/7111, expect: absent, within: 100ms}
";
        write("fail.yaml", &(EXAMPLE.split("\ntests:").next().expect("domains").to_owned() + tests));
        let failed = sh("rdom test fail.yaml").ends_with(1);
        let failed = failed.says("fail.yaml:21: in domain 1\n  expected: ping 192.168.5.77\n");
        let failed = failed.says("seen:     no answer from 192.168.5.77").says("nobody is there");
        let failed = failed.says("status 3, not 0").says("something is bound to udp/7111");
        failed.says("4 tests in 1 file: 1 passed, 3 failed");
        let seen = sh("rdom test --json fail.yaml").ends_with(1).json();
        let verdicts = seen[0]["verdicts"].as_array().expect("verdicts");
        assert_eq!(verdicts.len(), 4);
        assert_eq!((&verdicts[0]["line"], &verdicts[0]["domain"]), (&21.into(), &1.into()));
        assert_eq!(verdicts[0]["failure"], "no answer from 192.168.5.77");
        assert_eq!(verdicts[1]["failure"], serde_json::Value::Null);
    });
}

#[test]
fn a_file_that_cannot_be_run_is_no_pass() {
    in_private_copies("suite::a_file_that_cannot_be_run_is_no_pass", || {
        write("bad.yaml", "domains: {x: {}}\n");
        write("domains.yaml", EXAMPLE);
        let failed = sh("rdom test domains.yaml bad.yaml none.yaml").ends_with(2);
        let failed = failed.says("bad.yaml: could not be run").says("cannot read none.yaml");
        failed.says("5 passed, 0 failed, 2 files could not be run");
        let seen = json("rdom test --json domains.yaml");
        assert_eq!(seen[0]["verdicts"].as_array().map(Vec::len), Some(5));
    });
}
