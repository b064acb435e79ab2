//! Users other than root enter a domain: who may, who may not, and that nobody comes back.
//!
//! The users are the system's own `daemon`, `games` and `nobody`; `rdom-enter` has its file capability in root's copy.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::capability::lacks;
use crate::copy::in_roots_copy;
use crate::world::{
    Background, Traces, is_file, kill_supervisor, ok, sh, signal, supervisor, up, wait_for, write,
};
use nix::sys::signal::Signal;

/// `daemon` may enter 1 and its rtable, members of `games` may enter 1 and 2, nobody may enter 3.
const ALLOWING: &str = "defaults: {isolation: netns}
domains:
  1:
    allow: {users: [daemon], groups: [games]}
    rtables: {10: {routes: [{to: 192.0.2.0/24, type: blackhole}]}}
    rules: [{fwmark: 7, rtable: 10}]
  blue: {rdomain: 2, allow: {groups: ['60']}}
  3: {}
";

const DAEMON: &str = "setpriv --reuid=daemon --regid=daemon --clear-groups --inh-caps=-all env -u RDOM_STATE_DIR \
                      -u RDOM_RUNTIME_DIR HOME=/nowhere";
const NOBODY: &str = "setpriv --reuid=nobody --regid=65534 --clear-groups --inh-caps=-all";
/// Nobody, who plays.
const PLAYER: &str = "setpriv --reuid=nobody --regid=65534 --groups=games --inh-caps=-all";

/// Runs the body in a copy of root's in which `rdom-enter` is installed.
fn in_copy_with_enter(test: &str, body: impl FnOnce()) {
    if lacks("setcap") {
        return;
    }
    in_roots_copy(test, || {
        let program = env!("CARGO_BIN_EXE_rdom-enter");
        ok(&format!("cp {program} /run/bin/rdom-enter && setcap cap_sys_admin=p /run/bin/rdom-enter"));
        write("allowing.yaml", ALLOWING);
        body();
    });
}

