//! `rdom exec` and `rdom route -T N exec`: the process becomes the command, in the domain.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use crate::copy::in_private_copies;
use crate::world::{Ran, ok, sh, up, write};

/// One word for each way to say it.
const WAYS: [&str; 5] = [
    "rdom exec 1",
    "rdom exec -T 1 --",
    "rdom exec rdom1 --",
    "rdom route -T1 exec",
    "rdom route -T 1 -n exec",
];

#[test]
fn it_ends_as_the_command_does() {
    in_private_copies("exec::it_ends_as_the_command_does", || {
        up();
        for way in WAYS {
            sh(&format!("{way} true")).ends_with(0);
            sh(&format!("{way} sh -c 'exit 42'")).ends_with(42);
            let killed = Command::new("sh")
                .args(["-c", &format!("exec {way} sh -c 'kill -TERM $$'")])
                .status()
                .expect("sh");
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(killed.signal(), Some(15), "{way}: the caller sees the signal itself");
            let missing = sh(&format!("{way} no-such-program")).ends_with(127);
            assert_eq!(missing.err, "rdom: no-such-program: No such file or directory\n");
            sh(&format!("{way} /etc/passwd")).ends_with(126).says("/etc/passwd: Permission denied");
        }
        ok("rdom down");
    });
}

#[test]
fn the_domain_is_looked_at_before_the_command() {
    in_private_copies("exec::the_domain_is_looked_at_before_the_command", || {
        sh("rdom exec 1 true").ends_with(1).says("no network is up");
        up();
        for (domain, command) in [("9", "true"), ("9", "no-such-program"), ("blue", "true"), ("010", "true")]
        {
            let reason = format!("routing table {domain}: No such file or directory");
            sh(&format!("rdom exec {domain} {command}")).ends_with(1).says(&reason).says("has 0, 1, 2");
            sh(&format!("rdom route -T {domain} exec {command}")).ends_with(1).says(&reason);
        }
        sh("rdom exec \"$(printf '\\377')\" true").ends_with(1).says("No such file or directory");
        sh("rdom exec 1").ends_with(1).says("no command");
        sh("rdom exec 9").ends_with(1).says("routing table 9");
        ok("rdom down");
    });
}

#[test]
fn a_domain_is_not_taken_for_the_default_one_from_inside() {
    in_private_copies("exec::a_domain_is_not_taken_for_the_default_one_from_inside", || {
        up();
        for word in ["0", "default"] {
            sh(&format!("rdom exec 1 rdom exec {word} true")).ends_with(1).says("not the default domain");
        }
        ok("rdom exec 0 rdom exec 0 true && rdom down");
    });
}

#[test]
fn no_domain_is_looked_at_but_the_one_that_is_meant() {
    in_private_copies("exec::no_domain_is_looked_at_but_the_one_that_is_meant", || {
        up();
        let record = "/run/rdom/*/domains/2.json";
        ok(&format!("cp {record} /run/kept; echo nonsense | tee {record}"));
        sh("rdom route -T 2 show").ends_with(1).says("2.json");
        for verb in ["route -T 1 show", "route -T 1 get 127.0.0.1", "netstat -T 1 -ln", "netstat -T 1 -rn"] {
            ok(&format!("rdom {verb}"));
        }
        ok(&format!("cp /run/kept {record}"));
        ok("rdom down");
    });
}

#[test]
fn it_is_the_same_process_with_signals_as_usual() {
    in_private_copies("exec::it_is_the_same_process_with_signals_as_usual", || {
        up();
        for way in WAYS {
            let pids = ok(&format!("sh -c 'echo $$; exec {way} sh -c \"echo \\$\\$\"'"));
            let pids: Vec<_> = pids.lines().collect();
            assert_eq!(pids[0], pids[1], "{way}");
            let masks = |way: &str| ok(&format!("{way} grep -E '^Sig(Blk|Ign)' /proc/self/status"));
            assert_eq!(masks(way), masks(""), "{way}: as if the shell had started it");
            let files = ok(&format!("{way} sh -c 'ls /proc/$$/fd'"));
            let beyond =
                files.split_whitespace().filter(|fd| fd.parse::<u32>().is_ok_and(|fd| (3..10).contains(&fd)));
            assert_eq!(beyond.count(), 0, "{way}: descriptors of rdom's own: {files}");
        }
        ok("rdom down");
    });
}

#[test]
fn it_has_the_callers_streams_and_words() {
    in_private_copies("exec::it_has_the_callers_streams_and_words", || {
        up();
        assert_eq!(ok("echo in | rdom exec 1 cat"), "in\n");
        assert_eq!(sh("rdom exec 1 sh -c 'echo out; echo err >&2'").ends_with(0).err, "err\n");
        assert_eq!(
            ok("rdom exec 1 printf '%s|' -v --json -n x '' '*' -- \"a b\""),
            "-v|--json|-n|x||*|--|a b|"
        );
        assert_eq!(ok("rdom exec 1 printf '\\377' | od -An -tx1").trim(), "ff");
        assert_eq!(ok("rdom exec 1 printf %s \"$(printf '\\376')\" | od -An -tx1").trim(), "fe");
        ok("rdom down");
    });
}

