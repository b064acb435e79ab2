//! `rdom apply --confirm`: a change goes back by itself unless somebody confirms it in time.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::capability::lacks;
use crate::copy::in_private_copies;
use crate::world::{
    Background, EXAMPLE, Traces, addresses, is_file, json, kill_supervisor, ok, pings, sh, signal,
    supervisor, up, wait_for, write,
};

const LOG: &str = "cat /run/rdom/domains/log";
const RECORD: &str = "/run/state/domains/unconfirmed";

/// The manual page's example with this address more.
fn with(address: &str) -> String {
    EXAMPLE.replacen("[192.168.5.2/24]", &format!("[192.168.5.2/24, {address}/32]"), 1)
}

fn has(address: &str) -> bool {
    addresses("rdom2", "wg2").contains(&format!("{address}/32"))
}

#[test]
fn nobody_confirms_and_it_goes_back() {
    in_private_copies("confirm::nobody_confirms_and_it_goes_back", || {
        let before = Traces::now();
        up();
        pings("rdom1", "192.168.5.2");
        let index = ok("ip -n rdom2 -o link show dev wg2 | cut -d: -f1");
        write("domains.yaml", &with("10.0.0.1"));
        let applied = sh("rdom apply --confirm 2s").ends_with(0).says("add address 10.0.0.1/32 to 2/wg2");
        applied.says("not confirmed: it goes back in ").says("unless you type: rdom confirm -n domains");
        assert!(has("10.0.0.1"));
        sh("rdom status").ends_with(0).says("not confirmed: it goes back in ");
        assert!(json("rdom status --json")["goes_back_in_secs"].as_u64().is_some_and(|secs| secs <= 2));

        wait_for("the end of its time", || !has("10.0.0.1"));
        wait_for("the log", || ok(LOG).contains("not confirmed in time: gone back"));
        assert!(json("rdom status --json")["goes_back_in_secs"].is_null());
        sh("rdom status --check").ends_with(0);
        assert_eq!(ok("ip -n rdom2 -o link show dev wg2 | cut -d: -f1"), index, "the tunnel is the same one");
        pings("rdom2", "192.168.5.1");
        sh("rdom confirm").ends_with(1).says("nothing of network domains waits to be confirmed");

        ok("rdom apply");
        assert!(has("10.0.0.1") && !is_file(RECORD), "who applies it without conditions has it");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn who_confirms_keeps_it() {
    in_private_copies("confirm::who_confirms_keeps_it", || {
        up();
        write("domains.yaml", &with("10.0.0.1"));
        ok("rdom apply --confirm 2s");
        sh("rdom confirm").ends_with(0).says("network domains stays as it is");
        assert!(!is_file(RECORD));
        std::thread::sleep(Duration::from_millis(2500));
        assert!(has("10.0.0.1"));
        sh("rdom confirm -n other").ends_with(2).says("network other is not up");
        for time in ["60", "0s", "2h", "soon"] {
            sh(&format!("rdom apply --confirm {time}")).ends_with(2).says("is not a time").says("`3s`");
        }
        // Nothing changes, so nothing goes back; what the file says beside its network is a change too.
        let commented = format!("# As it is.\n{}", with("10.0.0.1"));
        let unwatched = commented.replace("{engine: userspace}", "{engine: userspace, drift: report}");
        for (text, goes_back) in [(commented, false), (unwatched, true)] {
            write("domains.yaml", &text);
            let said = sh("rdom apply --confirm 60s").ends_with(0).says("nothing to do");
            assert_eq!(said.out.contains("not confirmed"), goes_back, "{said:?}");
            assert_eq!(is_file(RECORD), goes_back, "{text}");
        }
        ok("rdom down");
        sh("rdom confirm").ends_with(2).says("no network is up");
        sh("rdom apply --confirm 60s").ends_with(2).says("network domains is not up");
    });
}

#[test]
fn until_it_is_confirmed_only_another_trial_follows() {
    in_private_copies("confirm::until_it_is_confirmed_only_another_trial_follows", || {
        up();
        write("domains.yaml", &with("10.0.0.1"));
        ok("rdom apply --confirm 60s");
        write("domains.yaml", &with("10.0.0.2"));
        let refused = sh("rdom apply").ends_with(1).says("what was applied last is not confirmed");
        refused.says("help: rdom confirm -n domains").says("rdom apply --confirm 60s FILE");
        signal(supervisor(), Signal::SIGHUP);
        wait_for("the log", || ok(LOG).contains("not applied again"));
        assert!(has("10.0.0.1") && !has("10.0.0.2"));

        // One that is refused leaves the one before it waiting.
        write("domains.yaml", &with("10.0.0.2").replacen("7222", "7111", 1));
        sh("rdom apply --confirm 1s").ends_with(2);
        ok("ip link add taken0 type bridge");
        let taken = "  0: {interfaces: {taken0: {bridge: {}}}}\n  1:\n";
        write("domains.yaml", &with("10.0.0.2").replacen("  1:\n", taken, 1));
        sh("rdom apply --confirm 1s").ends_with(1).says("taken0").says("as it was before");
        assert!(json("rdom status --json")["goes_back_in_secs"].as_u64().is_some_and(|secs| secs > 10));
        assert!(ok(&format!("cat {RECORD}")).contains("10.0.0.1"));

        // Another trial goes back to what was confirmed, not to the trial before.
        write("domains.yaml", &with("10.0.0.2"));
        ok("rdom apply --confirm 1s");
        assert!(has("10.0.0.2") && !has("10.0.0.1"));
        wait_for("the end of its time", || addresses("rdom2", "wg2") == ["192.168.5.2/24"]);
        ok("rdom down; ip link delete taken0");
        assert!(!is_file(RECORD), "who takes it down has decided");
    });
}

#[test]
fn it_goes_back_although_another_file_did_not_come_up_meanwhile() {
    in_private_copies("confirm::it_goes_back_although_another_file_did_not_come_up_meanwhile", || {
        up();
        write("domains.yaml", &with("10.0.0.1"));
        ok("rdom apply --confirm 4s");
        kill_supervisor();
        ok("mkdir other && ip link add taken0 type bridge");
        let taken = "  0: {interfaces: {taken0: {bridge: {}}}}\n  1:\n";
        write("other/domains.yaml", &EXAMPLE.replacen("  1:\n", taken, 1));
        sh("rdom up -d other/domains.yaml").ends_with(1).says("taken0").says("as it was before");
        assert!(has("10.0.0.1"));
        ok("rdom up -d");
        wait_for("the end of its time", || !has("10.0.0.1"));

        // One that comes up has been decided for.
        ok("ip link delete taken0");
        kill_supervisor();
        ok("rdom up -d other/domains.yaml");
        assert!(!is_file(RECORD));
        ok("rdom down");
    });
}

#[test]
fn it_goes_back_without_the_supervisor_that_promised() {
    in_private_copies("confirm::it_goes_back_without_the_supervisor_that_promised", || {
        let before = Traces::now();
        up();
        // Killed, and another one before the time has passed: it waits on.
        write("domains.yaml", &with("10.0.0.1"));
        ok("rdom apply --confirm 4s");
        kill_supervisor();
        sh("rdom confirm").ends_with(2).says("has no supervisor").says("rdom up -d FILE");
        ok("rdom up -d");
        assert!(has("10.0.0.1"));
        wait_for("the end of its time", || !has("10.0.0.1"));

        // Nobody has confirmed the file: it does not come up, not even at the next boot.
        ok(&format!("test -s {RECORD}"));
        signal(supervisor(), Signal::SIGTERM);
        wait_for("the end", || !is_file("/run/rdom/domains"));
        let started = sh("rdom up -d").ends_with(0).says("nobody confirmed domains.yaml in time");
        started.says("help: to have it all the same, once it is up: rdom apply -n domains domains.yaml");
        assert!(!has("10.0.0.1"));

        // Killed, and the next one after the time has passed.
        write("domains.yaml", &with("10.0.0.2"));
        ok("rdom apply --confirm 1s");
        kill_supervisor();
        assert!(has("10.0.0.2"), "tunnels go on without a supervisor");
        std::thread::sleep(Duration::from_millis(1200));
        let up = Background::start("up", "rdom up").waits_until("is up: Ctrl-C takes it down");
        assert!(up.said().contains("nobody confirmed domains.yaml in time") && !has("10.0.0.2"));
        signal(up.pid(), Signal::SIGINT);
        up.end().ends_with(0);

        // Another file is another decision.
        write("domains.yaml", &with("10.0.0.3"));
        ok("rdom up -d");
        assert!(has("10.0.0.3") && !is_file(RECORD));
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_caller_who_goes_away_changes_nothing_about_it() {
    in_private_copies("confirm::a_caller_who_goes_away_changes_nothing_about_it", || {
        up();
        write("domains.yaml", &with("10.0.0.1"));
        let caller = Background::start("caller", "rdom apply --confirm 2s");
        wait_for("the record", || is_file(RECORD));
        signal(caller.pid(), Signal::SIGINT);
        caller.end();
        wait_for("the change", || ok(LOG).contains("applied"));
        wait_for("the end of its time", || ok(LOG).contains("not confirmed in time: gone back"));
        assert!(!has("10.0.0.1"));
        ok("rdom down");
    });
}

#[test]
fn curl_can_do_it() {
    in_private_copies("confirm::curl_can_do_it", || {
        if lacks("curl") {
            return;
        }
        up();
        let directory = std::env::current_dir().expect("a directory");
        let text = with("10.0.0.1");
        let body =
            serde_json::json!({"network": "domains", "file": "x.yaml", "directory": directory, "text": text});
        write("/run/body", &body.to_string());
        let post =
            "curl -sS -X POST -H content-type:application/json --unix-socket /run/rdom/domains/control.sock";
        let apply = |query: &str| ok(&format!("{post} -d @/run/body 'http://rdom/v1/apply{query}'"));
        assert!(apply("?confirm=soon").contains("`soon` is not a time"));
        assert!(apply("?confrim=60s").contains("unknown field `confrim`"));
        assert!(!has("10.0.0.1"));
        assert!(apply("?confirm=60s").contains("\"goes_back_in_secs\":60"));
        assert!(has("10.0.0.1"));
        let confirm = format!("{post} -w '%{{http_code}}' http://rdom/v1/confirm");
        assert_eq!(ok(&confirm), "{}200");
        assert!(ok(&confirm).ends_with("waits to be confirmed409"));
        ok("rdom down; rm /run/body");
    });
}
