//! kill -9 of the supervisor, of the engine's process, of both: what stays, what comes back, and how soon.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::copy::in_private_copies;
use crate::world::{
    Background, EXAMPLE, Traces, is_file, is_running, kill_supervisor, ok, pings, process, sh, signal,
    supervisor, udp_ports, unwatched, up, wait_for, write,
};

/// The engine's process, by the name that it gives itself.
fn engine() -> i32 {
    process("rdom-engine").expect("an engine")
}

/// The example with another peer of one interface: who has one peer has one queue.
fn hub() -> String {
    let other =
        "other: {public_key: 3rMLzVLmDIOXTT6BAJyKFKHkvtFRrBJbNDEf6FSBxm8=, allowed_ips: [192.168.5.3/32]}";
    let wg2 = "            wg2: {";
    EXAMPLE.replace(wg2, &format!("            {other}\n{wg2}"))
}

/// Links with their indices, addresses and routes of both domains: what must not be made anew.
fn standing() -> String {
    ["rdom1", "rdom2"]
        .map(|name| {
            ok(&format!(
                "ls -iL /run/netns/{name}; ip -n {name} -o link | cut -d' ' -f1,2; ip -n {name} -o address; \
                 ip -n {name} route show table all; ip -n {name} -6 route show table all"
            ))
        })
        .concat()
}

fn sessions() -> String {
    ok("wg show all latest-handshakes | sort; wg show all public-key | sort; wg show all listen-port | sort")
}

/// Pings every 10 ms through the tunnel and tells the longest time without an answer.
struct Pings(Background);

impl Pings {
    fn start() -> Self {
        let pings = Background::start("pings", "ip netns exec rdom1 ping -D -i 0.01 192.168.5.2");
        Self(pings.waits_until("icmp_seq=20 "))
    }

    fn longest_gap(self) -> Duration {
        let said = self.0.said();
        let last = said.matches("icmp_seq=").count();
        wait_for("more answers", || self.0.said().matches("icmp_seq=").count() > last + 20);
        signal(self.0.pid(), Signal::SIGINT);
        let said = self.0.end().out;
        let time = |line: &str| line.strip_prefix('[')?.split_once(']')?.0.parse::<f64>().ok();
        let answers: Vec<f64> = said.lines().filter(|line| line.contains("ttl=")).filter_map(time).collect();
        let gaps = answers.windows(2).map(|pair| pair[1] - pair[0]);
        Duration::from_secs_f64(gaps.fold(0.0, f64::max))
    }
}

