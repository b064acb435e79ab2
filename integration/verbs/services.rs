//! `services:`: programs that are kept running in domains, by `up`, `run` and `test`.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::capability::lacks;
use crate::copy::{self, Owner, in_private_copies};
use crate::world::{
    Background, Traces, is_file, json, kill_supervisor, ok, process, sh, signal, wait_for, write,
};

/// A server, and one that waits for it.
const FILE: &str = "
domains:
  blue:
    rdomain: 1
    services:
      web:
        command: [socat, 'TCP-LISTEN:80,fork,reuseaddr', 'SYSTEM:echo served']
        ready: {tcp: 80}
        restart: always
      echo:
        command: 'trap \"exit 0\" TERM; echo $GREETING from $RDOM_DOMAIN_NAME in $(pwd); sleep 1000 & wait'
        env: {GREETING: hello}
        directory: /run
        depends_on: [web]
        ready: {log: hello}
";

fn services() -> Vec<Value> {
    json("rdom status --json")["services"].as_array().expect("services").clone()
}

fn service(name: &str) -> Value {
    services().into_iter().find(|service| service["name"] == name).expect("a service")
}

fn pid(name: &str) -> i32 {
    service(name)["pid"].as_i64().expect("a process") as i32
}

/// Its network namespace, and how many processes have its command line.
fn command_lines(words: &str) -> usize {
    let lines = ok("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | tr '\\n' ' '; true");
    lines.matches(words).count()
}

/// In copies where `FILE` is up, of which nothing is left when the test has taken it down.
fn while_served(test: &str, body: impl Fn()) {
    in_private_copies(test, || {
        if lacks("socat") {
            return;
        }
        write("domains.yaml", FILE);
        let before = Traces::now();
        ok("rdom up -d");
        body();
        before.is_all_there_is();
    });
}

#[test]
fn up_keeps_services_running() {
    while_served("services::up_keeps_services_running", || {
        let names: Vec<_> = services().iter().map(|service| service["name"].clone()).collect();
        assert_eq!(names, ["echo", "web"]);
        assert!(services().iter().all(|service| service["state"] == "ready"), "{:?}", services());
        assert_eq!(ok("rdom logs echo"), "hello from blue in /run\n");
        assert_eq!(ok("rdom exec blue socat - TCP:127.0.0.1:80"), "served\n");
        sh("rdom logs other").ends_with(2).says("has run no service other");
        let (web, echo) = (pid("web"), pid("echo"));
        assert_eq!(ok(&format!("ip netns identify {web}")), "blue\n");
        signal(web, Signal::SIGKILL);
        wait_for("a restart", || service("web")["restarts"] == 1 && service("web")["state"] == "ready");
        assert_ne!(pid("web"), web);
        sh("rdom status").ends_with(0).says("SERVICE  DOMAIN  STATE  PID").says("web      1       ready");
        sh("rdom status --check").ends_with(0);
        // The keeper's own log says so.
        sh("rdom logs").ends_with(0).says("service=web").says("status=137");
        signal(echo, Signal::SIGTERM);
        wait_for("its end", || service("echo")["state"] == "failed");
        sh("rdom status --check").ends_with(3).says("service echo: failed, it ended with status 0");
        ok("rdom down");
    });
}

