//! `rdom run FILE -- COMMAND`: a copy that goes with its command, whatever that started.

use nix::sys::signal::Signal;

use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Background, EXAMPLE, Traces, is_file, is_running, ok, sh, signal, wait_for, write};

/// A command with offspring that would outlive it: in its group, in a session of its own, and in a domain.
const FAMILY: &str = "sh -c 'cp /bin/sleep /run/nap; /run/nap 1000 & setsid /run/nap 1000 & \
                      rdom exec 1 /run/nap 1000 & echo born; LAST'";

fn family(last: &str) -> String {
    format!("rdom run domains.yaml -- {}", FAMILY.replace("LAST", last))
}

#[test]
fn its_status_is_the_commands_or_125() {
    in_private_copies("run::its_status_is_the_commands_or_125", || {
        write("domains.yaml", EXAMPLE);
        write("bad.yaml", "domains: {x: {}}\n");
        let before = Traces::now();
        let run = |words: &str| sh(&format!("rdom run {words}"));
        run("domains.yaml -- true").ends_with(0);
        run("domains.yaml -- sh -c 'exit 7'").ends_with(7);
        run("domains.yaml -- sh -c 'kill -9 $$'").ends_with(137);
        run("domains.yaml -- no-such-program").ends_with(127).says("no-such-program");
        run("domains.yaml -- /etc/passwd").ends_with(126).says("/etc/passwd");
        run("none.yaml -- true").ends_with(125).says("cannot read none.yaml");
        run("bad.yaml -- true").ends_with(125).says("bad.yaml:1:");
        run("domains.yaml true").ends_with(2).says("rdom run [OPTIONS] <FILE> -- <COMMAND>");
        before.is_all_there_is();
    });
}

#[test]
fn what_cannot_come_up_ends_with_125_and_says_where() {
    in_private_copies("run::what_cannot_come_up_ends_with_125_and_says_where", || {
        write("gone.yaml", "domains: {1: {interfaces: {eth7: {addresses: [10.0.0.1/24]}}}}\n");
        let refused = sh("rdom run gone.yaml -- echo reached");
        assert!(refused.status == 125 && !refused.out.contains("reached"), "{refused:#?}");
        refused.says("gone.yaml:1:").says("eth7");
    });
}

#[test]
fn other_verbs_work_inside() {
    in_private_copies("run::other_verbs_work_inside", || {
        write("domains.yaml", EXAMPLE);
        let inside = "rdom exec 1 ping -c 1 -W 5 192.168.5.2 && ip netns exec rdom2 ping -c 1 -W 5 192.168.5.1 && \
                      rdom ifconfig wg1 && rdom status && wg show wg2 listen-port && rdom plan && rdom down && rdom down";
        let seen = sh(&format!("rdom run domains.yaml -- sh -c '{inside}'")).ends_with(0);
        seen.says("wgport 7111").says("\n7222\n").says("nothing to do").says("network domains is not up");
    });
}

#[test]
fn the_copies_of_one_file_do_not_meet() {
    in_private_copies("run::the_copies_of_one_file_do_not_meet", || {
        write("domains.yaml", EXAMPLE);
        ok("rdom up -d");
        let each = "rdom run domains.yaml -- rdom exec 1 ping -c 1 -W 5 192.168.5.2";
        let all: Vec<_> = ["a", "b", "c"].map(|name| Background::start(name, each)).into_iter().collect();
        all.into_iter().for_each(|copy| drop(copy.end().ends_with(0).says("1 received")));
        ok("rdom exec 1 ping -c 1 -W 5 192.168.5.2");
        ok("rdom down");
    });
}

#[test]
fn offspring_goes_with_the_command() {
    in_private_copies("run::offspring_goes_with_the_command", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        sh(&family("sleep 0.3; exit 3")).ends_with(3).says("born");
        assert!(!is_running("nap"));
        before.is_all_there_is();
    });
}

#[test]
fn offspring_goes_when_rdom_is_killed() {
    in_private_copies("run::offspring_goes_when_rdom_is_killed", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        for ending in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGHUP] {
            let run = Background::start("run", &family("sleep 100")).waits_until("born");
            wait_for("its offspring", || is_running("nap"));
            signal(run.pid(), ending);
            run.end();
            wait_for("the end of its offspring", || !is_running("nap") && !is_running("rdom"));
            before.is_all_there_is();
        }
    });
}

