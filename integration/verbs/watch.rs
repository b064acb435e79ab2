//! What an operator asks of a network that is up: is it as asked, what becomes of it, what has been logged.

use std::thread;
use std::time::Duration;

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Background, EXAMPLE, json, kill_supervisor, ok, sh, up, wait_for, write};

#[test]
fn status_checks_what_was_asked_for() {
    in_private_copies("watch::status_checks_what_was_asked_for", || {
        // What differs is told of for as long as nobody mends it.
        write("domains.yaml", &EXAMPLE.replace("{engine: ", "{drift: report, engine: "));
        ok("rdom up -d");
        sh("rdom status --check").ends_with(0).says("(verified)");
        ok("ip -n rdom1 address delete 192.168.5.1/24 dev wg1");
        let differs = sh("rdom status --check").ends_with(3);
        differs.says("not as asked for").says("add address 192.168.5.1/24 to 1/wg1");
        assert_eq!(json("rdom status --json")["differs"][0], "add address 192.168.5.1/24 to 1/wg1");
        ok("ip -n rdom1 address add 192.168.5.1/24 dev wg1 && ip -n rdom1 link set wg1 down");
        sh("rdom status --check").ends_with(3).says("down");
        kill_supervisor();
        let gone = sh("rdom status --check --json").ends_with(3).says("has no supervisor any more");
        assert!(gone.json()["supervisor"].is_null(), "{gone:#?}");
        ok("rdom down");
    });
}

#[test]
fn counters_are_those_of_ip() {
    in_private_copies("watch::counters_are_those_of_ip", || {
        up();
        ok("rdom exec 1 ping -c 3 -i 0.2 -W 5 192.168.5.2");
        let seen = json("rdom status --json");
        let told = json("ip -n rdom1 -s -j link show dev wg1");
        let (counters, stats) = (&seen["domains"][1]["interfaces"][1]["counters"], &told[0]["stats64"]);
        for end in ["rx", "tx"] {
            for what in ["bytes", "packets", "errors", "dropped"] {
                assert_eq!(counters[format!("{end}_{what}")], stats[end][what], "{end} {what}");
            }
        }
        assert!(counters["rx_packets"].as_u64().is_some_and(|packets| packets >= 3), "{counters}");
        ok("rdom down");
    });
}

#[test]
fn watching_goes_on_until_the_network_is_down() {
    in_private_copies("watch::watching_goes_on_until_the_network_is_down", || {
        up();
        let watching = Background::start("watch", "rdom status --watch").waits_until("1/wg1");
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        let watching = watching.waits_until("  wg2   up");
        assert!(!watching.said().contains('\x1b'), "plain lines into a pipe");
        ok("rdom down");
        assert_eq!(watching.end().status, 0);
    });
}

#[test]
fn watching_into_a_pipe_tells_of_changes_at_once_and_of_nothing_else() {
    in_private_copies("watch::watching_into_a_pipe_tells_of_changes_at_once_and_of_nothing_else", || {
        up();
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        let watching = Background::start("watch", "rdom status --watch").waits_until("  wg2   up");
        let times = || watching.said().matches("network domains, kept by").count();
        thread::sleep(Duration::from_secs(5));
        assert_eq!(times(), 1, "ages and counters: {}", watching.said());
        ok("ip -n rdom1 address delete 192.168.5.1/24 dev wg1");
        wait_for("the drift", || watching.said().contains("removed from 1/wg1; restored"));
        kill_supervisor();
        wait_for("the end of the supervisor", || watching.said().contains("nobody keeps it"));
        ok("rdom up -d");
        wait_for("the next supervisor", || times() > 2);
        ok("rdom down");
        assert_eq!(watching.end().status, 0);
    });
}

#[test]
fn a_terminal_is_drawn_on_and_given_back() {
    in_roots_copy("watch::a_terminal_is_drawn_on_and_given_back", || {
        if lacks("script") {
            return;
        }
        up();
        write(
            "watch.sh",
            "stty cols 40 rows 8; tty >/run/tty; sh -c 'echo $$ >/run/pid; exec rdom status --watch'
             echo \"ended: $?\"",
        );
        let at_terminal = Background::start("script", "env TERM=xterm script -qfc 'sh watch.sh' /dev/null");
        let last = || at_terminal.said().rsplit("\x1b[H").next().unwrap_or_default().to_owned();
        wait_for("a page", || last().contains("more lines)"));
        let lines: Vec<_> = last().lines().map(visible).collect();
        assert_eq!(lines.len(), 8, "{lines:#?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
        ok("ip -n rdom1 address delete 192.168.5.1/24 dev wg1");
        wait_for("the drift", || last().contains("last drift"));
        ok("stty -F $(cat /run/tty) cols 120 rows 50");
        wait_for("another size", || {
            last().contains("removed from 1/wg1; restored") && last().contains("engine: ")
        });
        ok("kill -INT $(cat /run/pid)");
        wait_for("the end", || at_terminal.said().contains("ended: 130"));
        let said = at_terminal.said();
        assert!(said.contains("\x1b[?1049h\x1b[?25l") && said.contains("\x1b[?25h\x1b[?1049l"), "{said:?}");
        assert_eq!(at_terminal.end().status, 0);
        ok("rdom down");
    });
}

/// A line of a terminal without what paints it.
fn visible(line: &str) -> String {
    let mut parts = line.split('\x1b');
    let first = parts.next().unwrap_or_default().to_owned();
    let line =
        parts.fold(first, |text, part| text + part.split_once(['m', 'K', 'J']).map_or("", |(_, rest)| rest));
    line.trim_end_matches('\r').to_owned()
}

#[test]
fn colours_are_for_terminals() {
    in_private_copies("watch::colours_are_for_terminals", || {
        if lacks("script") {
            return;
        }
        up();
        let at_terminal =
            |environment: &str| ok(&format!("{environment} script -qec 'rdom status' /dev/null"));
        assert!(at_terminal("").contains("\x1b[32mup\x1b[0m"));
        assert!(!at_terminal("NO_COLOR=1").contains('\x1b'));
        ok("rdom down");
    });
}

#[test]
fn logs_are_followed_to_their_end() {
    in_private_copies("watch::logs_are_followed_to_their_end", || {
        up();
        assert!(ok("rdom logs").lines().count() > 3);
        assert_eq!(ok("rdom logs --lines 2").lines().count(), 2);
        let following = Background::start("follow", "rdom logs -f --lines 1").waits_until("INFO");
        sh("rdom logs -n 20").ends_with(2).says("network 20 is not up").says("rdom logs --lines 20");
        ok("rdom down");
        wait_for("the last word", || following.said().contains("down"));
        assert_eq!(following.end().status, 0);
        sh("rdom logs").ends_with(2).says("no network is up");
    });
}