#[test]
fn who_is_allowed_enters_and_nobody_else() {
    in_copy_with_enter("enter::who_is_allowed_enters_and_nobody_else", || {
        let before = Traces::now();
        ok("rdom up -d allowing.yaml");
        for (who, domain) in
            [(DAEMON, "1"), (DAEMON, "rdom1"), (PLAYER, "1"), (PLAYER, "blue"), (PLAYER, "2")]
        {
            let namespace = format!("rdom{domain}").replace("rdomrdom", "rdom");
            let namespace = if ["blue", "2"].contains(&domain) { "blue".to_owned() } else { namespace };
            let inode = ok(&format!("stat -Lc %i /run/netns/{namespace}"));
            let there = format!("{who} rdom exec {domain} stat -Lc %i /proc/self/ns/net");
            assert_eq!(ok(&there), inode, "{there}");
        }
        for (who, name, domain) in [
            (DAEMON, "daemon", "blue"),
            (DAEMON, "daemon", "3"),
            (NOBODY, "nobody", "1"),
            (NOBODY, "nobody", "2"),
            (PLAYER, "nobody", "3"),
        ] {
            let refused = sh(&format!("{who} rdom exec {domain} true")).ends_with(1);
            let words = format!("operation not permitted: {name} is not allowed in domain");
            refused.says(&words).says(&format!("allow: {{users: [{name}]}}"));
        }
        sh(&format!("{DAEMON} rdom exec 9 true")).ends_with(1).says("routing table 9: No such file");
        sh(&format!("{DAEMON} rdom exec 1 nosuchprogram")).says("nosuchprogram: ");
        sh(&format!("{DAEMON} rdom exec 1 /etc")).ends_with(126);
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn the_door_opens_and_closes_with_the_file_that_is_applied() {
    in_copy_with_enter("enter::the_door_opens_and_closes_with_the_file_that_is_applied", || {
        let before = Traces::now();
        let closed = "defaults: {isolation: netns}\ndomains: {1: {}, blue: {rdomain: 2}}\n";
        write("allowing.yaml", closed);
        ok("rdom up -d allowing.yaml");
        assert!(!is_file("/run/rdom/allowing/enter.sock"));
        sh(&format!("{DAEMON} rdom exec 1 true")).ends_with(1);

        write("allowing.yaml", ALLOWING);
        ok("rdom apply allowing.yaml");
        let inside = ok(&format!("{DAEMON} rdom exec 1 stat -Lc %i /proc/self/ns/net"));
        assert_eq!(inside, ok("stat -Lc %i /run/netns/rdom1"));
        sh(&format!("{PLAYER} rdom exec 1 rdom exec 2 true"))
            .ends_with(1)
            .says("only from the default domain");

        write("allowing.yaml", closed);
        ok("rdom apply allowing.yaml");
        assert!(!is_file("/run/rdom/allowing/enter.sock"));
        sh(&format!("{DAEMON} rdom exec 1 true")).ends_with(1);
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn the_caller_becomes_the_command_and_keeps_no_capability() {
    in_copy_with_enter("enter::the_caller_becomes_the_command_and_keeps_no_capability", || {
        ok("rdom up -d allowing.yaml");
        let pids = ok(&format!("{DAEMON} sh -c 'echo $$; exec rdom exec 1 sh -c \"echo \\$\\$\"'"));
        let pids: Vec<_> = pids.lines().collect();
        assert_eq!(pids[0], pids[1]);
        sh(&format!("{DAEMON} rdom exec 1 sh -c 'exit 42'")).ends_with(42);
        sh(&format!("{DAEMON} rdom exec 1 sh -c 'kill -TERM $$'")).ends_with(143);
        let status = ok(&format!("{DAEMON} rdom exec 1 cat /proc/self/status"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
        }
        let seen = ok(&format!("{DAEMON} rdom exec blue true || {PLAYER} rdom exec blue env"));
        assert!(seen.contains("RDOM_DOMAIN=2\n") && seen.contains("RDOM_DOMAIN_NAME=blue\n"), "{seen}");
        let open = ok(&format!("{DAEMON} rdom exec 1 ls -l /proc/self/fd 7</dev/null"));
        assert!(
            open.contains(" 7 -> /dev/null") && !open.contains("socket:") && !open.contains("net:["),
            "{open}"
        );

        let sleeper = Background::start("sleeper", &format!("{DAEMON} rdom exec 1 sleep 100"));
        let comm = format!("/proc/{}/comm", sleeper.pid());
        wait_for("sleep", || fs::read_to_string(&comm).unwrap_or_default() == "sleep\n");
        signal(sleeper.pid(), Signal::SIGINT);
        sleeper.end().ends_with(130);
        ok("rdom down");
    });
}

#[test]
fn nobody_comes_back_and_nobody_goes_on() {
    in_copy_with_enter("enter::nobody_comes_back_and_nobody_goes_on", || {
        ok("rdom up -d allowing.yaml");
        for onwards in ["rdom exec 2 true", "rdom exec 1 true", "rdom-enter blue true", "rdom-enter 1 true"] {
            let inside = format!("{PLAYER} rdom exec 1 {onwards}");
            sh(&inside).ends_with(1).says("operation not permitted: only from the default domain");
        }
        sh(&format!("{PLAYER} rdom exec 1 nsenter --net=/proc/1/ns/net true")).ends_with(1);
        sh(&format!("{PLAYER} rdom exec 1 nsenter --net=/run/netns/blue true")).ends_with(1);
        // What the namespace alone does not show: a member of a control group is not in the default domain either.
        let group = "g=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/rdom/test; mkdir -p $g";
        let resident = sh(&format!("{group}; echo $$ >$g/cgroup.procs; {PLAYER} rdom exec 1 true"));
        sh(&format!("{group}; rmdir $g"));
        resident.ends_with(1).says("only from the default domain");
        ok("rdom down");
    });
}

#[test]
fn a_further_rtable_is_entered_with_its_domain() {
    in_copy_with_enter("enter::a_further_rtable_is_entered_with_its_domain", || {
        ok("rdom up -d allowing.yaml");
        if sh("rdom exec 10 true").status == 4 {
            eprintln!("skipped: no control groups with BPF here");
            return;
        }
        let inside =
            format!("{DAEMON} rdom exec -T 10 sh -c 'stat -Lc %i /proc/self/ns/net; cat /proc/self/cgroup'");
        let seen = ok(&inside);
        assert!(seen.starts_with(&ok("stat -Lc %i /run/netns/rdom1")), "{seen}");
        assert!(seen.lines().any(|line| line.starts_with("0::") && line.ends_with("/10")), "{seen}");
        sh(&format!("{NOBODY} rdom exec -T 10 true")).ends_with(1).says("is not allowed in domain rdom1");
        ok("rdom down");
    });
}

#[test]
fn a_network_inside_of_a_domain_has_a_door_of_its_own() {
    in_copy_with_enter("enter::a_network_inside_of_a_domain_has_a_door_of_its_own", || {
        ok("rdom up -d allowing.yaml");
        write("inner.yaml", "domains: {7: {allow: {users: [daemon]}}}\n");
        ok("rdom --network allowing exec 1 rdom --network inner up -d inner.yaml");
        let outside = sh(&format!("{DAEMON} rdom exec 7 true")).ends_with(1);
        outside.says("several networks are up: allowing, inner").says("-n NETWORK");
        let outside = format!("{DAEMON} rdom exec -n inner 7 true");
        sh(&outside).ends_with(1).says("only from the default domain");
        let inside = format!("{DAEMON} rdom exec -n allowing 1 rdom exec -n inner 7 echo in 7");
        assert_eq!(ok(&inside), "in 7\n");
        ok("rdom --network allowing exec 1 rdom --network inner down");
        ok("rdom down");
    });
}

#[test]
fn without_a_supervisor_nobody_enters() {
    in_copy_with_enter("enter::without_a_supervisor_nobody_enters", || {
        let before = Traces::now();
        sh(&format!("{DAEMON} rdom-enter 1 true")).ends_with(1).says("no network that is up lets anybody in");
        ok("rdom up -d allowing.yaml");
        kill_supervisor();
        let refused = sh(&format!("{DAEMON} rdom exec 1 true")).ends_with(1);
        refused.says("network allowing has no supervisor any more").says("help: as root: rdom up -d FILE");
        ok("rdom up -d allowing.yaml");
        ok(&format!("{DAEMON} rdom exec 1 true"));
        ok("rdom down");
        sh(&format!("{DAEMON} rdom exec 1 true")).ends_with(1).says("no network is up");
        sh(&format!("{DAEMON} rdom-enter -n allowing 1 true")).ends_with(1).says("allowing is not up");

        // A network that lets nobody in has no door.
        up();
        sh(&format!("{DAEMON} rdom-enter -n domains 1 true"))
            .ends_with(1)
            .says("none of its domains has `allow`");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn what_is_missing_is_said_with_how_to_get_it() {
    in_copy_with_enter("enter::what_is_missing_is_said_with_how_to_get_it", || {
        let unknown = ALLOWING.replace("daemon", "nosuchuser").replace("'60'", "nosuchgroup");
        write("unknown.yaml", &unknown);
        for verb in ["check", "up -d"] {
            let warned = sh(&format!("rdom {verb} unknown.yaml")).ends_with(0);
            warned
                .says("this system has no user `nosuchuser`")
                .says("this system has no group `nosuchgroup`");
        }
        ok("rdom down; rdom up -d allowing.yaml");
        let confined = format!("{DAEMON} setpriv --no-new-privs rdom exec 1 true");
        sh(&confined).ends_with(4).says("no_new_privs");
        ok("setcap -r /run/bin/rdom-enter");
        let bare = sh(&format!("{DAEMON} rdom exec 1 true")).ends_with(4);
        bare.says("has not gained cap_sys_admin")
            .says("help: as root: setcap cap_sys_admin=p /run/bin/rdom-enter");
        ok("rm /run/bin/rdom-enter");
        let without = sh(&format!("{DAEMON} env PATH=/usr/bin:/bin /run/bin/rdom exec 1 true")).ends_with(1);
        without.says("rdom-enter is not installed").says("setcap cap_sys_admin=p rdom-enter");
        ok("rdom down");
    });
}

#[test]
fn nothing_of_the_callers_is_trusted() {
    in_copy_with_enter("enter::nothing_of_the_callers_is_trusted", || {
        ok("rdom up -d allowing.yaml");
        // Somebody else's socket that offers a namespace.
        let fake = "import socket, array, os; s = socket.socket(socket.AF_UNIX); \
                    s.bind('/run/rdom/fake/enter.sock'); s.listen(); print('listening', flush=True)\n\
                    while True:\n  c, _ = s.accept(); n = os.open('/run/netns/rdom3', os.O_RDONLY)\n  \
                    c.sendmsg([b'{\"admitted\":{\"domain\":3,\"name\":\"rdom3\"}}'], \
                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [n]))])\n";
        write("fake.py", fake);
        ok("mkdir /run/rdom/fake && chown nobody /run/rdom/fake");
        let server =
            Background::start("fake", &format!("{NOBODY} /usr/bin/python3 fake.py")).waits_until("listening");
        let lured = sh(&format!("{NOBODY} rdom-enter -n fake 3 true")).ends_with(1);
        lured.says("/run/rdom/fake/enter.sock is not root's, but user 65534's");
        signal(server.pid(), Signal::SIGKILL);
        server.end();
        ok("rm -r /run/rdom/fake");

        // A library, programs and directories of the caller's.
        ok(
            "mkdir -m 777 bin && printf '#!/bin/sh\\necho mine\\n' >bin/rdom-enter && chmod 755 bin/rdom-enter",
        );
        let own = "LD_PRELOAD=/run/work/none.so LD_LIBRARY_PATH=/run/work PATH=/run/work/bin:/usr/bin:/bin";
        let seen =
            sh(&format!("{DAEMON} env {own} /run/bin/rdom-enter 1 sh -c 'echo $LD_PRELOAD $RDOM_DOMAIN'"));
        assert_eq!(seen.ends_with(0).out, "1\n", "the loader takes LD_PRELOAD away");
        let elsewhere =
            format!("{DAEMON} env RDOM_RUNTIME_DIR=/run/work RDOM_NETWORK=none rdom-enter 1 echo in");
        assert_eq!(ok(&elsewhere), "in\n");
        // Without standard descriptors: none that it opens becomes one.
        ok(&format!("{DAEMON} rdom-enter 1 sh -c 'exit 0' <&- >&- 2>&-"));
        ok("rdom down");
    });
}

#[test]
fn strangers_at_the_door_hold_nobody_up() {
    in_copy_with_enter("enter::strangers_at_the_door_hold_nobody_up", || {
        ok("rdom up -d allowing.yaml");
        let knock = || UnixStream::connect("/run/rdom/allowing/enter.sock").expect("a door");
        let heard = |mut stream: UnixStream| {
            let mut text = String::new();
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
            // One that hangs up without having read all that was said resets the connection.
            let _ = stream.read_to_string(&mut text);
            text
        };
        let slow: Vec<_> = (0..40).map(|_| knock()).collect();
        let start = Instant::now();
        ok("rdom status");
        ok(&format!("{DAEMON} rdom exec 1 true"));
        assert!(start.elapsed() < Duration::from_secs(2), "slow callers were waited for");
        let answers: Vec<_> = slow.into_iter().map(heard).collect();
        let with = |words: &str| answers.iter().filter(|answer| answer.contains(words)).count();
        assert_eq!((with("not named in time"), with("too many callers")), (16, 24), "{answers:?}");

        for words in [&b"\n"[..], &[0; 100_000], b"\xff\n", b"1\x1b[2J\n", b"1\n2\n"] {
            wait_for("a place", || {
                let mut stream = knock();
                let _ = stream.write_all(words);
                let answer = heard(stream);
                assert!(!answer.contains("admitted"), "{answer}");
                answer.contains("malformed") || answer.is_empty()
            });
        }
        // One who leaves before the answer.
        knock().write_all(b"1\n").expect("a line");
        ok(&format!("{DAEMON} rdom exec 1 true"));
        let descriptors = format!("ls /proc/{}/fd | wc -l", supervisor());
        let few = ok(&descriptors);
        for _ in 0..20 {
            ok(&format!("{DAEMON} rdom exec 1 true"));
        }
        wait_for("descriptors to close", || ok(&descriptors) == few);
        ok("rdom down");
    });
}
