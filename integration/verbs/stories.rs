//! `steps:` and what it takes to try them: links that are cut and impaired, peers that move, a real server.

use crate::capability::lacks;
use crate::copy::in_private_copies;
use crate::world::{ok, sh, write};

/// Two tunnels' ends, and two cables between their underlays.
///
/// ```text
/// a wg0 10.8.0.1 -. a-wire p0 192.0.2.1 ---- p0 192.0.2.2 b-wire .- b wg0 10.8.0.2
///                 '        q0 198.51.100.1 - q0 198.51.100.2     '
/// ```
const STORY: &str = r#"
domains:
  a:
    rdomain: 1
    interfaces:
      wg0:
        addresses: [10.8.0.1/24]
        wireguard: {underlay: a-wire, peers: {b/wg0: {endpoint: "192.0.2.2:7000"}}}
  b:
    rdomain: 2
    interfaces:
      wg0: {addresses: [10.8.0.2/24], wireguard: {underlay: b-wire, listen_port: 7000, peers: {a/wg0: {}}}}
  a-wire: {rdomain: 3, interfaces: {p0: {addresses: [192.0.2.1/30]}, q0: {addresses: [198.51.100.1/30]}}}
  b-wire: {rdomain: 4, interfaces: {p0: {addresses: [192.0.2.2/30]}, q0: {addresses: [198.51.100.2/30]}}}
links: [{ends: [a-wire/p0, b-wire/p0]}, {ends: [a-wire/q0, b-wire/q0]}]
steps:
"#;

fn story(steps: &[&str]) {
    let steps: String = steps.iter().map(|step| format!("  - {{{step}}}\n")).collect();
    write("story.yaml", &(STORY.trim_start().to_owned() + &steps));
}

#[test]
fn a_peer_that_moves_is_found_where_it_is_said_to_be() {
    in_private_copies("stories::a_peer_that_moves_is_found_where_it_is_said_to_be", || {
        let endpoint = |at: &str| format!("in: a, exec: [wg, show, wg0, endpoints], stdout: \"{at}\"");
        story(&[
            "in: a, ping: 10.8.0.2",
            &endpoint("192.0.2.2:7000"),
            "cut: b-wire/p0",
            "in: a, ping: 10.8.0.2, expect: unreachable",
            "move: a/wg0, peer: b/wg0, endpoint: \"198.51.100.2:7000\"",
            "in: a, ping: 10.8.0.2",
            &endpoint("198.51.100.2:7000"),
            // There is nobody there.
            "move: a/wg0, peer: b/wg0, endpoint: \"198.51.100.2:7001\"",
            "in: a, ping: 10.8.0.2, expect: unreachable",
            "restore: a-wire/p0",
            "move: a/wg0, peer: b/wg0, endpoint: \"192.0.2.2:7000\"",
            "in: a, ping: 10.8.0.2",
        ]);
        sh("rdom test story.yaml").ends_with(0).says("7 tests in 1 file: 7 passed, 0 failed");
    });
}

#[test]
fn a_link_does_to_packets_what_is_set_until_something_else_is() {
    in_private_copies("stories::a_link_does_to_packets_what_is_set_until_something_else_is", || {
        let shown = |domain: &str, words: &str| {
            format!("in: {domain}, exec: [tc, qdisc, show, dev, q0], stdout: {words}")
        };
        story(&[
            &shown("a-wire", "noqueue"),
            "set: a-wire/q0, rate: 8mbit",
            &shown("a-wire", "rate 8Mbit"),
            &shown("b-wire", "rate 8Mbit"),
            "cut: b-wire/q0",
            "restore: b-wire/q0",
            &shown("b-wire", "rate 8Mbit"),
            "in: a-wire, ping: 198.51.100.2",
            "set: a-wire/q0, loss: 0%",
            &shown("b-wire", "noqueue"),
            "set: a-wire/q0, rate: 1mbit, one_way: true",
            &shown("a-wire", "rate 1Mbit"),
            &shown("b-wire", "noqueue"),
        ]);
        sh("rdom test story.yaml").ends_with(0).says("8 tests in 1 file: 8 passed, 0 failed");
        story(&["set: a-wire/q0, loss: 100%", "in: a-wire, ping: 198.51.100.2, expect: unreachable"]);
        let lossy = sh("rdom test story.yaml");
        match lacks("netem") {
            true => lossy.ends_with(4).says("netem"),
            false => lossy.ends_with(0).says("1 passed"),
        };
    });
}

