//! `rdom demo`: proven, and gone.

use crate::copy::in_private_copies;
use crate::world::{EXAMPLE, Traces, kernel_has_wireguard, sh, write};

#[test]
fn it_is_proven_and_leaves_nothing() {
    in_private_copies("demo::it_is_proven_and_leaves_nothing", || {
        let before = Traces::now();
        let shown = sh("rdom demo").ends_with(0);
        let headings = [
            "ifconfig wg1",
            "ifconfig wg2",
            "netstat -ln",
            "netstat -ln -T1",
            "netstat -ln -T2",
            "route -T1 show",
            "route -T2 show",
            "route -T1 exec ping -c 1 192.168.5.2",
            "route -T2 exec ping -c 1 192.168.5.1",
            "route -T0 exec ping -c 1 -w 1 192.168.5.1",
            "route -T0 exec ping -c 1 -w 1 192.168.5.2",
        ];
        let seen = shown.out.lines().filter_map(|line| line.strip_prefix("$ rdom "));
        assert_eq!(seen.collect::<Vec<_>>(), headings);
        let last = shown.out.lines().last().expect("a last line");
        assert!(last.starts_with("all ") && last.contains(" claims held"), "{last}");
        assert_eq!(Traces::now(), before);
    });
}

#[test]
fn it_needs_no_other_program() {
    in_private_copies("demo::it_needs_no_other_program", || {
        let shown = sh("env -i PATH=/run/bin RDOM_STATE_DIR=/nowhere /run/bin/rdom demo").ends_with(0);
        let shown = shown.says("PING 192.168.5.2 (192.168.5.2): 56 data bytes").says("claims held");
        shown.says("64 bytes from 192.168.5.1: icmp_seq=0 ttl=64");
    });
}

#[test]
fn nobody_needs_to_read_it_to_its_end() {
    in_private_copies("demo::nobody_needs_to_read_it_to_its_end", || {
        let before = Traces::now();
        sh("rdom demo | head -n 1").ends_with(0).says("$ rdom ifconfig wg1");
        assert_eq!(Traces::now(), before);
    });
}

#[test]
fn without_a_tun_device_it_says_so() {
    in_private_copies("demo::without_a_tun_device_it_says_so", || {
        write("domains.yaml", EXAMPLE);
        let before = Traces::now();
        let verb = if kernel_has_wireguard() { "test domains.yaml" } else { "demo" };
        let over = |hide: &str, what: &str, place: &str| {
            let uncover = format!("status=$?; umount {place}; {what}; exit $status");
            sh(&format!("{hide} && mount --bind /run/hidden {place} && rdom {verb}; {uncover}")).ends_with(4)
        };
        let gone = over("mkdir /run/hidden", "rmdir /run/hidden", "/dev/net");
        gone.says("/dev/net/tun does not exist").says("help: ").says("modprobe tun");
        let file = over("touch /run/hidden", "rm /run/hidden", "/dev/net/tun");
        file.says("/dev/net/tun is not a device").says("mknod /dev/net/tun c 10 200");
        assert_eq!(Traces::now(), before);
    });
}
