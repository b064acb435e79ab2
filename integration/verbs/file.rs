//! `rdom check` and `rdom plan`: a look that changes nothing.

use crate::copy::in_private_copies;
use crate::world::{EXAMPLE, Traces, json, ok, sh, up, write};

#[test]
fn check_touches_nothing_and_needs_nothing() {
    in_private_copies("file::check_touches_nothing_and_needs_nothing", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let powerless = "setpriv --bounding-set=-all --inh-caps=-all env -i /run/bin/rdom";
        ok("mount -o remount,ro /run");
        let checked = sh(&format!("{powerless} check")).ends_with(0);
        assert_eq!(checked.out, "domains.yaml: 2 domains, 2 tunnels, 5 tests\n");
        assert_eq!(checked.err, "");
        ok("mount -o remount,rw /run");
        before.is_all_there_is();
        assert_eq!(ok("ls /run/state"), "");
    });
}

#[test]
fn check_says_everything_that_is_wrong_and_where() {
    in_private_copies("file::check_says_everything_that_is_wrong_and_where", || {
        write("bad.yaml", &EXAMPLE.replace("7111", "71111").replace("allowed_ips", "alowed_ips"));
        let checked = sh("rdom check bad.yaml").ends_with(2);
        let checked = checked.says("bad.yaml:8:24").says("71111").says("alowed_ips").says("help: ");
        checked.says("bad.yaml: 5 errors").says("^");
        let seen = sh("rdom check --json bad.yaml").ends_with(2).json();
        assert_eq!(seen.to_string().matches("alowed_ips").count(), 2, "{seen:#}");
        sh("rdom up -d bad.yaml").ends_with(2).says("bad.yaml:8:24");
        sh("rdom plan bad.yaml").ends_with(2).says("bad.yaml:8:24");
        assert_eq!(ok("ls /run/state /run/netns"), "/run/netns:\n\n/run/state:\n");
    });
}

#[test]
fn a_file_is_found_or_missed_by_name() {
    in_private_copies("file::a_file_is_found_or_missed_by_name", || {
        sh("rdom check").ends_with(2).says("neither domains.yaml nor /etc/rdom/domains.yaml is there");
        sh("rdom up -d none.yaml").ends_with(2).says("cannot read none.yaml: No such file or directory");
        write("domains.yaml", EXAMPLE);
        ok("rdom check - <domains.yaml");
        sh("cp domains.yaml \"$(printf '\\377.yaml')\" && rdom check \"$(printf '\\377.yaml')\"")
            .ends_with(0);
    });
}

#[test]
fn plan_tells_a_difference_and_makes_none() {
    in_private_copies("file::plan_tells_a_difference_and_makes_none", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let planned = sh("rdom plan").ends_with(3);
        let planned = planned.says("create domain 1 (namespace rdom1)\n").says("set 2/wg2 up\n");
        planned.says("<to be made for 1/wg1>");
        let steps = sh("rdom plan --json").ends_with(3).json();
        assert!(steps.to_string().contains("rdom1"), "{steps:#}");
        assert_eq!(ok("ls /run/state"), "", "no keys are made by a look");
        before.is_all_there_is();
    });
}

#[test]
fn plan_of_what_is_up_is_empty() {
    in_private_copies("file::plan_of_what_is_up_is_empty", || {
        up();
        sh("rdom plan").ends_with(0).says("nothing to do");
        assert_eq!(json("rdom plan --json")["steps"], serde_json::json!([]));
        write("domains.yaml", &EXAMPLE.replace("192.168.5.1/24]", "192.168.5.1/24, 10.7.7.7/32]"));
        let planned = sh("rdom plan").ends_with(3).out;
        assert_eq!(planned, "  domains.yaml:6  add address 10.7.7.7/32 to 1/wg1\n");
        ok("rdom down");
    });
}
