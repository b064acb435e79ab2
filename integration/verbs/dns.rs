//! Names in a domain: who is asked, what stands in /etc, and which ways out are closed.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::capability::lacks;
use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{Traces, ok, sh, wait_for, write};

const NAMES: &str = "
domains:
  1:
    interfaces: {a: {addresses: [10.0.0.1/24]}}
    dns: {servers: [10.0.0.2], search: [blue.test], hosts: {web: 10.0.0.9}}
  2: {interfaces: {b: {addresses: [10.0.0.2/24]}}}
  3: {dns: host}
links: [{ends: [1/a, 2/b]}]
";

/// Sockets by which a C library, or who is asked by it, has somebody else look a name up.
const WAYS_OUT: [&str; 4] = [
    "/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/dbus/system_bus_socket",
    "/run/avahi-daemon/socket",
];

/// A daemon of the default domain, and how often it was asked.
struct Daemon {
    path: &'static str,
    callers: Arc<AtomicUsize>,
}

impl Daemon {
    /// Hangs up on everybody, so that a library goes on to the next way.
    fn start(path: &'static str) -> Self {
        fs::create_dir_all(Path::new(path).parent().expect("a directory")).expect("its directory");
        let listener = UnixListener::bind(path).expect(path);
        let callers = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&callers);
        thread::spawn(move || {
            for caller in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                drop(caller);
            }
        });
        Self { path, callers }
    }

    fn callers(&self) -> usize {
        self.callers.load(Ordering::SeqCst)
    }

    /// Whether a caller from there reaches it: as a socket, and as the library does it.
    fn is_reached_from(&self, way_in: &str) -> bool {
        let before = self.callers();
        let called = sh(&format!("{way_in} nc -N -U {} </dev/null", self.path)).status == 0;
        if called {
            wait_for("the caller", || self.callers() > before);
        }
        assert_eq!(called, self.callers() > before, "{} from {way_in:?}", self.path);
        called
    }
}

/// Answers for db.blue.test, and says of all other names that there are none such (RFC 1035, 4.1).
fn serve_names(namespace: &'static str, address: &'static str) {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let namespace = File::open(format!("/run/netns/{namespace}")).expect("a namespace");
        setns(namespace, CloneFlags::CLONE_NEWNET).expect("setns");
        let socket = UdpSocket::bind((address, 53)).expect("port 53");
        tell.send(()).expect("a listener");
        let mut question = [0; 512];
        while let Ok((length, asker)) = socket.recv_from(&mut question) {
            let question = &question[..length];
            let end = question[12..].iter().position(|byte| *byte == 0).expect("a name") + 12 + 5;
            let known = question[12..].starts_with(b"\x02db\x04blue\x04test\0");
            let answers = known && question[end - 4..end] == [0, 1, 0, 1];
            let flags = if known { [0x85, 0x80] } else { [0x85, 0x83] };
            let counts = [0, 1, 0, u8::from(answers), 0, 0, 0, 0];
            let mut answer = [&question[..2], &flags, &counts, &question[12..end]].concat();
            if answers {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            socket.send_to(&answer, asker).expect("an answer");
        }
    });
    told.recv().expect("a server of names");
}

