//! What docs/security.md claims of processes and files.

use nix::sys::signal::Signal;

use crate::capability::lacks;
use crate::copy::{Owner, in_private_copies, in_roots_copy, owner};
use crate::world::{EXAMPLE, Ran, ok, pings, process, sh, signal, supervisor, up, wait_for, write};

/// Says hello to an engine.
const CALL: &str = r#"
import socket
engine = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
engine.connect("/run/rdom/domains/engines/0.sock")
try:
    engine.send(b'"Hello"')
    print(engine.recv(100).decode() or "hung up")
except OSError:
    print("hung up")
"#;

fn status_of(pid: i32) -> String {
    ok(&format!("cat /proc/{pid}/status"))
}

#[test]
fn a_supervisor_keeps_the_capabilities_that_it_needs() {
    in_private_copies("security::a_supervisor_keeps_the_capabilities_that_it_needs", || {
        up();
        // chown, dac_override, kill, setpcap, net_bind_service, net_admin, net_raw, sys_admin (linux/capability.h).
        let kept: u64 = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 8 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 21;
        let number = |line: &str| u64::from_str_radix(line.split_whitespace().last()?, 16).ok();
        for thread in ok(&format!("ls /proc/{}/task", supervisor())).lines() {
            // One that was to enter a namespace may have done so by now.
            let status = sh(&format!("cat /proc/{}/task/{thread}/status", supervisor()));
            let Ran { status: 0, out: status, .. } = status else { continue };
            let sets = status
                .lines()
                .filter(|line| ["CapPrm", "CapEff", "CapBnd"].contains(&&line[..6.min(line.len())]));
            let sets: Vec<u64> = sets.filter_map(number).collect();
            assert_eq!((sets.len(), sets.iter().fold(0, |all, set| all | set) & !kept), (3, 0), "{status}");
            assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
        }
        assert!(status_of(supervisor()).contains(&format!("CapEff:\t{kept:016x}")));
        ok("rdom down");
    });
}

#[test]
fn nobody_without_privileges_looks_into_an_engine_not_even_its_user() {
    in_private_copies("security::nobody_without_privileges_looks_into_an_engine_not_even_its_user", || {
        up();
        let bare = "setpriv --bounding-set=-all --inh-caps=-all";
        ok(&format!("{bare} cat /proc/self/environ"));
        for pid in [process("rdom-engine").expect("an engine"), supervisor()] {
            sh(&format!("{bare} cat /proc/{pid}/environ")).ends_with(1).says("Permission denied");
            sh(&format!("{bare} cat /proc/{pid}/mem")).ends_with(1).says("Permission denied");
        }
        ok("rdom down");
    });
}

#[test]
fn sockets_and_files_are_their_owners_alone() {
    in_private_copies("security::sockets_and_files_are_their_owners_alone", || {
        up();
        let open =
            ok("find /run/rdom /run/state/domains -not -type l -perm /077 -not -path '*/domains/domains*'");
        assert_eq!(open, "");
        ok("rdom down");
        if owner() != Owner::Root {
            return;
        }
        let stranger = |words: &str| {
            sh(&format!("setpriv --reuid=4000 --regid=4000 --clear-groups --inh-caps=-all {words}"))
        };
        for door in ["control: {group: 4242}\n", ""] {
            write(
                "domains.yaml",
                &format!("{door}{EXAMPLE}").replacen("  1:\n", "  1:\n    allow: {users: ['4000']}\n", 1),
            );
            ok("rdom up -d");
            assert_eq!(stranger("ls /run/rdom").ends_with(0).out, "domains\n");
            for inside in ["", "/engines", "/wireguard"] {
                stranger(&format!("ls /run/rdom/domains{inside}")).ends_with(2).says("Permission denied");
            }
            ok("rdom down");
        }
    });
}

