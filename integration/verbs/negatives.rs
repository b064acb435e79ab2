//! What must not happen: that it did not is no pass where it was never tried, or not seen. And what takes without end
//! ends with its test's time.

use std::time::{Duration, Instant};

use crate::capability::lacks;
use crate::copy::in_private_copies;
use crate::world::{sh, write};

/// Two domains with a link, two more beside them.
const DOMAINS: &str = "domains:
  1: {interfaces: {a: {addresses: [10.0.1.1/24]}}, routes: [{to: default, via: 10.0.1.2}]}
  2: {interfaces: {b: {addresses: [10.0.1.2/24]}, c: {addresses: [10.0.2.2/24]}}, sysctls: {net.ipv4.ip_forward: 1}}
  3: {interfaces: {d: {addresses: [10.0.2.3/24]}}, routes: [{to: default, via: 10.0.2.2}]}
links: [{ends: [1/a, 2/b]}, {ends: [2/c, 3/d]}]
";

fn tests(tests: &str) {
    write("domains.yaml", &format!("{DOMAINS}tests:\n{tests}"));
}

#[test]
fn a_program_that_writes_without_end_ends_with_its_time() {
    in_private_copies("negatives::a_program_that_writes_without_end_ends_with_its_time", || {
        tests("  - {in: 1, exec: [yes], within: 1s}\n");
        let started = Instant::now();
        let run = sh("rdom test").ends_with(1).says("it had not ended in time").says(" bytes left out)");
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
        assert!(run.out.len() < 1 << 20, "{} bytes", run.out.len());
        tests("  - {in: 1, exec: [sh, -c, 'seq 1000000; echo the end'], stdout: the end}\n");
        sh("rdom test").ends_with(0);
    });
}

#[test]
fn an_answer_that_never_ends_ends_with_its_time() {
    in_private_copies("negatives::an_answer_that_never_ends_ends_with_its_time", || {
        let server = "printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; while sleep 0.2; do echo x; done";
        write("server", server);
        if lacks("socat") {
            return;
        }
        let services = "services: {web: {command: [socat, 'TCP-LISTEN:80,fork,reuseaddr', 'EXEC:sh server'], ready: {tcp: 80}}}, ";
        let file = DOMAINS.replace("3: {", &format!("3: {{{services}"));
        write("domains.yaml", &format!("{file}tests: [{{in: 1, http: 'http://10.0.2.3/', within: 1s}}]\n"));
        let started = Instant::now();
        sh("timeout 30 rdom test").ends_with(1).says("http://10.0.2.3:80/ does not answer: timed out");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    });
}

#[test]
fn what_could_not_be_asked_is_not_unreachable() {
    in_private_copies("negatives::what_could_not_be_asked_is_not_unreachable", || {
        tests(
            "  - {in: 1, exec: [sh, -c, 'for pid in 1 2; do prlimit --nofile=3:3 --pid $pid; done'], name: no more descriptors}
  - {in: 1, ping: 10.0.1.2, expect: unreachable}
  - {in: 1, tcp: '10.0.1.2:80', expect: unreachable}
  - {in: 1, udp: '10.0.1.2:80', expect: unreachable}
",
        );
        let run = sh("rdom test").ends_with(1).says("1 passed, 3 failed");
        assert_eq!(run.out.matches("cannot ask: ").count(), 3, "{run:#?}");
    });
}

#[test]
fn too_big_for_nobody_is_no_mtu() {
    in_private_copies("negatives::too_big_for_nobody_is_no_mtu", || {
        tests(
            "  - {in: 1, mtu: 10.0.1.77, bytes: 1501, expect: too-big, within: 300ms}\n  - {in: 1, mtu: 10.0.2.3, bytes: 1501, expect: too-big}\n",
        );
        sh("rdom test")
            .ends_with(1)
            .says("1 passed, 1 failed")
            .says("seen:     none pass: 68 bytes are not answered");
    });
}

#[test]
fn who_says_nothing_on_a_path_may_be_who_is_avoided() {
    in_private_copies("negatives::who_says_nothing_on_a_path_may_be_who_is_avoided", || {
        let file = DOMAINS.replace("ip_forward: 1", "ip_forward: 1, net.ipv4.icmp_ratelimit: 1000000");
        let test = "tests: [{in: 1, path: 10.0.2.3, hops: [2], expect: avoided, within: 2s}]\n";
        write("domains.yaml", &(file + test));
        sh("rdom test").ends_with(1).says("1 failed");
    });
}

