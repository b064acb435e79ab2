//! `control` in a file: who besides root asks a supervisor for what, told by the kernel and held against the file.
//!
//! Users and groups are numbers here, which need not be in passwd(5) and group(5).

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Background, EXAMPLE, json, ok, sh, wait_for, write};

const SOCKET: &str = "/run/rdom/domains/control.sock";

/// curl as this user and group, and in these further groups; prints the answer and its status.
fn curl(user: u32, group: u32, further: &str, words: &str) -> String {
    let groups = if further.is_empty() { "--clear-groups".to_owned() } else { format!("--groups={further}") };
    let asked = format!(
        "setpriv --reuid={user} --regid={group} {groups} --inh-caps=-all \
         curl -sS -w '\n%{{http_code}}' --unix-socket {SOCKET} {words} 2>&1"
    );
    sh(&asked).out
}

fn with_control(control: &str) -> String {
    format!("control: {control}\n{EXAMPLE}")
}

fn socket() -> (u32, u32) {
    let metadata = std::fs::metadata(SOCKET).expect(SOCKET);
    (metadata.gid(), metadata.mode() & 0o777)
}

#[test]
fn members_of_the_group_look_and_those_named_change() {
    in_roots_copy("share::members_of_the_group_look_and_those_named_change", || {
        if lacks("curl") {
            return;
        }
        write("domains.yaml", &with_control("{group: 4242, change: {users: [4001], groups: [4300]}}"));
        ok("rdom up -d");
        assert_eq!(socket(), (4242, 0o660));
        let (status, down) = ("http://rdom/v1/status", "-X POST http://rdom/v1/down");
        let (confirm, events) = ("-X POST http://rdom/v1/confirm", "-m 1 http://rdom/v1/events");
        // A member looks; who is in the group only by a further group is as good.
        for answer in [curl(4000, 4242, "", status), curl(4000, 4000, "4242", status)] {
            assert!(answer.ends_with("\n200") && answer.contains("\"network\":\"domains\""), "{answer}");
        }
        assert!(curl(4000, 4242, "", "http://rdom/metrics").ends_with("# EOF\n\n200"));
        assert!(curl(4000, 4242, "", events).contains("\n200"));
        // And changes nothing.
        for request in [down, confirm, "-X POST -d '{}' http://rdom/v1/apply"] {
            let refused = curl(4000, 4242, "", request);
            assert!(refused.ends_with("\n403"), "{refused}");
            assert!(
                refused.contains("operation not permitted: 4000 may not change network domains"),
                "{refused}"
            );
            assert!(refused.contains("help: in its file: control: {group: NAME, change: {users: [4000]}}"));
        }
        // Those named do: nothing waits to be confirmed, which is another answer.
        for (user, further) in [(4001, "4242"), (4000, "4242,4300")] {
            assert!(curl(user, 4000, further, confirm).ends_with("\n409"));
        }
        // The command line is no more than that.
        let rdom = |user: u32, verb: &str| {
            sh(&format!(
                "setpriv --reuid={user} --regid=4242 --clear-groups --inh-caps=-all \
                 env -u RDOM_STATE_DIR -u RDOM_RUNTIME_DIR HOME=/nowhere XDG_RUNTIME_DIR=/nowhere rdom {verb}"
            ))
        };
        rdom(4000, "status --check").ends_with(0).says("1/wg1");
        rdom(4000, "confirm")
            .ends_with(1)
            .says("operation not permitted: 4000 may not change network domains");
        rdom(4000, "down").ends_with(1).says("may not change network domains");
        rdom(4000, "apply").ends_with(1).says("may not change network domains");
        rdom(4001, "apply").ends_with(0).says("nothing to do");
        rdom(4001, "confirm").ends_with(1).says("nothing of network domains waits to be confirmed");
        // Named, but not in the group; and nobody.
        for (user, further) in [(4001, ""), (4000, "4300"), (4000, "")] {
            assert!(
                curl(user, 4000, further, status).contains("curl: (7)"),
                "the socket is closed to others"
            );
        }
        // Were it open, they would be refused all the same.
        ok(&format!("chmod 666 {SOCKET}"));
        let refused = curl(4001, 4000, "", status);
        assert!(
            refused.ends_with("\n403") && refused.contains("4001 may not look at network domains"),
            "{refused}"
        );

        write("domains.yaml", &with_control("{group: 4243}"));
        ok("rdom apply");
        assert_eq!(socket(), (4243, 0o660));
        assert!(curl(4000, 4243, "", status).ends_with("\n200"));
        ok(&format!("chmod 666 {SOCKET}"));
        assert!(curl(4000, 4242, "", status).ends_with("\n403"), "what was given is taken away");
        write("domains.yaml", EXAMPLE);
        ok("rdom apply");
        assert_eq!(socket(), (0, 0o600));
        write("domains.yaml", &with_control("{group: 4242, change: {users: [4001]}}"));
        ok("rdom apply");
        assert!(curl(4001, 4242, "", down).ends_with("\n200"));
        sh("rdom status").ends_with(2).says("no network is up");
    });
}

#[test]
fn others_leave_places_for_root() {
    in_roots_copy("share::others_leave_places_for_root", || {
        write("domains.yaml", &with_control("{group: 4242}"));
        ok("rdom up -d");
        let connected = || ok(&format!("ss -H -x state connected src {SOCKET}")).lines().count();
        let holding = "setpriv --reuid=4000 --regid=4242 --clear-groups sh -c '\
                       for each in $(seq 100); do (sleep 10 | nc -U /run/rdom/domains/control.sock) & done; wait'";
        let holding = Background::start("holding", holding);
        wait_for("callers", || connected() >= 30);
        let start = Instant::now();
        assert_eq!(json("rdom status --json")["network"], "domains");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        holding.end();
        ok("rdom down");
    });
}

#[test]
fn a_group_that_is_not_there_is_told_of_and_nobody_gets_the_socket() {
    in_private_copies("share::a_group_that_is_not_there_is_told_of_and_nobody_gets_the_socket", || {
        write("domains.yaml", &with_control("{group: no-such-group}"));
        sh("rdom check").ends_with(0).says("this system has no group `no-such-group`");
        sh("rdom up -d").ends_with(0).says("nobody but the owner reaches the control socket");
        assert_eq!(socket(), (0, 0o600));
        write("domains.yaml", &with_control("{group: 0}"));
        ok("rdom apply");
        assert_eq!(socket(), (0, 0o660));
        ok("rdom down");
    });
}
