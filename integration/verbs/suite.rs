//! `rdom test`: what files assert about their networks.

use std::path::Path;

use nix::sys::signal::Signal;
use rdomain::suite::FileReport;

use crate::capability::lacks;
use crate::copy::{self, Owner, in_private_copies};
use crate::world::{Background, EXAMPLE, Traces, is_running, json, ok, sh, signal, wait_for, write};

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
        sh(&format!("rdom test --substitute dummy {}", files.join(" ")))
            .ends_with(0)
            .says(", 0 failed")
            .says("PASS");
        before.is_all_there_is();
    });
}

/// With static routes alone, round both ways and past cuts; the file is what its program writes.
#[test]
fn a_ring_of_a_hundred_domains_heals() {
    in_private_copies("suite::a_ring_of_a_hundred_domains_heals", || {
        let ring = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ring");
        let ring = ring.display();
        ok(&format!("sh {ring}/ring.sh | cmp - {ring}/ring.yaml"));
        sh(&format!("rdom test {ring}/ring.yaml"))
            .ends_with(0)
            .says("10 tests in 1 file: 10 passed, 0 failed");
    });
}

/// Whether an example needs programs or kinds of links that are missing here, and not required to be here.
fn needs_more_than_this_kernel(file: &Path) -> bool {
    let needs: &[&str] = match file.file_stem().and_then(|stem| stem.to_str()) {
        // Its programs are members of control groups, which only the real root's copy has.
        Some("vrf") if copy::owner() == Owner::Anybody => return true,
        Some("vrf") => &["vrf"],
        Some("kinds") => &["dummy", "vlan", "macvlan", "vxlan"],
        Some("slow-link") => &["netem"],
        Some("bgp" | "ospf") => &["bird"],
        Some("frr") => &["/usr/lib/frr/bgpd"],
        Some("services") => &["socat"],
        _ => &[],
    };
    needs.iter().any(|need| lacks(need))
}

/// The manual page's own script, unchanged, is a file that holds.
#[test]
fn an_imported_script_holds() {
    in_private_copies("suite::an_imported_script_holds", || {
        write("manual.sh", include_str!("../openbsd/manual.sh"));
        let tested = sh("rdom import manual.sh | rdom test -").ends_with(0);
        tested.says("1: ping 192.168.5.2").says("2 tests in 1 file: 2 passed, 0 failed");
    });
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
        let failed = failed.says("status 3, not 0").says("is bound to udp/7111");
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
        sh("rdom test --junit /none/x.xml domains.yaml").ends_with(2).says("cannot write /none/x.xml");
        sh("echo 'domains: {1: {}}' | rdom test -").ends_with(2).says("no file has `tests:`");
        sh("rdom test --filter nowhere domains.yaml").ends_with(2).says("no test has nowhere in it");
        sh("rdom test --jobs 0 domains.yaml").ends_with(2).says("a number from 1 up");
        let seen = json("rdom test --json domains.yaml");
        assert_eq!(seen[0]["verdicts"].as_array().map(Vec::len), Some(5));
    });
}

/// A file whose first test ends and whose second does not.
const SLOW: &str = "
domains: {1: {}}
tests:
  - {in: 1, exec: ['true'], name: the quick one}
  - {in: 1, exec: [sh, -c, 'cp /bin/sleep /run/nap; exec /run/nap 1000'], within: 10m, name: the slow one}
";

#[test]
fn ctrl_c_ends_everything_and_what_was_seen_is_told() {
    in_private_copies("suite::ctrl_c_ends_everything_and_what_was_seen_is_told", || {
        write("slow.yaml", SLOW);
        let before = Traces::now();
        for ending in [Signal::SIGINT, Signal::SIGTERM] {
            let command = "rdom test slow.yaml slow.yaml slow.yaml --jobs 1 --junit /run/out.xml";
            let run = Background::start("test", command).waits_until("the quick one");
            wait_for("the slow one", || is_running("nap"));
            signal(run.pid(), ending);
            let ended = run.end().ends_with(130);
            ended.says("1 test in 3 files: 1 passed, 0 failed, 5 not run, interrupted");
            wait_for("the end of all", || !is_running("nap") && !is_running("rdom"));
            assert!(ok("cat /run/out.xml; rm /run/out.xml").contains("interrupted"));
            before.is_all_there_is();
        }
        let run = Background::start("test", "rdom test slow.yaml").waits_until("the quick one");
        wait_for("the slow one", || is_running("nap"));
        signal(run.pid(), Signal::SIGKILL);
        run.end();
        wait_for("the end of all", || !is_running("nap") && !is_running("rdom"));
        before.is_all_there_is();
    });
}