#[test]
fn apply_touches_only_what_changed() {
    in_private_copies("services::apply_touches_only_what_changed", || {
        if lacks("socat") {
            return;
        }
        write("domains.yaml", "domains: {blue: {rdomain: 1}}\n");
        let before = Traces::now();
        ok("rdom up -d");
        write("domains.yaml", FILE);
        sh("rdom apply").ends_with(0).says("start service echo").says("start service web");
        let ready = || services().iter().all(|service| service["state"] == "ready");
        wait_for("services", ready);
        let (web, echo) = (pid("web"), pid("echo"));
        sh("rdom apply").ends_with(0).says("nothing to do");
        write("domains.yaml", &FILE.replace("hello}", "hello there}"));
        sh("rdom apply").ends_with(0).says("restart service echo");
        wait_for("services", ready);
        assert_eq!(pid("web"), web);
        assert_ne!(pid("echo"), echo);
        assert_eq!(ok("rdom logs echo --lines 1"), "hello there from blue in /run\n");
        // What cannot be changes nothing.
        let bad = FILE.replace("socat, 'TCP", "no-such-program, 'TCP");
        write("domains.yaml", &(bad + "  0: {routes: [{to: 192.0.2.0/24, type: blackhole}]}\n"));
        sh("rdom apply").ends_with(1).says("program no-such-program is not here");
        assert_eq!((pid("web"), service("web")["state"].as_str()), (web, Some("ready")));
        // A service goes with its domain, and is no resident that keeps it.
        write("domains.yaml", "domains: {red: {rdomain: 2}}\n");
        sh("rdom apply").ends_with(0).says("stop service echo").says("stop service web");
        assert_eq!(services().len(), 0);
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn services_outlive_their_supervisor_and_none_runs_twice() {
    while_served("services::services_outlive_their_supervisor_and_none_runs_twice", || {
        let pids = ["web", "echo"].map(pid);
        kill_supervisor();
        assert_eq!(ok("rdom exec blue socat - TCP:127.0.0.1:80"), "served\n");
        assert_eq!(["web", "echo"].map(pid), pids, "seen without a supervisor too");
        ok("rdom up -d");
        assert_eq!(["web", "echo"].map(pid), pids);
        assert_eq!(command_lines("TCP-LISTEN:80"), 1);
        kill_supervisor();
        ok("rdom down");
    });
}

#[test]
fn services_are_started_again_by_the_guard_of_what_keeps_them() {
    while_served("services::services_are_started_again_by_the_guard_of_what_keeps_them", || {
        let pids = ["web", "echo"].map(pid);
        signal(process("rdom-services").expect("a keeper"), Signal::SIGKILL);
        let are_new =
            || services().iter().all(|service| service["state"] == "ready") && pid("web") != pids[0];
        wait_for("their restart", || services().len() == 2 && are_new());
        assert_ne!(pid("echo"), pids[1]);
        // The shell that waits for it has it in its words too.
        assert_eq!((command_lines("TCP-LISTEN:80"), command_lines("sleep 1000")), (1, 2), "none runs twice");
        assert!(ok("rdom logs").contains("was killed, and they with it"), "{}", ok("rdom logs"));
        sh("rdom status --check").ends_with(0);
        // Without its guard nobody starts another one.
        signal(process("rdom-guard").expect("a guard"), Signal::SIGKILL);
        wait_for("their end", || command_lines("TCP-LISTEN:80") == 0);
        assert_eq!(command_lines("sleep 1000"), 1, "whom they have started lives on");
        sh("rdom status --check").ends_with(3).says("a new supervisor starts it again");
        kill_supervisor();
        ok("rdom up -d");
        sh("rdom status --check").ends_with(0);
        ok("rdom down");
    });
}

#[test]
fn what_keeps_them_is_not_misunderstood_once_it_was_too_slow() {
    in_private_copies("services::what_keeps_them_is_not_misunderstood_once_it_was_too_slow", || {
        let before = Traces::now();
        let command = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done";
        write(
            "domains.yaml",
            &format!("domains: {{1: {{services: {{web: {{command: \"{command}\"}}}}}}}}\n"),
        );
        ok("rdom up -d");
        let keeper = process("rdom-services").expect("a keeper");
        signal(keeper, Signal::SIGSTOP);
        sh("rdom status").says("the keeper of the services does not answer");
        signal(keeper, Signal::SIGCONT);
        ok("rdom down");
        assert_eq!(command_lines("while :"), 0, "it has ended before the network");
        before.is_all_there_is();
    });
}

/// What a service leaves behind: a child in a session of its own, whose parent has ended.
#[test]
fn nothing_is_left_of_services_and_stubborn_ones_are_killed() {
    in_private_copies("services::nothing_is_left_of_services_and_stubborn_ones_are_killed", || {
        let file = "
domains:
  1:
    services:
      forks: {command: 'setsid -f sleep 1001; sleep 0.2', restart: no}
      stubborn: {command: 'trap \"\" TERM; while :; do sleep 1002; done'}
";
        write("domains.yaml", file);
        let before = Traces::now();
        ok("rdom up -d");
        wait_for("its end", || service("forks")["state"] == "done");
        assert_eq!(command_lines("sleep 1001"), 1);
        // Its processes are no residents, but this one is.
        let ended = sh(
            "rdom exec 1 sleep 1003 & left=$!; sleep 0.2; rdom down; echo $?; kill $left; wait; rdom down",
        );
        ended.ends_with(0).says("sleep 1003").says("1\n").says("network domains is down");
        before.is_all_there_is();
    });
}

#[test]
fn who_fails_rests_and_up_says_so() {
    in_private_copies("services::who_fails_rests_and_up_says_so", || {
        let file = "
domains:
  1:
    services:
      flaky: {command: 'echo oops >&2; exit 3', restart: on-failure, ready: {tcp: 9}}
      after: {command: [sleep, '1000'], depends_on: [flaky], ready: {exec: 'false', within: 200ms}}
";
        write("domains.yaml", file);
        let before = Traces::now();
        let up = sh("rdom up -d").ends_with(0).says("service flaky: restarting, it ended with status 3");
        up.says("oops").says("service after: waiting for others");
        wait_for("restarts", || service("flaky")["restarts"].as_u64() > Some(3));
        ok("rdom down");
        sh("rdom run domains.yaml -- true").ends_with(125).says("service flaky: restarting").says("oops");
        let quiet = file.replace("echo oops >&2; exit 3', restart: on-failure, ready: {tcp: 9}", "exit 0'");
        write("domains.yaml", &(quiet + "tests: [{in: 1, exec: ['true']}]\n"));
        sh("rdom test domains.yaml").ends_with(1).says("service after: not ready in time");
        before.is_all_there_is();
    });
}

#[test]
fn who_is_interrupted_does_not_wait_until_services_are_ready() {
    in_private_copies("services::who_is_interrupted_does_not_wait_until_services_are_ready", || {
        let slow = "{command: [sleep, '1000'], ready: {tcp: 80, within: 60s}}";
        write("domains.yaml", &format!("domains: {{1: {{services: {{slow: {slow}}}}}}}\n"));
        let (before, begun) = (Traces::now(), Instant::now());
        let up = Background::start("up", "rdom up");
        wait_for("a service", || command_lines("sleep 1000") == 1);
        signal(up.pid(), Signal::SIGINT);
        up.end().ends_with(0);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        before.is_all_there_is();
    });
}

#[test]
fn who_is_interrupted_before_the_network_is_up_ends_as_shells_have_it() {
    in_private_copies("services::who_is_interrupted_before_the_network_is_up_ends_as_shells_have_it", || {
        let domains: Vec<_> = (1001..=1300).map(|number| format!("{number}: {{}}")).collect();
        write("domains.yaml", &format!("domains: {{{}}}\n", domains.join(", ")));
        let before = Traces::now();
        let up = Background::start("up", "rdom up");
        wait_for("a domain", || ok("ls /run/netns 2>/dev/null | wc -l").trim() != "0");
        signal(up.pid(), Signal::SIGINT);
        up.end().ends_with(130).says("interrupted");
        before.is_all_there_is();
    });
}

#[test]
fn ready_is_what_the_file_says() {
    in_private_copies("services::ready_is_what_the_file_says", || {
        if lacks("socat") {
            return;
        }
        let file = "
domains:
  1:
    services:
      udp: {command: 'sleep 0.2; exec socat UDP-RECVFROM:53,fork PIPE', ready: {udp: 53}}
      exec: {command: 'sleep 0.2; touch /run/there; sleep 1000', ready: {exec: [test, -e, /run/there]}}
  0:
    services: {zero: {command: 'socat TCP-LISTEN:7,fork PIPE', ready: {tcp: 7}}}
tests:
  - {in: 1, socket: udp/53, within: 1ms}
  - {in: 1, exec: [test, -e, /run/there]}
  - {in: 0, socket: tcp/7, within: 1ms, owner: socat}
";
        write("domains.yaml", file);
        let before = Traces::now();
        sh("rdom test domains.yaml").ends_with(0).says("3 passed");
        ok("rm -f /run/there");
        before.is_all_there_is();
    });
}

/// Somebody else's socket is there from the beginning, and reuses its port; the service's own comes about by a process
/// that has lost its parent.
#[test]
fn ready_is_a_socket_of_the_services_own() {
    in_private_copies("services::ready_is_a_socket_of_the_services_own", || {
        if lacks("socat") {
            return;
        }
        let serve = "socat TCP-LISTEN:80,fork,reuseport PIPE";
        let file = format!(
            "
domains:
  1:
    services:
      other: {{command: 'exec {serve}', ready: {{tcp: 80}}}}
      mine:
        command: 'until [ -e /run/go ]; do sleep 0.1; done; ({serve} &); sleep 1000'
        ready: {{tcp: 80, within: 300ms}}
        depends_on: [other]
"
        );
        write("domains.yaml", &file);
        let before = Traces::now();
        sh("rdom up -d").ends_with(0).says("service mine: not ready in time");
        assert_eq!(
            (&service("other")["state"], &service("mine")["state"]),
            (&"ready".into(), &"late".into())
        );
        ok("touch /run/go");
        wait_for("its own socket", || service("mine")["state"] == "ready");
        ok("rdom down; rm /run/go");
        before.is_all_there_is();
    });
}

#[test]
fn a_service_has_the_rights_of_its_user() {
    in_private_copies("services::a_service_has_the_rights_of_its_user", || {
        let file = "
domains:
  1:
    services:
      who: {command: 'id -u; id -G; grep CapEff /proc/self/status; echo $HOME; sleep 1000', user: nobody}
";
        write("domains.yaml", file);
        let before = Traces::now();
        if copy::owner() == Owner::Anybody {
            let refused = sh("rdom up -d").ends_with(4).says("only root may run a program as user `nobody`");
            refused.says("service who").says("help: run it as root");
            write("tested.yaml", &(file.to_owned() + "tests: [{in: 1, exec: ['true']}]\n"));
            sh("rdom test tested.yaml").ends_with(4).says("only root may run");
            write("domains.yaml", &file.replace(", user: nobody", ""));
        }
        ok("rdom up -d");
        wait_for("its words", || ok("rdom logs who").lines().count() == 4);
        let said = ok("rdom logs who");
        match copy::owner() {
            Owner::Root => assert_eq!(said, "65534\n65534\nCapEff:\t0000000000000000\n/nonexistent\n"),
            Owner::Anybody => assert!(said.starts_with("0\n"), "{said}"),
        }
        assert!(!is_file("/run/rdom/domains/services/none.log"));
        let mode = fs::metadata("/run/rdom/domains/services/who.log").expect("a log").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
        ok("rdom down");
        write("domains.yaml", &file.replace("nobody", "no-such-user"));
        sh("rdom up -d").ends_with(4).says("this system has no user `no-such-user`");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_failure_shows_what_services_did_and_wrote() {
    in_private_copies("services::a_failure_shows_what_services_did_and_wrote", || {
        let file = "
domains:
  1:
    services:
      once: {command: 'mkdir /run/once && echo begun && exec sleep 1000', ready: {log: begun, within: 5s}}
tests:
  - {in: 1, tcp: '127.0.0.1:80', within: 100ms}
steps:
  - {kill: once}
  - {start: once}
";
        write("domains.yaml", file);
        let before = Traces::now();
        let failed = sh("rdom test domains.yaml")
            .ends_with(1)
            .says("rdom logs once (service once: ready):\n    begun");
        let failed =
            failed.says("expected: start once\n  seen:     service once: failed, it ended with status 1");
        failed.says("begun\n    mkdir: cannot create directory");
        let seen = sh("rdom test --json domains.yaml").ends_with(1).json();
        let service = &seen[0]["verdicts"][0]["evidence"]["services"][0];
        assert_eq!((&service["name"], &service["log"][0]), (&"once".into(), &"begun".into()));
        before.is_all_there_is();
    });
}

/// By what every kernel has; the links of the network stay as they are set when they are cut and come back.
#[test]
fn a_step_changes_what_a_link_does() {
    in_private_copies("services::a_step_changes_what_a_link_does", || {
        let shown =
            |word: &str| format!("  - {{in: 1, exec: [tc, qdisc, show, dev, eth0], stdout: {word}}}\n");
        let steps = format!(
            "{}  - {{set: 2/eth0, rate: 8mbit}}\n{}  - {{cut: 1/eth0}}\n  - {{restore: 1/eth0}}\n{}  - {{set: 1/eth0, loss: 0%}}\n{}",
            shown("noqueue"),
            shown("'rate 8Mbit'"),
            shown("'rate 8Mbit'"),
            shown("noqueue")
        );
        write(
            "domains.yaml",
            &format!("domains: {{1: {{}}, 2: {{}}}}\nlinks: [{{ends: [1/eth0, 2/eth0]}}]\nsteps:\n{steps}"),
        );
        let before = Traces::now();
        sh("rdom test domains.yaml").ends_with(0).says("4 passed");
        if !lacks("netem") {
            return;
        }
        write(
            "domains.yaml",
            &format!(
                "domains: {{1: {{}}, 2: {{}}}}\nlinks: [{{ends: [1/eth0, 2/eth0]}}]\nsteps:\n  - {{set: 1/eth0, loss: 5%}}\n{}",
                shown("netem")
            ),
        );
        sh("rdom test domains.yaml").ends_with(4).says("netem").says("{set: 1/eth0, loss: 5%}");
        before.is_all_there_is();
    });
}

#[test]
fn a_missing_program_is_no_failure_but_not_supported_here() {
    in_private_copies("services::a_missing_program_is_no_failure_but_not_supported_here", || {
        let domain = "domains: {1: {services: {web: {command: [no-such-server]}}}}\n";
        let test = "tests:\n  - {in: 1, exec: [no-such-program, -x]}\n  - {in: 1, exec: ['true']}\n";
        write("service.yaml", &(domain.to_owned() + test));
        write("test.yaml", &format!("domains: {{1: {{}}}}\n{test}"));
        let before = Traces::now();
        let lacking = sh("PATH=/run/bin:/bin:/usr/bin rdom test test.yaml").ends_with(4);
        let lacking = lacking
            .says("program no-such-program is not here")
            .says("test.yaml:3:5")
            .says("1 file not supported");
        lacking.says("= help: ");
        sh("rdom test --filter true test.yaml").ends_with(0).says("1 passed");
        write("expected.yaml", "domains: {1: {}}\ntests: [{in: 1, exec: [no-such-program], status: 127}]\n");
        sh("rdom test expected.yaml").ends_with(0);
        sh("rdom test --filter true service.yaml")
            .ends_with(4)
            .says("service web: program no-such-server is not here");
        sh("rdom up -d service.yaml").ends_with(4).says("service.yaml:1:26").says("no-such-server");
        ok("rdom down");
        before.is_all_there_is();
    });
}