#[test]
fn names_are_looked_up_where_the_file_says() {
    in_private_copies("dns::names_are_looked_up_where_the_file_says", || {
        write("domains.yaml", NAMES);
        let before = Traces::now();
        let host = ok("cat /etc/resolv.conf /etc/hosts");
        ok("rdom up -d");
        serve_names("rdom2", "10.0.0.2");
        for name in ["db.blue.test", "db"] {
            assert!(ok(&format!("rdom exec 1 getent ahosts {name}")).starts_with("192.0.2.7 "), "{name}");
        }
        assert!(ok("rdom exec 1 getent ahosts web").starts_with("10.0.0.9 "));
        assert!(ok("rdom exec 1 getent hosts localhost").contains("localhost"));
        sh("rdom exec 1 getent ahosts nobody").ends_with(2);
        sh("rdom exec 2 getent ahosts web").ends_with(2);
        write("domains.yaml", &NAMES.replace("[10.0.0.2], ", "[10.0.0.3], "));
        ok("rdom apply");
        assert!(ok("rdom exec 1 cat /etc/resolv.conf").contains("nameserver 10.0.0.3\n"));
        assert_eq!(ok("cat /etc/resolv.conf /etc/hosts"), host, "the host's own");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn no_daemon_of_the_default_domain_is_asked_unless_the_file_says_so() {
    in_private_copies("dns::no_daemon_of_the_default_domain_is_asked_unless_the_file_says_so", || {
        let daemons = WAYS_OUT.map(Daemon::start);
        write("domains.yaml", NAMES);
        ok("rdom up -d");
        for daemon in &daemons {
            assert!(daemon.is_reached_from(""), "{}: the test would see it", daemon.path);
            assert!(daemon.is_reached_from("rdom exec 3"), "{}: dns: host", daemon.path);
            assert!(!daemon.is_reached_from("rdom exec 1"), "{}", daemon.path);
            assert!(!daemon.is_reached_from("rdom exec 2"), "{}: nothing said", daemon.path);
        }
        // The C library asks nscd(8) first.
        let [nscd, ..] = &daemons;
        let asks = |way_in: &str| {
            let before = nscd.callers();
            sh(&format!("{way_in} getent ahosts nobody.blue.test"));
            nscd.callers() > before
        };
        assert!(asks("rdom exec 3"));
        assert!(!asks("rdom exec 1") && !asks("rdom exec 2"));
        ok("rdom down");
    });
}

#[test]
fn a_resolv_conf_of_systemd_resolved_is_covered_too() {
    in_private_copies("dns::a_resolv_conf_of_systemd_resolved_is_covered_too", || {
        ok(
            "mkdir -p /run/etc /run/systemd/resolve; cp -r /etc/. /run/etc 2>/dev/null; mount --bind /run/etc /etc",
        );
        let stub = "/run/systemd/resolve/stub-resolv.conf";
        write(stub, "nameserver 127.0.0.53\n");
        fs::remove_file("/etc/resolv.conf").expect("the old one");
        symlink(stub, "/etc/resolv.conf").expect("a link");
        write("domains.yaml", NAMES);
        ok("rdom up -d");
        let inside = |domain| ok(&format!("rdom exec {domain} cat /etc/resolv.conf"));
        assert!(inside(1).contains("nameserver 10.0.0.2\n"));
        assert_eq!(inside(2), "nameserver 127.0.0.53\n", "nobody is there in a domain");
        assert_eq!(ok("cat /etc/resolv.conf"), "nameserver 127.0.0.53\n");
        ok("rdom down");
    });
}

#[test]
fn who_is_let_in_looks_names_up_as_root_does() {
    if lacks("setcap") {
        return;
    }
    in_roots_copy("dns::who_is_let_in_looks_names_up_as_root_does", || {
        let program = env!("CARGO_BIN_EXE_rdom-enter");
        ok(&format!("cp {program} /run/bin/rdom-enter && setcap cap_sys_admin=p /run/bin/rdom-enter"));
        let daemons = WAYS_OUT.map(Daemon::start);
        ok("chmod 666 /run/*/socket /run/*/*_socket /run/systemd/resolve/*");
        write("domains.yaml", &NAMES.replace("    dns:", "    allow: {users: [daemon]}\n    dns:"));
        ok("rdom up -d");
        let daemon_in = |domain| {
            format!("setpriv --reuid=daemon --regid=daemon --clear-groups --inh-caps=-all rdom exec {domain}")
        };
        assert!(ok(&format!("{} getent ahosts web", daemon_in(1))).starts_with("10.0.0.9 "));
        // Callers are not counted: the supervisor has nscd(8) look the caller up.
        for Daemon { path, .. } in &daemons {
            sh(&format!("{} nc -N -U {path} </dev/null", daemon_in(1))).ends_with(1);
        }
        ok("rdom down");
    });
}