#[test]
fn the_same_file_runs_beside_itself_and_from_standard_input() {
    in_private_copies("suite::the_same_file_runs_beside_itself_and_from_standard_input", || {
        write("domains.yaml", EXAMPLE);
        let all = sh("rdom test domains.yaml domains.yaml --repeat 3 --jobs 6").ends_with(0);
        all.says("domains.yaml (run 3)  1: ping 192.168.5.2")
            .says("30 tests in 6 files: 30 passed, 0 failed");
        let one =
            sh("cat domains.yaml | RDOM_NETWORK=other rdom test - --filter 'ping 192.168.5.1'").ends_with(0);
        one.says("<stdin>  2: ping 192.168.5.1").says("1 test in 1 file: 1 passed");
        let few = sh("ulimit -n 8; rdom test domains.yaml").ends_with(1);
        few.says("rdom: cannot run the process of the copy: Too many open files");
        let nowhere = sh("TMPDIR=/nowhere rdom test --keep-on-fail").ends_with(2);
        nowhere.says("cannot make the directory /nowhere/rdom-test.XXXXXX: No such file or directory");
        let listed = ok("rdom test --list --filter socket");
        assert_eq!(listed, "domains.yaml:24  0: socket udp/7111\ndomains.yaml:25  1: no socket udp/7111\n");
        assert_eq!(json("rdom test --list --json domains.yaml")[0]["line"], 21);
    });
}

#[test]
fn other_programs_read_the_reports() {
    in_private_copies("suite::other_programs_read_the_reports", || {
        let tests = "tests:\n  - {in: 1, ping: 192.168.5.77, within: 100ms, name: 'no # one, <100%>'}\n";
        write("fail.yaml", &(EXAMPLE.split("\ntests:").next().expect("domains").to_owned() + "\n" + tests));
        write("domains.yaml", EXAMPLE);
        let run = sh("GITHUB_ACTIONS=true rdom test --junit out.xml fail.yaml domains.yaml").ends_with(1);
        run.says(
            "::error file=fail.yaml,line=21,title=no # one%2C <100%25> (ping 192.168.5.77)::expected: ping",
        );
        if !lacks("python3") {
            let read = "import xml.etree.ElementTree as t; r = t.parse('out.xml').getroot(); \
                        print(r.get('tests'), r.get('failures'), r[0][0].get('name'), r[0][0].get('line'), \
                        len(r[1]), r[0][0][0].tag)";
            let seen = ok(&format!("python3 -c \"{read}\""));
            assert_eq!(seen, "6 1 no # one, <100%> (ping 192.168.5.77) 21 5 failure\n");
        }
        let tap =
            sh("rdom test --tap fail.yaml domains.yaml > out.tap; sed -i 's/version 14/version 13/' out.tap");
        tap.ends_with(0);
        if !lacks("prove") {
            // Older ones know version 13, of which 14 is a superset.
            let seen = sh("prove -v --exec cat out.tap").ends_with(1);
            seen.says("Failed 1/6 subtests").says("Failed test:  1").says("Tests: 6 Failed: 1");
        }
    });
}

#[test]
fn a_copy_in_which_a_test_failed_can_be_entered_until_ctrl_c() {
    in_private_copies("suite::a_copy_in_which_a_test_failed_can_be_entered_until_ctrl_c", || {
        let fail = "domains: {1: {}}\ntests:\n  - {in: 1, exec: ['false']}\n  - {in: 1, exec: ['true']}\n";
        write("fail.yaml", fail);
        let before = Traces::now();
        let run = Background::start("test", "env TMPDIR=$PWD rdom test fail.yaml --keep-on-fail")
            .waits_until("end it:");
        let said = run.said();
        let enter = said.lines().find_map(|line| line.trim().strip_prefix("enter it: ")).expect("a command");
        let inside = ok(&format!("{enter} -c 'rdom exec 1 printenv RDOM_DOMAIN; ip netns'"));
        assert!(inside.starts_with("1\nrdom1"), "{inside}");
        signal(run.pid(), Signal::SIGINT);
        run.end().ends_with(1).says("2 tests in 1 file: 1 passed, 1 failed");
        before.is_all_there_is();
        sh("TMPDIR=$PWD rdom test fail.yaml --keep-on-fail --filter true").ends_with(0);
    });
}

