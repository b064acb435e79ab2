//! `GET /v1/events` on the control socket: what happens to a network, as it happens.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Background, EXAMPLE, json, ok, process, sh, signal, up, wait_for, write};

const SOCKET: &str = "/run/rdom/domains/control.sock";

/// Somebody who listens, and what they have heard so far.
fn listener(name: &'static str) -> Background {
    let before = connected();
    let listener =
        Background::start(name, &format!("curl -sSN --unix-socket {SOCKET} http://rdom/v1/events"));
    wait_for("a connection", || connected() > before);
    listener
}

fn heard(listener: &Background) -> Vec<Value> {
    let said = listener.said();
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn hears(listener: &Background, event: &str, words: &str) {
    let told = |one: &Value| one["event"] == event && one.to_string().contains(words);
    wait_for(&format!("{event} with {words:?}"), || heard(listener).iter().any(told));
}

#[test]
fn whoever_listens_hears_what_happens() {
    in_private_copies("events::whoever_listens_hears_what_happens", || {
        if lacks("curl") {
            return;
        }
        up();
        let (one, two) = (listener("one"), listener("two"));
        write("domains.yaml", &EXAMPLE.replacen("192.168.5.2/24", "192.168.5.2/24, 10.0.0.1/32", 1));
        ok("rdom apply --confirm 60s");
        hears(&one, "applied", "add address 10.0.0.1/32 to 2/wg2");
        hears(&one, "applied", "\"goes_back_in_secs\":60");
        sh("rdom apply").ends_with(1);
        hears(&one, "refused", "is not confirmed");
        ok("rdom confirm");
        hears(&one, "confirmed", "");
        write("domains.yaml", EXAMPLE);
        ok("rdom apply --confirm 1s");
        hears(&one, "gone_back", "add address 10.0.0.1/32 to 2/wg2");
        ok("ip -n rdom1 address delete 192.168.5.1/24 dev wg1");
        hears(&one, "drift", "address 192.168.5.1/24 removed from 1/wg1");
        let engine = process("rdom-engine").expect("an engine");
        signal(engine, Signal::SIGKILL);
        hears(&one, "engine_ended", "");
        let at: Vec<_> = heard(&one).iter().filter_map(|event| event["unix_millis"].as_u64()).collect();
        assert!(at.len() >= 6 && at.is_sorted() && at[0] > 1_600_000_000_000, "{at:?}");

        let start = Instant::now();
        ok("rdom down");
        assert!(
            start.elapsed() < Duration::from_millis(1900),
            "listeners do not hold it up: {:?}",
            start.elapsed()
        );
        hears(&two, "down", "");
        for listener in [one, two] {
            assert_eq!(listener.end().status, 0);
        }
    });
}

#[test]
fn who_does_not_read_stalls_nobody() {
    in_roots_copy("events::who_does_not_read_stalls_nobody", || {
        up();
        let deaf: Vec<_> = std::iter::from_fn(listens).take(100).collect();
        assert_eq!(deaf.len(), 16);
        let many: String = (0..100).map(|number| format!(", 10.0.0.{number}/32")).collect();
        write("other.yaml", &EXAMPLE.replacen("192.168.5.2/24", &format!("192.168.5.2/24{many}"), 1));
        let start = Instant::now();
        // More than fits into the sockets of those who do not read.
        ok("for round in $(seq 28); do
                rdom apply -n domains other.yaml && rdom apply -n domains domains.yaml || exit
            done >/dev/null");
        assert_eq!(json("rdom status --json")["history"]["applies"], 56);
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        wait_for("the end of the deaf", || connected() == 0);
        let gone: Vec<_> = std::iter::from_fn(listens).take(16).collect();
        assert_eq!(gone.len(), 16, "their places are free again");
        drop(gone);
        wait_for("the end of those who have gone", || connected() == 0);
        let _listening: Vec<_> = std::iter::from_fn(listens).take(16).collect();
        let start = Instant::now();
        ok("rdom down");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

/// Somebody who listens and does not read, if there is a place for them.
fn listens() -> Option<UnixStream> {
    let mut stream = UnixStream::connect(SOCKET).expect("the socket");
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").expect("a request");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert!([b"HTTP/1.1 200", b"HTTP/1.1 503"].contains(&&answer), "{answer:?}");
    (&answer == b"HTTP/1.1 200").then_some(stream)
}

/// How many are connected to the control socket.
fn connected() -> usize {
    ok(&format!("ss -H -x state connected src {SOCKET}")).lines().count()
}
