//! The control socket as anybody meets it who may open it: curl, and callers who behave badly.
//!
//! While each of the latter does its worst, `rdom status` must be answered as if nobody else were there.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rdomain::status::EventView;
use serde_json::{Value, json};

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Background, EXAMPLE, json, ok, sh, up, wait_for, write};

const SOCKET: &str = "/run/rdom/domains/control.sock";

/// How soon an operator wants an answer, on a machine that does much else.
const SOON: Duration = Duration::from_secs(10);

fn caller() -> UnixStream {
    let stream = UnixStream::connect(SOCKET).expect(SOCKET);
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    stream
}

/// What is answered to these bytes; nothing if the supervisor hangs up.
fn answer(bytes: &[u8]) -> String {
    let mut stream = caller();
    // Whoever is hung up on while it still writes has been answered before.
    let _ = stream.write_all(bytes);
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("neither an answer nor an end: {error}"),
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[track_caller]
fn is_answered_soon() {
    let start = Instant::now();
    assert_eq!(json("rdom status --json")["network"], "domains");
    assert!(start.elapsed() < SOON, "status took {:?}", start.elapsed());
}

#[test]
fn curl_can_do_what_the_command_line_can() {
    in_private_copies("control::curl_can_do_what_the_command_line_can", || {
        if lacks("curl") {
            return;
        }
        up();
        let curl = format!("curl -sS --fail --unix-socket {SOCKET}");
        let seen = json(&format!("{curl} http://rdom/v1/status"));
        let told = json("rdom status --json");
        assert_eq!(seen["domains"].as_array().map(Vec::len), told["domains"].as_array().map(Vec::len));
        assert!(told["supervisor"].is_u64(), "{told:#}");
        let metrics = ok(&format!("{curl} -D- http://rdom/metrics"));
        assert!(metrics.contains("application/openmetrics-text; version=1.0.0"), "{metrics}");
        assert!(metrics.contains("rdom_peer_received_bytes_total{"), "{metrics}");
        assert!(metrics.contains("peer=\"wg2\"") && metrics.ends_with("# EOF\n"), "{metrics}");
        ok(&format!("{curl} -X POST http://rdom/v1/down"));
        sh("rdom status").ends_with(2).says("no network is up");
    });
}

/// The requests of docs/control.md: method, path, and the document that its table says is answered.
fn documented() -> Vec<(String, String, Option<String>)> {
    let rows = include_str!("../../docs/control.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let request = |row: &str| {
        let (request, rest) = row.split_once("` |")?;
        let (method, path) = request.split_once(' ')?;
        let schema = rest.split_once("`rdom schema ").and_then(|(_, rest)| rest.split_once('`'));
        Some((method.to_owned(), path.to_owned(), schema.map(|(schema, _)| schema.to_owned())))
    };
    rows.filter_map(request).collect()
}

#[test]
fn answers_are_as_their_page_and_schemas_say() {
    in_private_copies("control::answers_are_as_their_page_and_schemas_say", || {
        if lacks("curl") {
            return;
        }
        up();
        let text = EXAMPLE.replacen("192.168.5.2/24", "192.168.5.2/24, 10.0.0.1/32", 1);
        let body = json!({"network": "domains", "file": "a.yaml", "directory": "/run/work", "text": text});
        write("body.json", &body.to_string());
        let listening =
            Background::start("events", &format!("curl -sSN --unix-socket {SOCKET} http://rdom/v1/events"));
        wait_for("a listener", || ok(&format!("ss -H -x state connected src {SOCKET}")).lines().count() == 1);
        let documented = documented();
        assert_eq!(documented.len(), 6, "{documented:?}");
        for (method, path, schema) in documented {
            let answer = match path.as_str() {
                "/v1/events" => continue,
                "/v1/apply" => ok(&curl(
                    &method,
                    "-H 'content-type: application/json' -d @body.json",
                    "/v1/apply?confirm=60s",
                )),
                path => ok(&curl(&method, "", path)),
            };
            match (path.as_str(), schema) {
                ("/metrics", None) => assert!(answer.ends_with("# EOF\n"), "{answer}"),
                (_, None) => assert_eq!(answer, "{}"),
                (_, Some(schema)) => fits(&answer, &schema),
            }
        }
        let told = listening.end().ends_with(0).out;
        let events: Vec<_> = told.lines().map(|line| line.split('"').nth(5).unwrap_or(line)).collect();
        assert_eq!(events, ["applied", "confirmed", "down"], "{told}");
        told.lines().for_each(|line| drop(serde_json::from_str::<EventView>(line).expect(line)));
    });
}

fn curl(method: &str, words: &str, path: &str) -> String {
    format!("curl -sS --fail-with-body --unix-socket {SOCKET} -X {method} {words} 'http://rdom{path}'")
}

/// Has every key that its schema requires, and none that it does not know.
fn fits(answer: &str, schema: &str) {
    let answer: Value = serde_json::from_str(answer).expect(answer);
    let answer = answer.as_object().expect("an object");
    let schema = json(&format!("rdom schema {schema}"));
    for key in schema["required"].as_array().expect("required") {
        assert!(answer.contains_key(key.as_str().expect("a key")), "{key} is missing in {answer:?}");
    }
    let known = schema["properties"].as_object().expect("properties");
    assert!(answer.keys().all(|key| known.contains_key(key)), "{:?} of {answer:?}", known.keys());
}

#[test]
fn bad_requests_are_answered_and_forgotten() {
    in_roots_copy("control::bad_requests_are_answered_and_forgotten", || {
        up();
        let long = format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
        let many = format!("GET /v1/status HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1000));
        let large = format!(
            "POST /v1/down HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}",
            1 << 20,
            "a".repeat(1 << 20)
        );
        let asked = [
            (b"\x16\x03\x01\x00\xff\x00\xff not HTTP\r\n\r\n".to_vec(), "400"),
            (b"GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "404"),
            (b"DELETE /v1/status HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "405"),
            (b"GET /v1/down HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "405"),
            (long.into_bytes(), "431"),
            (many.into_bytes(), "431"),
            (large.into_bytes(), "413"),
        ];
        for (bytes, status) in asked {
            let answer = answer(&bytes);
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            // Somebody who writes on after the answer may lose it to the reset that follows.
            let lost = answer.is_empty() && bytes.len() > 1 << 19;
            assert!(lost || answer.starts_with(&format!("HTTP/1.1 {status}")), "{start:?}: {answer:?}");
            is_answered_soon();
        }
        ok("rdom down");
    });
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    in_roots_copy("control::arbitrary_bytes_do_no_harm", || {
        up();
        let methods = ["GET", "POST", "PUT", "\u{fffd}", "", "PRI * HTTP/2.0"];
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            usize::try_from(seed >> 33).expect("31 bits") % below
        };
        for _ in 0..200 {
            let mut bytes = match random(3) {
                0 => Vec::new(),
                1 => methods[random(methods.len())].as_bytes().to_vec(),
                _ => b"GET /v1/status HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n".to_vec(),
            };
            for _ in 0..random(64) {
                let byte = u8::try_from(random(256)).expect("a byte");
                bytes.insert(random(bytes.len() + 1), byte);
            }
            let mut stream = caller();
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        is_answered_soon();
        ok("ip netns exec rdom1 ping -c 1 -W 5 192.168.5.2");
        ok("rdom down");
    });
}

#[test]
fn slow_and_dead_callers_stall_nobody() {
    in_roots_copy("control::slow_and_dead_callers_stall_nobody", || {
        up();
        let mut drips: Vec<_> = (0..30).map(|_| caller()).collect();
        drips.iter_mut().for_each(|stream| stream.write_all(b"GET /v1/st").expect("a first word"));
        let mut half: Vec<_> = (0..10).map(|_| caller()).collect();
        for stream in &mut half {
            stream
                .write_all(b"POST /v1/down HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
                .expect("half");
        }
        let deaf: Vec<_> = (0..10).map(|_| caller()).collect();
        is_answered_soon();
        let start = Instant::now();
        for mut stream in drips.into_iter().chain(deaf) {
            let _ = stream.read_to_end(&mut Vec::new());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "hung up on after {:?}", start.elapsed());
        for mut stream in half {
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said);
            assert!(said.starts_with("HTTP/1.1 408"), "{said:?}");
        }
        assert!(ok("ip netns list").contains("rdom1"), "nothing went down");
        ok("rdom down");
    });
}

#[test]
fn two_hundred_connections_are_told_to_come_later() {
    in_roots_copy("control::two_hundred_connections_are_told_to_come_later", || {
        up();
        let mut refused = 0;
        let mut held = Vec::new();
        for _ in 0..200 {
            let mut stream = caller();
            stream.set_nonblocking(false).expect("blocking");
            stream.set_read_timeout(Some(Duration::from_millis(30))).expect("a timeout");
            let mut said = String::new();
            match stream.read_to_string(&mut said) {
                Ok(_) if said.starts_with("HTTP/1.1 503") => refused += 1,
                Ok(_) => panic!("hung up on without a word: {said:?}"),
                Err(_) => held.push(stream),
            }
        }
        assert!(refused > 0 && held.len() >= 64, "{refused} refused, {} held", held.len());
        drop(held);
        is_answered_soon();
        ok("rdom down");
    });
}
