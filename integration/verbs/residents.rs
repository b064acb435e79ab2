//! Who lives in a domain keeps it: `down` and `apply` say who that is, and end nobody without `--kill`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{
    Background, EXAMPLE, Traces, json, kill_supervisor, ok, pings, sh, signal, supervisor, up, wait_for,
    write,
};

/// A program that lives in a domain, under a name that tells it from others.
fn resident(name: &'static str, domain: &str, seconds: &str) -> Background {
    let resident = Background::start(name, &format!("rdom exec {domain} sleep {seconds}"));
    let line = format!("/proc/{}/cmdline", resident.pid());
    wait_for("sleep", || std::fs::read(&line).is_ok_and(|line| line.starts_with(b"sleep")));
    resident
}

#[test]
fn a_network_in_which_somebody_lives_stays_up() {
    in_private_copies("residents::a_network_in_which_somebody_lives_stays_up", || {
        let before = Traces::now();
        up();
        let one = resident("one", "1", "1001");
        let two = resident("two", "2", "1002");
        let refused = sh("rdom down").ends_with(1).says("network domains is kept, for processes live there:");
        let refused = refused.says(&format!("\n  domain 1 (rdom1): process {}: sleep 1001\n", one.pid()));
        let refused = refused.says(&format!("\n  domain 2 (rdom2): process {}: sleep 1002\n", two.pid()));
        refused.says("help: end them; or to have them ended: rdom down --kill -n domains");
        sh("rdom status --check").ends_with(0);
        pings("rdom1", "192.168.5.2");
        signal(one.pid(), Signal::SIGTERM);
        one.end();
        let refused = sh("rdom down").ends_with(1);
        assert!(!refused.err.contains("domain 1"), "{refused:?}");

        sh("rdom down --kill").ends_with(0).says("network domains is down");
        two.end().ends_with(128 + Signal::SIGTERM as i32);
        before.is_all_there_is();
    });
}

#[test]
fn who_does_not_heed_is_killed() {
    in_private_copies("residents::who_does_not_heed_is_killed", || {
        up();
        let deaf = Background::start("deaf", "rdom exec 1 sh -c 'trap : TERM; while :; do sleep 0.1; done'");
        wait_for("a loop", || ok("ps -eo args").contains("sleep 0.1"));
        std::thread::sleep(Duration::from_millis(200));
        sh("rdom down --kill").ends_with(0);
        deaf.end().ends_with(128 + Signal::SIGKILL as i32);
    });
}

#[test]
fn the_supervisor_answers_while_residents_are_ended() {
    in_private_copies("residents::the_supervisor_answers_while_residents_are_ended", || {
        write("domains.yaml", "domains: {1: {}, 2: {}}\n");
        ok("rdom up -d");
        for (domain, verb) in [("2", "rdom apply --kill -n domains one.yaml"), ("1", "rdom down --kill")] {
            write("one.yaml", "domains: {1: {}}\n");
            let script = format!("rdom exec {domain} sh -c 'trap : TERM; while :; do sleep 0.1; done'");
            let deaf = Background::start("deaf", &script);
            wait_for("a loop", || ok("ps -eo args").contains("sleep 0.1"));
            std::thread::sleep(Duration::from_millis(200));
            let ending = Background::start("ending", verb);
            wait_for("a first signal", || ok("cat /run/rdom/domains/log").contains("signal=\"SIGTERM\""));
            let start = Instant::now();
            assert!(json("rdom status --json")["supervisor"].is_u64());
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            assert!(
                ok("ps -eo args").contains("sleep 0.1"),
                "it was ended before the answer: {:?}",
                start.elapsed()
            );
            deaf.end().ends_with(128 + Signal::SIGKILL as i32);
            ending.end().ends_with(0);
        }
    });
}

#[test]
fn nobody_hides_behind_the_name_of_an_engine() {
    in_private_copies("residents::nobody_hides_behind_the_name_of_an_engine", || {
        up();
        let script = "rdom exec 1 sh -c 'printf rdom-engine >/proc/$$/comm; while :; do sleep 0.1; done'";
        let hidden = Background::start("hidden", script);
        wait_for("its name", || ok(&format!("cat /proc/{}/comm", hidden.pid())) == "rdom-engine\n");
        sh("rdom down").ends_with(1).says(&format!("domain 1 (rdom1): process {}: sh -c", hidden.pid()));
        kill_supervisor();
        sh("rdom down").ends_with(1).says(&format!("process {}: sh -c", hidden.pid()));
        ok("rdom down --kill");
        hidden.end().ends_with(128 + Signal::SIGTERM as i32);
    });
}

#[test]
fn another_users_process_is_seen_and_ended_too() {
    in_roots_copy("residents::another_users_process_is_seen_and_ended_too", || {
        up();
        let somebody = "ip netns exec rdom2 setpriv --reuid=65534 --regid=65534 --clear-groups sleep 1003";
        let somebody = Background::start("somebody", somebody);
        wait_for("sleep", || ok("ps -eo user:20,args").contains("nobody               sleep 1003"));
        sh("rdom down").ends_with(1).says(&format!("process {}: sleep 1003", somebody.pid()));
        sh("rdom down --kill").ends_with(0);
        somebody.end().ends_with(128 + Signal::SIGTERM as i32);
    });
}

