//! Who may not: told what is missing and what to do instead.
//!
//! An ordinary user is uid 65534 of root's copy, which has a TUN device of its own with the mode that a test wants.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::copy::{in_private_copies, in_roots_copy};
use crate::world::{EXAMPLE, Ran, Traces, kernel_has_wireguard, ok, sh, write};

/// As somebody who owns nothing.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
                      env -u RDOM_STATE_DIR -u RDOM_RUNTIME_DIR HOME=/nowhere XDG_RUNTIME_DIR=/nowhere";

fn tun_device_of_mode(mode: &str) {
    write("domains.yaml", EXAMPLE);
    ok(&format!(
        "mkdir /run/dev && mknod -m {mode} /run/dev/tun c 10 200 && mount --bind /run/dev/tun /dev/net/tun"
    ));
}

#[test]
fn up_names_the_capability_and_offers_a_private_copy() {
    in_roots_copy("rights::up_names_the_capability_and_offers_a_private_copy", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        for verb in ["up", "up -d", "plan"] {
            let refused = sh(&format!("{NOBODY} rdom {verb}")).ends_with(4);
            refused.says("CAP_NET_ADMIN").says("help: ").says("rdom run FILE -- COMMAND");
        }
        sh(&format!("{NOBODY} rdom check")).ends_with(0);
        ok("rdom up -d");
        for verb in ["status", "ifconfig", "netstat -R", "route -T1 show"] {
            sh(&format!("{NOBODY} rdom {verb}")).ends_with(2).says("only root can see");
        }
        sh(&format!("{NOBODY} rdom exec 1 true")).ends_with(1).says("only root can see");
        for verb in ["down", "apply"] {
            sh(&format!("{NOBODY} rdom {verb}")).ends_with(2).says("only root can see");
        }
        ok("ip netns exec rdom1 ping -c 1 -W 5 192.168.5.2");
        ok("rdom down");
        before.is_all_there_is();
    });
}

#[test]
fn a_closed_tun_device_is_named_with_its_mode_and_the_remedy() {
    in_roots_copy("rights::a_closed_tun_device_is_named_with_its_mode_and_the_remedy", || {
        tun_device_of_mode("600");
        let before = Traces::now();
        let demo = if kernel_has_wireguard() { "test domains.yaml" } else { "demo" };
        for (words, status) in [(demo, 4), ("run domains.yaml -- true", 125), ("test domains.yaml", 4)] {
            let refused = sh(&format!("{NOBODY} rdom {words}")).ends_with(status);
            let refused = refused.says("/dev/net/tun is closed to this user: mode 0600\n");
            refused.says("help: as root: chmod 0666 /dev/net/tun");
        }
        before.is_all_there_is();
    });
}

#[test]
fn where_it_is_open_nobody_needs_root() {
    in_roots_copy("rights::where_it_is_open_nobody_needs_root", || {
        tun_device_of_mode("666");
        let before = Traces::now();
        sh(&format!("{NOBODY} rdom demo")).ends_with(0).says("claims held");
        sh(&format!("{NOBODY} rdom wireguard wg9")).ends_with(4).says("help: ").says("CAP_NET_ADMIN");
        let inside = "rdom run domains.yaml -- rdom exec 2 ping -c 1 -W 5 192.168.5.1";
        sh(&format!("{NOBODY} {inside}")).ends_with(0).says("1 received");
        sh(&format!("{NOBODY} rdom test domains.yaml")).ends_with(0).says("5 passed, 0 failed");
        write("story.yaml", SLOWED);
        sh(&format!("{NOBODY} rdom test story.yaml")).ends_with(0).says("1 passed, 0 failed");
        before.is_all_there_is();
    });
}

#[test]
fn a_copy_that_gets_no_proc_goes_on_with_the_one_outside() {
    in_roots_copy("rights::a_copy_that_gets_no_proc_goes_on_with_the_one_outside", || {
        tun_device_of_mode("666");
        // As containers have it: who sees less of a /proc may not mount another one.
        ok("mount -t tmpfs masked /proc/fs");
        let inside = "rdom run domains.yaml -- rdom exec 2 ping -c 1 -W 5 192.168.5.1";
        sh(&format!("{NOBODY} {inside}")).ends_with(0).says("1 received");
        sh(&format!("{NOBODY} rdom test domains.yaml")).ends_with(0).says("5 passed, 0 failed");
        write("served.yaml", SERVED);
        sh(&format!("{NOBODY} rdom test served.yaml")).ends_with(0).says("1 passed, 0 failed");
        sh(&format!("{NOBODY} rdom doctor")).says("/proc cannot be mounted in a private copy");
    });
}