#[test]
fn what_ctrl_c_means_is_the_commands_to_say() {
    in_private_copies("run::what_ctrl_c_means_is_the_commands_to_say", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let patient = "setsid rdom run domains.yaml -- sh -c 'trap \"exit 9\" INT; echo ready; while :; do sleep 0.1; done'";
        let run = Background::start("run", patient).waits_until("ready");
        // To the whole group, as a terminal does it.
        signal(-run.pid(), Signal::SIGINT);
        run.end().ends_with(9);
        let plain =
            Background::start("run", "setsid rdom run domains.yaml -- sh -c 'echo ready; exec sleep 1000'");
        let plain = plain.waits_until("ready");
        signal(-plain.pid(), Signal::SIGINT);
        plain.end().ends_with(130);
        before.is_all_there_is();
    });
}

/// A further rtable, for a program of which a copy needs a control group.
const FURTHER: &str = "
domains:
  1:
    interfaces: {a: {addresses: [10.0.0.1/24]}}
    rtables: {10: {routes: [{to: default, via: 10.0.0.2}]}}
  2: {interfaces: {b: {addresses: [10.0.0.2/24, 192.0.2.1/32]}}}
links: [{ends: [1/a, 2/b]}]
";

#[test]
fn what_belongs_to_the_whole_machine_is_not_the_copys_to_change() {
    in_roots_copy("run::what_belongs_to_the_whole_machine_is_not_the_copys_to_change", || {
        write("domains.yaml", FURTHER);
        let before = Traces::now();
        let settings = "sysctl -ar '^(net[.](core|ipv4|ipv6)|kernel[.]printk|vm[.]swap)' 2>/dev/null";
        let machine = ok(settings);
        let script = "
            ! echo 1 >/proc/sys/kernel/printk || exit 1
            ! echo 1 >/proc/sys/vm/drop_caches || exit 2
            ! rdom exec 1 sh -c 'echo 1 >/proc/sys/kernel/printk' || exit 3
            ! rdom exec 1 sh -c 'echo add >/sys/module/tcp_cubic/uevent' || exit 4
            ! mkdir /sys/fs/x || exit 5
            echo 1 >/proc/sys/net/ipv4/ip_forward || exit 6
            rdom exec 1 sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward' || exit 7
            mkdir /run/mine && mount -t tmpfs mine /run/mine || exit 8
            mkdir /sys/fs/cgroup/left && echo $$ >/sys/fs/cgroup/left/cgroup.procs || exit 9
            [ ! -e /sys/fs/cgroup/unified ] || exit 10
            rdom exec -T 10 ping -c 1 -W 5 192.0.2.1 || exit 11
            [ -d /sys/fs/cgroup/rdom ] || exit 12
            [ \"$(cat /proc/1/comm)\" = rdom ]
";
        write("look.sh", script);
        sh("rdom run domains.yaml -- sh look.sh").ends_with(0);
        before.is_all_there_is();
        assert_eq!(ok(settings), machine);
        assert!(!is_file("/run/mine"));
    });
}

#[test]
fn control_groups_go_when_rdom_is_killed_and_a_killed_keepers_with_the_next_copy() {
    in_roots_copy(
        "run::control_groups_go_when_rdom_is_killed_and_a_killed_keepers_with_the_next_copy",
        || {
            write("domains.yaml", FURTHER);
            let before = Traces::now();
            let member = "rdom run domains.yaml -- rdom exec -T 10 sh -c 'cp /bin/sleep /run/nap; echo born; exec /run/nap 1000'";
            let start = || {
                let run = Background::start("run", member).waits_until("born");
                wait_for("its command", || is_running("nap"));
                run
            };
            let run = start();
            signal(run.pid(), Signal::SIGKILL);
            run.end();
            before.is_all_there_is();
            // All of its processes at once: the keeper is the one that is in no session of the others.
            let run = start();
            let keeper =
                ok(&format!("pgrep -P {} | xargs ps -o pid=,sid= | awk '$1 == $2 {{print $1}}'", run.pid()));
            signal(keeper.trim().parse().expect("a keeper"), Signal::SIGKILL);
            signal(run.pid(), Signal::SIGKILL);
            run.end();
            wait_for("the end of its command", || !is_running("nap"));
            sh("rdom run domains.yaml -- true").ends_with(0);
            before.is_all_there_is();
        },
    );
}