#[test]
fn a_long_name_of_a_program_is_its_name_all_the_same() {
    in_private_copies("negatives::a_long_name_of_a_program_is_its_name_all_the_same", || {
        if lacks("socat") {
            return;
        }
        let steps = "steps:
  - {in: 1, exec: [sh, -c, 'cp $(which socat) ./a-program-of-a-long-name; ./a-program-of-a-long-name UDP-LISTEN:53 - <>/dev/null >/dev/null 2>&1 &']}
  - {in: 1, socket: udp/53, owner: a-program-of-a-long-name}
  - {in: 1, socket: udp/53, owner: a-program-of-a-long-name, expect: absent, within: 100ms}
  - {in: 1, socket: udp/53, owner: a-program-of-another, expect: absent, within: 100ms}
";
        write("domains.yaml", &format!("{DOMAINS}{steps}"));
        let run = sh("rdom test").ends_with(1).says("3 passed, 1 failed");
        run.says("seen:     a-program-of-a-long-name is bound to udp/53");
    });
}

/// A socket that hears every packet of a domain, in the hands of a program of another.
#[test]
fn a_packet_socket_is_a_way_out() {
    in_private_copies("negatives::a_packet_socket_is_a_way_out", || {
        if lacks("python3") {
            return;
        }
        write(
            "spy.py",
            "import ctypes, os, socket, time
def enter(domain):
    assert ctypes.CDLL(None).setns(os.open(f'/run/netns/rdom{domain}', os.O_RDONLY), 0) == 0
enter(3)
heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
enter(1)
open('ready', 'w').close()
time.sleep(60)
",
        );
        let domains = "domains:
  1: {interfaces: {a: {addresses: [10.0.1.1/24]}}}
  2: {}
  3: {interfaces: {d: {addresses: [10.0.2.3/24]}}}
links: [{ends: [1/a, 2/b]}, {ends: [2/c, 3/d]}]
steps:
  - {isolated: [1, 3], within: 100ms}
  - {in: 0, exec: [sh, -c, 'setsid python3 spy.py >/dev/null 2>&1 & until test -e ready; do sleep 0.1; done']}
  - {isolated: [1, 3], within: 100ms}
";
        write("domains.yaml", domains);
        let run = sh("rdom test").ends_with(1).says("2 passed, 1 failed");
        run.says(") of 1 has a socket of 3 open");
    });
}

#[test]
fn a_filter_may_begin_as_an_option_does() {
    in_private_copies("negatives::a_filter_may_begin_as_an_option_does", || {
        tests("  - {in: 1, exec: ['true'], name: -x}\n  - {in: 1, exec: ['false']}\n");
        sh("rdom test --filter=-x --captures=-d").ends_with(0).says("1 passed");
    });
}

#[test]
fn a_tunnel_without_peers_has_no_handshake() {
    in_private_copies("negatives::a_tunnel_without_peers_has_no_handshake", || {
        let domains =
            "domains: {1: {interfaces: {wg0: {addresses: [10.0.0.1/24], wireguard: {peers: {}}}}}}\n";
        write("domains.yaml", &format!("{domains}tests: [{{in: 1, handshake: wg0, within: 100ms}}]\n"));
        sh("rdom test").ends_with(1).says("seen:     1/wg0 has no peers");
    });
}

/// A link that no file knows, with no addresses but those that every link has.
#[test]
fn a_link_that_a_program_made_is_a_way_out() {
    in_private_copies("negatives::a_link_that_a_program_made_is_a_way_out", || {
        let link = "ip -n rdom1 link add v type veth peer name w netns rdom3 &&
      ip -n rdom3 link set w up && ip -n rdom1 link set v up &&
      while ip -n rdom1 -6 addr | grep tentative; do sleep 0.1; done";
        let domains = "domains: {1: {}, 2: {}, 3: {}}\nlinks: [{ends: [1/a, 2/b]}, {ends: [2/c, 3/d]}]\n";
        let steps = format!(
            "steps:
  - {{isolated: [1, 3], within: 100ms}}
  - {{in: 0, exec: [sh, -c, '{link}']}}
  - {{isolated: [1, 3]}}
"
        );
        write("domains.yaml", &(domains.to_owned() + &steps));
        sh("rdom test").ends_with(1).says("2 passed, 1 failed").says(" sent to ff02::1 of ");
    });
}