/// A service that is ready when a process of its own has a socket.
const SERVED: &str = "
domains: {1: {services: {web: {command: [python3, -m, http.server, '80'], ready: {tcp: 80}}}}}
tests: [{in: 1, http: 'http://127.0.0.1/'}]
";

/// A step that takes something of the kernel.
const SLOWED: &str = "
domains: {1: {interfaces: {a: {addresses: [10.0.0.1/24]}}}, 2: {interfaces: {b: {addresses: [10.0.0.2/24]}}}}
links: [{ends: [1/a, 2/b]}]
steps: [{set: 1/a, rate: 10mbit}, {in: 1, ping: 10.0.0.2}]
";

/// A network that takes nothing but namespaces.
const BARE: &str = "domains: {1: {}}\ntests: [{in: 1, exec: ['true']}]\n";
/// As somebody who may not make namespaces but in a user namespace; root's id goes into one with CAP_SETFCAP only.
const POWERLESS: [&str; 3] = ["setpriv", "--bounding-set=-all,+setfcap", "--inh-caps=-all"];

#[test]
fn a_limit_of_user_namespaces_is_named_with_the_remedy() {
    in_private_copies("rights::a_limit_of_user_namespaces_is_named_with_the_remedy", || {
        write("bare.yaml", BARE);
        let powerless = POWERLESS.join(" ");
        // Of a namespace further in, so that nobody else is limited.
        let limited = |limit: &str, words: &str| {
            let script =
                format!("echo {limit} >/proc/sys/user/max_user_namespaces; exec {powerless} rdom {words}");
            sh(&format!("unshare -Ur sh -c '{script}'"))
        };
        limited("1", "test bare.yaml").ends_with(0);
        for (words, status) in [("test bare.yaml", 4), ("run bare.yaml -- true", 125)] {
            let refused = limited("0", words).ends_with(status);
            let refused = refused.says("user namespaces are forbidden here: user.max_user_namespaces is 0");
            refused.says("help: as root: sysctl -w user.max_user_namespaces=10000");
        }
    });
}

/// Denies unshare(2) of a user namespace, as profiles of containers do.
fn no_user_namespaces() -> BpfProgram {
    let flag = libc::CLONE_NEWUSER as u64;
    let masked = SeccompCmpOp::MaskedEq(flag);
    let asked = SeccompCondition::new(0, SeccompCmpArgLen::Dword, masked, flag).expect("a condition");
    let rules = [(libc::SYS_unshare, vec![SeccompRule::new(vec![asked]).expect("a rule")])].into();
    let eperm = SeccompAction::Errno(Errno::EPERM as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("an architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, eperm, arch).expect("a filter");
    filter.try_into().expect("a program")
}

#[test]
fn a_seccomp_filter_is_named_with_the_remedy() {
    in_private_copies("rights::a_seccomp_filter_is_named_with_the_remedy", || {
        write("bare.yaml", BARE);
        let filtered = |words: &str| {
            let mut command = Command::new(POWERLESS[0]);
            command.args(&POWERLESS[1..]).arg("rdom").args(words.split(' '));
            let filter = no_user_namespaces();
            // SAFETY: seccomp(2) and prctl(2) alone, allowed between fork and exec.
            unsafe { command.pre_exec(move || apply_filter(&filter).map_err(|_| Errno::EINVAL.into())) };
            Ran::of(command.output().expect("setpriv"))
        };
        for (words, status) in [("test bare.yaml", 4), ("run bare.yaml -- true", 125)] {
            let refused = filtered(words).ends_with(status);
            let refused = refused
                .says("a seccomp filter of this process or container answers: Operation not permitted");
            refused.says("help: ").says("--security-opt seccomp=unconfined");
        }
        filtered("doctor").says("a seccomp filter");
    });
}