#[test]
fn tunnels_go_on_without_a_supervisor_and_the_next_one_takes_them_over() {
    in_private_copies("crash::tunnels_go_on_without_a_supervisor_and_the_next_one_takes_them_over", || {
        let before = Traces::now();
        up();
        pings("rdom1", "192.168.5.2");
        let (engine_before, standing_before, sessions_before) = (engine(), standing(), sessions());
        let running = Pings::start();
        kill_supervisor();
        sh("rdom status").ends_with(0).says("network domains has no supervisor any more");
        ok("rdom exec 1 true");
        sh("rdom plan").ends_with(0).says("nothing to do");
        ok("rdom up -d");
        let gap = running.longest_gap();
        assert!(gap < Duration::from_millis(500), "nobody noticed: {gap:?}");
        assert_eq!((engine(), standing(), sessions()), (engine_before, standing_before, sessions_before));
        assert_eq!(sh("rdom status").ends_with(0).err, "");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn the_next_supervisor_may_come_while_the_killed_one_dies() {
    in_private_copies("crash::the_next_supervisor_may_come_while_the_killed_one_dies", || {
        let before = Traces::now();
        up();
        for _ in 0..20 {
            ok(&format!("kill -9 {}; rdom up -d", supervisor()));
        }
        let living = supervisor();
        sh("rdom up -d").ends_with(1).says(&format!("network domains is up already: process {living}"));
        signal(living, Signal::SIGKILL);
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_supervisor_that_cannot_serve_leaves_what_it_took_over() {
    in_private_copies("crash::a_supervisor_that_cannot_serve_leaves_what_it_took_over", || {
        let before = Traces::now();
        up();
        let (engine_before, standing_before) = (engine(), standing());
        kill_supervisor();
        ok("rm /run/rdom/domains/control.sock; mkdir /run/rdom/domains/control.sock");
        sh("rdom up -d").ends_with(1).says("control.sock");
        assert_eq!((engine(), standing()), (engine_before, standing_before));
        pings("rdom1", "192.168.5.2");
        ok("rmdir /run/rdom/domains/control.sock; rdom up -d; rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn an_engine_that_was_killed_is_started_again_within_a_second() {
    in_private_copies("crash::an_engine_that_was_killed_is_started_again_within_a_second", || {
        let before = Traces::now();
        up();
        pings("rdom1", "192.168.5.2");
        std::thread::sleep(Duration::from_secs(1));
        let (killed, standing_before) = (engine(), standing());
        let keys =
            "wg show all public-key | sort; wg show all listen-port | sort; wg show all allowed-ips | sort";
        let settings = ok(keys);
        let running = Pings::start();
        signal(killed, Signal::SIGKILL);
        wait_for("another engine", || process("rdom-engine").is_some_and(|pid| pid != killed));
        let gap = running.longest_gap();
        assert!(gap < Duration::from_secs(1), "{gap:?}");
        assert_eq!((standing(), ok(keys)), (standing_before, settings));
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn after_the_end_of_both_only_the_engine_is_started() {
    in_private_copies("crash::after_the_end_of_both_only_the_engine_is_started", || {
        let before = Traces::now();
        up();
        pings("rdom1", "192.168.5.2");
        let (standing_before, keys) = (standing(), ok("wg show all public-key | sort"));
        kill_supervisor();
        signal(engine(), Signal::SIGKILL);
        wait_for("its end", || !is_running("rdom-engine"));
        let plan = sh("rdom plan").ends_with(3).says("set tunnel 1/wg1").out;
        assert!(!plan.contains("create") && !plan.contains("address"), "{plan}");
        ok("rdom up -d");
        pings("rdom1", "192.168.5.2");
        assert_eq!(standing(), standing_before);
        assert_eq!(ok("wg show all public-key | sort"), keys, "the same keys");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn down_without_a_supervisor_ends_the_engine_even_a_stopped_one() {
    in_private_copies("crash::down_without_a_supervisor_ends_the_engine_even_a_stopped_one", || {
        let before = Traces::now();
        for ending in [None, Some(Signal::SIGSTOP), Some(Signal::SIGKILL)] {
            up();
            kill_supervisor();
            ending.into_iter().for_each(|ending| signal(engine(), ending));
            sh("rdom down").ends_with(0).says("no supervisor was alive");
            before.is_all_there_is();
        }
    });
}

#[test]
fn the_engine_keeps_no_privilege_and_opens_another_port_all_the_same() {
    in_private_copies("crash::the_engine_keeps_no_privilege_and_opens_another_port_all_the_same", || {
        write("domains.yaml", &unwatched());
        ok("rdom up -d");
        let status = ok(&format!("cat /proc/{}/status", engine()));
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
        let namespace = |pid: i32| ok(&format!("readlink /proc/{pid}/ns/net"));
        assert_eq!(namespace(engine()), ok("readlink /proc/self/ns/net"), "its underlay's");
        ok("wg set wg1 listen-port 7333");
        assert_eq!(udp_ports("default"), [7222, 7333, 7222, 7333]);
        ok("rdom down");
    });
}

#[test]
fn a_privileged_port_is_opened_for_the_engine() {
    in_private_copies("crash::a_privileged_port_is_opened_for_the_engine", || {
        write("domains.yaml", &EXAMPLE.replace("7111", "443"));
        ok("rdom up -d");
        assert_eq!(udp_ports("default"), [443, 7222, 443, 7222]);
        pings("rdom2", "192.168.5.1");
        ok("ip -n rdom1 link set wg1 down");
        ok("ip -n rdom1 link set wg1 up");
        wait_for("the port", || udp_ports("default") == [443, 7222, 443, 7222]);
        ok("rdom down");
    });
}

#[test]
fn several_queues_are_taken_over_by_another_engine() {
    in_private_copies("crash::several_queues_are_taken_over_by_another_engine", || {
        write("domains.yaml", &hub().replace("7111", "443"));
        let before = Traces::now();
        let sockets = |port| udp_ports("default").iter().filter(|of| **of == port).count();
        ok("RDOM_QUEUES=4 rdom up -d");
        let is_up = |port| {
            pings("rdom2", "192.168.5.1");
            pings("rdom1", "192.168.5.2");
            assert_eq!((sockets(port), sockets(7222)), (4, 2), "two peers, and one");
            assert_eq!(ok("ip netns exec rdom1 ss -Huln"), "", "and none in the domain");
        };
        is_up(443);
        signal(engine(), Signal::SIGKILL);
        wait_for("no sockets", || sockets(443) == 0);
        // A handshake that begins before both ends know each other is tried again after five seconds only.
        wait_for("peers", || sockets(443) == 4 && sh("wg show all peers").out.lines().count() == 3);
        is_up(443);
        ok("sed -i s/443/7111/ domains.yaml; rdom apply");
        is_up(7111);
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_supervisor_that_dies_while_its_engine_starts_leaves_none() {
    in_private_copies("crash::a_supervisor_that_dies_while_its_engine_starts_leaves_none", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let up = Background::start("up", "rdom up");
        wait_for("an engine", || is_file("/run/rdom/domains/engines/0.sock"));
        signal(up.pid(), Signal::SIGKILL);
        up.end().ends_with(137);
        ok("rdom down");
        before.is_all_there_is();
    });
}