#[test]
fn every_kind_of_assertion_holds_and_fails_for_its_own_reason() {
    in_private_copies("suite::every_kind_of_assertion_holds_and_fails_for_its_own_reason", || {
        write("holds.yaml", include_str!("files/holds.yaml"));
        sh("rdom test holds.yaml").ends_with(0).says("26 passed, 0 failed");
        write("fails.yaml", include_str!("files/fails.yaml"));
        let failed = sh("rdom test fails.yaml").ends_with(1).says("27 tests in 1 file: 0 passed, 27 failed");
        let reasons = [
            "no handshake with east/wg0, and nothing sent to it that would need one",
            "10.2.0.2:80 is refused",
            "cannot serve 10.2.0.3:80 in east: it has no address 10.2.0.3",
            "localhost is 127.0.0.1",
            "10.2.0.2 goes by 0.0.0.0/0 via 10.1.0.1 dev eth0",
            "router (10.1.0.1), east (10.2.0.2)",
            "1300 bytes pass; the mtu is 1300",
            "none pass: 68 bytes are not answered",
            "west leads to router: frames pass between west/eth0 and router/lan0",
        ];
        reasons.into_iter().fold(failed, |failed, reason| failed.says(&format!("seen:     {reason}")));
    });
}

#[test]
fn a_domain_on_the_way_that_does_not_forward_is_named() {
    in_private_copies("suite::a_domain_on_the_way_that_does_not_forward_is_named", || {
        let file = |sysctls: &str| {
            format!(
                "domains:
  west: {{rdomain: 1, interfaces: {{a: {{addresses: [10.1.0.1/24, 'fd01::1/64']}}}}, routes: [{{to: default, via: 10.1.0.2}}, {{to: 'default', via: 'fd01::2'}}]}}
  middle: {{rdomain: 2, interfaces: {{a: {{addresses: [10.1.0.2/24, 'fd01::2/64']}}, b: {{addresses: [10.2.0.2/24, 'fd02::2/64']}}}}, sysctls: {{{sysctls}}}}}
  east: {{rdomain: 3, interfaces: {{b: {{addresses: [10.2.0.3/24, 'fd02::3/64']}}}}, routes: [{{to: default, via: 10.2.0.2}}, {{to: 'default', via: 'fd02::2'}}]}}
links: [{{ends: [west/a, middle/a]}}, {{ends: [middle/b, east/b]}}]
tests: [{{in: west, ping: 10.2.0.3}}, {{in: west, ping: 'fd02::3'}}]
"
            )
        };
        write("stops.yaml", &file(""));
        sh("rdom test stops.yaml")
            .ends_with(1)
            .says("dev b, but domain 2 does not forward; it does with sysctls: {net.ipv4.ip_forward: 1}")
            .says("dev b, but domain 2 does not forward; it does with sysctls: {net.ipv6.conf.all.forwarding: 1}");
        write("passes.yaml", &file("net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1"));
        sh("rdom test passes.yaml").ends_with(0);
    });
}

/// Every kind of assertion, by its line in the file, with words of what is shown beside its failure.
const SHOWN: [(usize, &[&str]); 12] = [
    (
        26,
        &[
            "rdom netstat -ln -T0, port ",
            "0: 127.0.0.1 is an address of its own",
            "(east/wg0)",
            "rdom route -T0",
        ],
    ),
    (27, &["rdom wg show:\n  interface: 1/wg0", "endpoint: 127.0.0.1:"]),
    (
        28,
        &[
            "1: 10.2.0.9 goes by 0.0.0.0/0 via 10.1.0.1 dev eth0\n  2: 10.2.0.9 goes by 10.2.0.0/24 dev lan1\n",
        ],
    ),
    (30, &["3: 10.2.0.2 is an address of its own, on eth0", "rdom netstat -ln -T3, port 80:\n  none"]),
    (34, &["2: 10.99.0.1 is dropped by 10.99.0.0/16 (blackhole)", "rdom route -T2 show"]),
    (35, &["rdom netstat -ln -T3, port 53:\n  none"]),
    (37, &["rdom route -T1 show:\n  Internet:\n", "default            10.1.0.1"]),
    (39, &["1: 10.2.0.2 goes by 0.0.0.0/0 via 10.1.0.1 dev eth0"]),
    (42, &["10.1.0.1           "]),
    (45, &["3: 10.2.0.2 is an address of its own, on eth0", "rdom route -T3 show"]),
    (50, &["rdom netstat -ln -T1, port 7:\n  none"]),
    (
        52,
        &[
            "1: 10.1.0.1 goes by 10.1.0.0/24 dev eth0",
            "2: 10.1.0.2 goes by 10.1.0.0/24 dev lan0",
            "rdom route -T2",
            "sent to 10.",
        ],
    ),
];

