//! What an operator asks of a network that is up: is it as asked, what becomes of it, what has been logged.

use crate::capability::lacks;
use crate::copy::in_private_copies;
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