#[test]
fn a_stranger_gets_nowhere_near_the_sockets() {
    if lacks("python3") {
        return;
    }
    in_roots_copy("security::a_stranger_gets_nowhere_near_the_sockets", || {
        up();
        let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all";
        for socket in ["control.sock", "engines/0.sock", "wireguard/1/wg1.sock"] {
            sh(&format!("{nobody} nc -N -U /run/rdom/domains/{socket} </dev/null")).says("ermission denied");
        }
        // Were the directories open, those who answer would still look at who calls.
        ok(
            "chmod 755 /run/rdom /run/rdom/domains /run/rdom/domains/engines; chmod 666 /run/rdom/domains/engines/0.sock",
        );
        write("call.py", CALL);
        assert_eq!(ok(&format!("{nobody} /usr/bin/env python3 - <call.py")), "hung up\n");
        assert!(ok("/usr/bin/env python3 - <call.py").contains("protocol"));
        pings("rdom1", "192.168.5.2");
        ok("rdom down");
    });
}

#[test]
fn directories_and_keys_that_others_can_change_are_refused() {
    in_roots_copy("security::directories_and_keys_that_others_can_change_are_refused", || {
        write("domains.yaml", EXAMPLE);
        let refused = |why: &str| {
            for verb in ["up", "up -d"] {
                sh(&format!("rdom {verb}")).ends_with(1).says(why);
            }
        };
        ok("mkdir -p -m 777 /run/rdom/domains");
        refused("others can write to it (mode 0777): chmod go-w /run/rdom/domains");
        ok("rm -r /run/rdom; mkdir -p /run/elsewhere /run/rdom; ln -s /run/elsewhere /run/rdom/domains");
        refused("cannot use directory /run/rdom/domains");
        ok("rm -r /run/rdom; mkdir -p /run/rdom/domains; chown 65534 /run/rdom/domains");
        refused("it belongs to user 65534");
        ok("rm -r /run/rdom; mkdir -p /run/state/domains; chmod 772 /run/state/domains");
        refused("cannot use directory /run/state/domains");
        ok("rm -r /run/state/domains; chmod 777 /run/state");
        refused("others can write to it (mode 0777): chmod go-w /run/state");
        ok("chmod 755 /run/state; mkdir -m 700 /run/state/domains");
        ok(
            "chmod 700 /run/state/domains; mkdir /run/state/domains/keys; ln -s /etc/hostname /run/state/domains/keys/1-wg1",
        );
        refused("cannot read /run/state/domains/keys/1-wg1");
        ok(
            "rm /run/state/domains/keys/1-wg1; wg genkey >/run/state/domains/keys/1-wg1; chmod 602 /run/state/domains/keys/1-wg1",
        );
        refused("others can write to it (mode 0602)");
        ok("chmod 600 /run/state/domains/keys/1-wg1; rdom up -d; rdom down");
    });
}

#[test]
fn a_file_that_everybody_can_write_to_changes_nothing() {
    in_private_copies("security::a_file_that_everybody_can_write_to_changes_nothing", || {
        up();
        write("domains.yaml", &EXAMPLE.replacen("192.168.5.2/24", "192.168.5.2/24, 10.0.0.1/32", 1));
        ok("chmod 646 domains.yaml; rdom check; test \"$(rdom plan | wc -l)\" = 1");
        let apply = || sh("rdom apply").ends_with(2);
        apply().says("everybody can write to domains.yaml").says("help: chmod o-w domains.yaml");
        signal(supervisor(), Signal::SIGHUP);
        let log = || ok("cat /run/rdom/domains/log");
        wait_for("its refusal", || log().contains("nothing is changed: everybody can write to it"));
        assert!(!log().contains("10.0.0.1"), "{}", log());
        ok("rdom down");
        sh("rdom up -d").ends_with(2).says("everybody can write to domains.yaml");
        ok("chmod 664 domains.yaml; rdom up -d; rdom down");
    });
}

#[test]
fn no_core_of_a_crash_holds_keys() {
    in_private_copies("security::no_core_of_a_crash_holds_keys", || {
        up();
        for pid in [process("rdom-engine").expect("an engine"), supervisor()] {
            let limits = ok(&format!("grep 'Max core file size' /proc/{pid}/limits | tr -s ' '"));
            assert_eq!(limits, "Max core file size 0 0 bytes \n");
        }
        signal(supervisor(), Signal::SIGABRT);
        ok("rdom down");
    });
}