#[test]
fn it_stays_without_a_supervisor_and_when_a_signal_ends_that() {
    in_private_copies("residents::it_stays_without_a_supervisor_and_when_a_signal_ends_that", || {
        let before = Traces::now();
        write("domains.yaml", EXAMPLE);
        let up = Background::start("up", "rdom up").waits_until("is up: Ctrl-C takes it down");
        let one = resident("one", "1", "1004");
        signal(up.pid(), Signal::SIGINT);
        up.end().ends_with(1).says(&format!("process {}: sleep 1004", one.pid())).says("rdom down --kill");
        pings("rdom1", "192.168.5.2");
        sh("rdom down").ends_with(1).says("sleep 1004");
        pings("rdom1", "192.168.5.2");

        ok("rdom up -d");
        kill_supervisor();
        sh("rdom down --kill").ends_with(0).says("no supervisor was alive");
        one.end().ends_with(128 + Signal::SIGTERM as i32);
        before.is_all_there_is();
    });
}

#[test]
fn a_domain_that_the_file_has_no_more_is_kept_too() {
    in_private_copies("residents::a_domain_that_the_file_has_no_more_is_kept_too", || {
        write("domains.yaml", "domains: {1: {}, blue: {rdomain: 2}}\n");
        ok("rdom up -d");
        let one = resident("one", "1", "1005");
        let two = resident("two", "blue", "1006");
        write("domains.yaml", "domains: {1: {}, green: {rdomain: 2}, 3: {}}\n");
        sh("rdom plan")
            .ends_with(3)
            .says("delete domain 2 (blue), renamed green; interrupts traffic; 1 process lives there");
        let planned = sh("rdom plan --json").ends_with(3).json();
        let steps = planned["steps"].as_array().expect("steps");
        assert!(steps.iter().any(|step| step["interrupts"]["residents"] == 1), "{planned:#}");

        for apply in ["rdom apply", "rdom apply --confirm 60s"] {
            let refused = sh(apply).ends_with(1).says("nothing is changed, for processes live there:");
            let refused = refused.says(&format!("domain 2 (blue): process {}: sleep 1006", two.pid()));
            let refused = refused.says("rdom apply --kill -n domains FILE");
            assert!(!refused.err.contains("1005"), "{refused:?}");
        }
        assert_eq!(ok("ip netns list | cut -d' ' -f1 | sort"), "blue\nrdom1\n");
        assert!(json("rdom status --json")["goes_back_in_secs"].is_null());
        signal(supervisor(), Signal::SIGHUP);
        wait_for("the log", || ok("cat /run/rdom/domains/log").contains("not applied again"));

        ok("rdom apply --kill");
        two.end().ends_with(128 + Signal::SIGTERM as i32);
        assert_eq!(ok("ip netns list | cut -d' ' -f1 | sort"), "green\nrdom1\nrdom3\n");
        ok("rdom down --kill");
        one.end().ends_with(128 + Signal::SIGTERM as i32);
    });
}

#[test]
fn engines_are_no_residents() {
    in_private_copies("residents::engines_are_no_residents", || {
        let nested = EXAMPLE
            .replacen("listen_port: 7111", "listen_port: 7111\n          underlay: 3", 1)
            .replacen("listen_port: 7222", "listen_port: 7222\n          underlay: 3", 1)
            .replacen("domains:\n", "domains:\n  3: {}\n", 1);
        let nested = &nested[..nested.find("\ntests:").expect("tests")];
        write("domains.yaml", &format!("{nested}\ndefaults: {{engine: userspace}}\n"));
        ok("rdom up -d");
        pings("rdom1", "192.168.5.2");
        assert!(!ok("ip netns pids rdom3").is_empty(), "the engine lives in the underlay");
        sh("rdom down").ends_with(0);
    });
}

#[test]
fn members_of_control_groups_are_residents() {
    in_roots_copy("residents::members_of_control_groups_are_residents", || {
        if lacks("vrf") {
            return;
        }
        write("domains.yaml", "domains: {1: {isolation: vrf}, 2: {isolation: vrf}}\n");
        ok("rdom up -d");
        let one = resident("one", "1", "1007");
        sh("rdom down").ends_with(1).says(&format!("domain 1 (rdom1): process {}: sleep 1007", one.pid()));
        write("domains.yaml", "domains: {2: {isolation: vrf}}\n");
        sh("rdom plan").ends_with(3).says("1 process lives there");
        sh("rdom apply").ends_with(1).says("sleep 1007");
        ok("rdom apply --kill");
        one.end().ends_with(128 + Signal::SIGTERM as i32);
        ok("rdom down");
    });
}