#[test]
fn beside_a_failure_stands_what_the_network_looked_like() {
    in_private_copies("suite::beside_a_failure_stands_what_the_network_looked_like", || {
        write("fails.yaml", include_str!("files/fails.yaml"));
        let seen = sh("rdom test fails.yaml --json").ends_with(1).json();
        let reports: Vec<FileReport> = serde_json::from_value(seen.clone()).expect("reports");
        assert_eq!(serde_json::to_value(reports).expect("JSON"), seen, "as `rdom schema test` has it");
        let verdicts = seen[0]["verdicts"].as_array().expect("verdicts");
        assert!(verdicts.iter().all(|verdict| verdict["evidence"].is_object()));
        let ping = &verdicts[2]["evidence"];
        assert_eq!(ping["way"][1]["found"]["route"]["dev"], "lan1");
        assert_eq!(ping["interfaces"], serde_json::json!(["router/lan0", "router/lan1", "west/eth0"]));
        let tap = sh("rdom test fails.yaml --tap").ends_with(1);
        assert_eq!(tap.out.matches("  evidence: \"").count(), 27);
        let told = sh("rdom test fails.yaml --junit out.xml").ends_with(1).out;
        for (line, words) in SHOWN {
            let start = told.find(&format!("fails.yaml:{line}:")).expect("a failure");
            let end = told[start..]
                .find("\n        FAIL")
                .or(told[start..].find("\n     Summary"))
                .expect("an end");
            let part = told[start..start + end].replace("\n  ", "\n");
            words
                .iter()
                .for_each(|words| assert!(part.contains(words), "{line}: {words:?} is not in {part}"));
        }
        assert!(ok("cat out.xml").contains("2: 10.99.0.1 is dropped by 10.99.0.0/16 (blackhole)"));
    });
}

/// A tunnel that hears nothing, and a rule that leads astray.
const ASTRAY: &str = "
domains:
  1:
    interfaces:
      wg1:
        addresses: [10.8.0.1/24]
        wireguard:
          listen_port: 7111
          peers: {2/wg2: {endpoint: '192.0.2.9:1'}}
      dum0: {bridge: {ports: []}, addresses: [10.9.0.1/24]}
    rtables: {10: {routes: [{to: 10.7.0.0/16, type: blackhole}]}}
    rules: [{to: 10.7.0.0/16, rtable: 10}]
  2: {interfaces: {wg2: {addresses: [10.8.0.2/24], wireguard: {peers: {1/wg1: {}}}}}}
tests:
  - {in: 1, ping: 10.8.0.2, within: 100ms}
  - {in: 1, ping: 10.7.0.1, within: 100ms}
  - {in: 1, exec: ['false']}
";

#[test]
fn the_way_leads_into_tunnels_and_past_rules() {
    in_private_copies("suite::the_way_leads_into_tunnels_and_past_rules", || {
        write("astray.yaml", ASTRAY);
        let failed = sh("rdom test astray.yaml").ends_with(1);
        let failed = failed.says("1: 10.8.0.2 goes by 10.8.0.0/24 dev wg1");
        let failed = failed.says("0: get host 192.0.2.9: not in table").says("endpoint: 192.0.2.9:1");
        let failed = failed.says("2: 10.8.0.2 is an address of its own, on wg2").says("interface: 1/wg1");
        failed.says("rdom exec 1 ip rule:").says("from all to 10.7.0.0/16 lookup 10");
    });
}
