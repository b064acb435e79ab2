//! Who may not: told what is missing and what to do instead.
//!
//! An ordinary user is uid 65534 of root's copy, which has a TUN device of its own with the mode that a test wants.

use crate::copy::in_roots_copy;
use crate::world::{EXAMPLE, Traces, kernel_has_wireguard, ok, sh, write};

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
        sh(&format!("{NOBODY} rdom down")).ends_with(0).says("nothing is up");
        ok("ip netns exec rdom1 ping -c 1 -W 5 192.168.5.2");
        ok("rdom down");
        assert_eq!(Traces::now(), before);
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
            let refused = refused.says("/dev/net/tun is closed to this user: mode 0600, owner uid 0");
            refused.says("help: as root: chmod 0666 /dev/net/tun");
        }
        assert_eq!(Traces::now(), before);
    });
}

#[test]
fn where_it_is_open_nobody_needs_root() {
    in_roots_copy("rights::where_it_is_open_nobody_needs_root", || {
        tun_device_of_mode("666");
        let before = Traces::now();
        sh(&format!("{NOBODY} rdom demo")).ends_with(0).says("claims held");
        let inside = "rdom run domains.yaml -- rdom exec 2 ping -c 1 -W 5 192.168.5.1";
        sh(&format!("{NOBODY} {inside}")).ends_with(0).says("1 received");
        sh(&format!("{NOBODY} rdom test domains.yaml")).ends_with(0).says("5 passed, 0 failed");
        assert_eq!(Traces::now(), before);
    });
}