#[test]
fn it_keeps_the_terminal() {
    in_private_copies("exec::it_keeps_the_terminal", || {
        up();
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let mut child = Command::new("rdom")
            .args([
                "exec",
                "1",
                "sh",
                "-c",
                "test -t 0 && test -t 1 && test -t 2 && stty size </dev/stdin && echo tty",
            ])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("rdom");
        assert!(child.wait().expect("its end").success());
        drop(pty.slave);
        let mut seen = Vec::new();
        // EIO is how a terminal without another side ends.
        let _ = File::from(pty.master).read_to_end(&mut seen);
        assert!(String::from_utf8_lossy(&seen).contains("tty"), "{seen:?}");
        ok("rdom down");
    });
}

#[test]
fn it_sees_the_domain_and_nothing_else() {
    in_private_copies("exec::it_sees_the_domain_and_nothing_else", || {
        up();
        ok("mkdir -p /run/etc && mount --bind /run/etc /run/etc");
        for way in WAYS {
            assert_eq!(ok(&format!("{way} ls /sys/class/net")), "lo\nwg1\n", "{way}");
            let namespace = ok(&format!("{way} stat -Lc %i /proc/self/ns/net"));
            assert_eq!(namespace, ok("stat -Lc %i /run/netns/rdom1"), "{way}");
            assert_eq!(ok(&format!("{way} wg show interfaces")), "wg1\n");
            assert_eq!(ok(&format!("{way} ls /run/wireguard /var/run/wireguard | grep -c wg1.sock")), "2\n");
        }
        assert_eq!(ok("rdom exec 0 stat -Lc %i /proc/self/ns/net"), ok("stat -Lc %i /proc/self/ns/net"));
        let environment = ok("rdom exec 2 env | grep -E '^RDOM_(NETWORK|DOMAIN|DOMAIN_NAME)=' | sort");
        assert_eq!(environment, "RDOM_DOMAIN=2\nRDOM_DOMAIN_NAME=rdom2\nRDOM_NETWORK=domains\n");
        let seen = ok("cut -d' ' -f3- /proc/self/mountinfo");
        ok("rdom exec 1 mount -t tmpfs tmpfs /run/etc");
        assert_eq!(ok("cut -d' ' -f3- /proc/self/mountinfo"), seen, "what it mounts is its own");
        ok("umount /run/etc && rmdir /run/etc");
        ok("rdom down");
    });
}

#[test]
fn two_domains_may_each_have_a_wg0() {
    in_private_copies("exec::two_domains_may_each_have_a_wg0", || {
        write(
            "two.yaml",
            "defaults: {engine: userspace, drift: off}
domains:
  blue: {rdomain: 1, interfaces: {wg0: {addresses: [10.0.0.1/24], wireguard: {listen_port: 1111, peers: {red/wg0: {}}}}}}
  red: {rdomain: 2, interfaces: {wg0: {addresses: [10.0.0.2/24], wireguard: {listen_port: 2222, peers: {blue/wg0: {}}}}}}
",
        );
        ok("rdom up -d two.yaml");
        assert_eq!(ok("ls /run/wireguard"), "red.wg0.sock\nwg0.sock\n");
        assert_eq!(ok("wg show wg0 listen-port; wg show red.wg0 listen-port"), "1111\n2222\n");
        assert_eq!(ok("rdom exec blue wg show wg0 listen-port"), "1111\n");
        assert_eq!(ok("rdom exec red wg show wg0 listen-port"), "2222\n");
        ok("rdom exec 2 wg set wg0 listen-port 3333");
        assert_eq!(ok("rdom exec 2 wg show wg0 listen-port; wg show wg0 listen-port"), "3333\n1111\n");
        ok("rdom exec red ping -c 1 -W 5 10.0.0.1");
        ok("rdom down");
        assert_eq!(ok("ls /run/wireguard"), "");
    });
}

#[test]
fn ping_is_there_where_none_is_installed() {
    in_private_copies("exec::ping_is_there_where_none_is_installed", || {
        up();
        let ping = |words: &str| -> Ran { sh(&format!("PATH=/run/bin rdom exec 1 ping {words}")) };
        ping("-c 1 192.168.5.2").ends_with(0).says("1 packets transmitted, 1 packets received");
        ping("-c 1 -w 1 10.1.1.1").ends_with(1).says("No route to host");
        ping("-c x 192.168.5.2").ends_with(2);
        ok("rdom down");
    });
}