#[test]
fn a_web_server_answers_and_is_told_from_what_was_expected_of_it() {
    in_private_copies("stories::a_web_server_answers_and_is_told_from_what_was_expected_of_it", || {
        if lacks("python3") {
            return;
        }
        write("page.txt", "a page of its own\n");
        let serve =
            "exec: [sh, -c, 'python3 -m http.server 80 --bind 192.0.2.2 >/dev/null 2>&1 </dev/null &']";
        story(&[
            &format!("in: b-wire, {serve}"),
            "in: a-wire, http: \"http://192.0.2.2/page.txt\", within: 20s",
            "in: a-wire, http: \"http://192.0.2.2/page.txt\", status: 200, body: a page of its own",
            "in: a-wire, http: \"http://192.0.2.2/none\", status: 404",
            "in: b, http: \"http://192.0.2.2/page.txt\", expect: unreachable",
            "in: a-wire, http: \"http://192.0.2.2/none\", within: 200ms",
            "in: a-wire, http: \"http://192.0.2.2/page.txt\", body: another, within: 200ms",
        ]);
        let run = sh("rdom test story.yaml").ends_with(1).says("5 passed, 2 failed");
        run.says("404").says("a page of its own");
    });
}

#[test]
fn a_story_goes_on_with_another_file() {
    in_private_copies("stories::a_story_goes_on_with_another_file", || {
        let next =
            STORY.replace("10.8.0.2/24", "10.8.0.9/24").replace("a-wire", "c-wire").replace("steps:\n", "");
        ok("mkdir -p later");
        write("later/next.yaml", &next);
        story(&[
            "in: a, ping: 10.8.0.2",
            "cut: b-wire/p0",
            "apply: later/next.yaml",
            "in: c-wire, ping: 192.0.2.2",
            "in: a, ping: 10.8.0.9",
            "in: a, ping: 10.8.0.2, expect: unreachable",
            "in: 0, exec: [rdom, plan, later/next.yaml]",
            "cut: c-wire/p0",
            "in: a, ping: 10.8.0.9, expect: unreachable",
            "restore: b-wire/p0",
            "in: a, ping: 10.8.0.9",
            "in: a, counter: wg0",
        ]);
        sh("rdom test story.yaml").ends_with(0).says("8 tests in 1 file: 8 passed, 0 failed");
        story(&["apply: later/next.yaml", "in: a-wire, ping: 192.0.2.2"]);
        let old = sh("rdom test story.yaml").ends_with(2).says("story.yaml:17:10");
        old.says("no domain `a-wire`");
        write("later/next.yaml", &next.replace("10.8.0.9/24", "10.8.0.9/240"));
        let wrong = sh("rdom test story.yaml").ends_with(2).says("`later/next.yaml` cannot be applied");
        wrong.says("later/next.yaml:12:25").says("story.yaml:16:13");
        // What the kernel refuses changes nothing, and is told of at its place in that file.
        let refused = next.replace("links:", "  0: {interfaces: {eth7: {addresses: [10.0.0.1/24]}}}\nlinks:");
        write("later/next.yaml", &refused);
        story(&["apply: later/next.yaml", "in: a, ping: 10.8.0.9"]);
        let run = sh("rdom test story.yaml").ends_with(1).says("apply later/next.yaml");
        run.says("eth7").says("later/next.yaml:");
    });
}

/// Real servers, as services.
const SERVED: &str = r#"
domains:
  client:
    rdomain: 1
    interfaces: {eth0: {addresses: [10.0.0.1/24]}}
    dns: {servers: [10.0.0.2], search: [test]}
  server:
    rdomain: 2
    interfaces: {eth0: {addresses: [10.0.0.2/24]}}
    services:
      names:
        command: [dnsmasq, -k, -C, /dev/null, -R, -h, --user=, --group=, --pid-file=, --log-facility=-, --local=/test/,
          "--host-record=www.test,10.0.0.2", "--host-record=six.test,10.0.0.3,fd00::3"]
        ready: {tcp: 53}
      web: {command: [python3, -m, http.server, "80"], ready: {tcp: 80}}
links: [{ends: [client/eth0, server/eth0]}]
steps:
  - {in: client, dns: www.test, answers: [10.0.0.2]}
  - {in: client, dns: six, answers: [10.0.0.3, "fd00::3"]}
  - {in: client, dns: none.test, expect: absent}
  - {in: client, exec: [curl, -fsS, "http://www.test/served.yaml"], stdout: "dns: www.test"}
  - {in: client, http: "http://10.0.0.2/served.yaml", body: "dns: www.test"}
  - {in: server, socket: tcp/53, owner: dnsmasq}
  - {kill: names}
  - {in: client, dns: www.test, expect: absent}
  - {start: names}
  - {in: client, dns: www.test}
  - {in: client, dns: six, answers: [10.0.0.4], within: 1s}
"#;

#[test]
fn real_servers_of_names_and_pages_answer() {
    in_private_copies("stories::real_servers_of_names_and_pages_answer", || {
        if ["dnsmasq", "python3", "curl"].into_iter().any(lacks) {
            return;
        }
        write("served.yaml", SERVED);
        let run = sh("rdom test served.yaml").ends_with(1).says("9 tests in 1 file: 8 passed, 1 failed");
        let run = run.says("10.0.0.3, fd00::3").says("1: 10.0.0.2 goes by 10.0.0.0/24 dev eth0");
        run.says("2: 10.0.0.2 is an address of its own").says("rdom logs names (service names: ready)");
    });
}
