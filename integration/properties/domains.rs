//! What becomes of tables and interfaces when the file changes: rows 5, 7, 18 and 41. A supervisor holds the network.

use std::fs;
use std::process::Command;

use super::{PAIR, RDOM, no_copies, tunnels};
use crate::capability::lacks;

/// What a script said in a private copy where this network is up and is called `net`; `apply` makes it the new one.
fn changed(old: &str, new: &str, script: &str) -> Option<String> {
    if no_copies() || lacks("ip") || lacks("unshare") {
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("net.yaml", old), ("new.yaml", new)] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    let prologue = r#"
        exec 2>&1
        mount -t tmpfs tmpfs /run; ip link set lo up
        export RDOM_STATE_DIR=/run/state RDOM_RUNTIME_DIR=/run/rdom
        "$RDOM" up -d net.yaml > /dev/null
        apply() { cp new.yaml net.yaml; "$RDOM" apply net.yaml; }"#;
    let mut command = Command::new("unshare");
    command.args(["-Urnmpf", "--mount-proc", "--kill-child", "--", "bash", "-uc"]);
    command.arg(format!("{prologue}\n{script}\n\"$RDOM\" down -n net > /dev/null"));
    let output = command.env("RDOM", RDOM).current_dir(&directory).output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// 5: a table is there when the file says so, and not because of a route that the kernel refuses or that somebody adds.
#[test]
fn a_route_that_is_refused_leaves_no_table() {
    let table = "rtables: {10: {routes: [{to: 10.8.0.0/16, via: 10.0.0.2}, {to: 10.9.0.0/16, via: 10.0.0.2, src: 10.0.0.77}]}}";
    let new = PAIR.replace("1: {interfaces", &format!("1: {{{table}, interfaces"));
    let script = r#"
        apply; echo apply $?
        "$RDOM" exec 1 ip route show table 10 2>&1
        "$RDOM" exec 1 ip route add 10.8.0.0/16 via 10.0.0.2 table 10
        "$RDOM" route -T10 exec true; echo exec $?"#;
    let Some(said) = changed(PAIR, &new, script) else { return };
    assert!(
        said.contains("source 10.0.0.77 is not an address of domain 1") && said.contains("apply 2"),
        "{said}"
    );
    assert!(!said.contains("10.8.0.0/16 via 10.0.0.2 dev eth0"), "{said}");
    assert!(said.contains("routing table 10 of domain 1 is not one of network net\nexec 1"), "{said}");
}

/// 7: a number is a domain's or a further table's, and becomes the other when it is free, whatever was in the table.
#[test]
fn a_table_with_routes_becomes_a_domain_only_when_it_is_no_table_any_more() {
    let table = "rtables: {3: {routes: [{to: 10.8.0.0/16, via: 10.0.0.2}]}}";
    let with_table = PAIR.replace("1: {interfaces", &format!("1: {{{table}, interfaces"));
    let script = r#"
        apply > /dev/null; echo table $?
        cp net.yaml both.yaml; sed -i 's/^  2:/  3: {}\n  2:/' both.yaml
        cp both.yaml net.yaml; "$RDOM" apply net.yaml; echo both $?
        "$RDOM" exec 1 ip route show table 3
        sed -i 's/rtables: {.*}}, interfaces/interfaces/' net.yaml
        "$RDOM" apply net.yaml > /dev/null; echo domain $?
        "$RDOM" exec 3 ip route show table all | grep -c 10.8.0.0
        "$RDOM" exec 1 ip route show table all | grep -c 10.8.0.0"#;
    let Some(said) = changed(PAIR, &with_table, script) else { return };
    assert!(said.starts_with("table 0\nerror: rtable number 3 is used twice"), "{said}");
    assert!(said.contains("both 2\n") && said.contains("10.8.0.0/16 via 10.0.0.2 dev eth0"), "{said}");
    assert!(said.ends_with("domain 0\n0\n0\n"), "{said}");
}

/// 18: an interface whose domain changes has its addresses and routes in the new one, and is not in the old one.
#[test]
fn an_interface_that_moves_keeps_addresses_and_routes() {
    let routes = "routes: [{to: 10.8.0.0/16, via: 10.0.0.2}], interfaces: {eth0: {addresses: [10.0.0.1/24, 'fd00::1/64']}}";
    let new = PAIR.replace("  1: {", "  1: {}\n  3: {").replace("1/eth0", "3/eth0");
    let new = new.replace("interfaces: {eth0: {addresses: [10.0.0.1/24]}}", routes);
    let script = r#"
        apply; echo apply $?
        "$RDOM" exec 1 ip -br link | grep -c eth0
        "$RDOM" exec 3 ip -br address show dev eth0
        "$RDOM" exec 3 ip route show 10.8.0.0/16 table all
        "$RDOM" exec 3 ping -c 1 -W 20 10.0.0.2 > /dev/null && echo answered
        "$RDOM" plan net.yaml"#;
    let Some(said) = changed(PAIR, &new, script) else { return };
    assert!(said.contains("delete interface 1/eth0\n") && said.contains("apply 0\n0\n"), "{said}");
    assert!(said.contains("10.0.0.1/24 fd00::1/64"), "{said}");
    assert!(said.contains("10.8.0.0/16 via 10.0.0.2 dev eth0"), "{said}");
    assert!(said.contains("answered\n") && said.contains("nothing to do"), "{said}");
}

/// 41: another underlay is another tunnel, which `plan` says, with the key, the port and the peers of the old one.
#[test]
fn another_underlay_is_another_tunnel_with_the_same_key() {
    if lacks("tun") || lacks("wg") || lacks("ss") {
        return;
    }
    let old = tunnels(1, 2).replace("wireguard: {", "wireguard: {listen_port: auto, ");
    let old = old.replace("}}}, 2: {", "}}}, 3: {}, 2: {");
    let new = old.replace("wireguard: {", "wireguard: {underlay: 3, ");
    let script = r#"
        identity() { for n in 1 2; do "$RDOM" exec $n wg show wg$n public-key; "$RDOM" exec $n wg show wg$n listen-port; done; }
        sockets() { ss -lnuH | wc -l; "$RDOM" exec 3 ss -lnuH | wc -l; }
        before=$(identity)
        sockets
        "$RDOM" plan new.yaml -n net | grep -o 'interrupts tunnel .*'
        apply | grep -o 'create wireguard.*sockets in domain [0-9]*'
        sockets
        [ "$before" = "$(identity)" ] && echo the same
        "$RDOM" exec 1 ping -c 1 -W 20 192.168.5.2 > /dev/null && echo answered
        "$RDOM" doctor | grep -c 'sockets in domain 3; underlay domain 3'"#;
    let Some(said) = changed(&old, &new, script) else { return };
    let moved = |number| format!("interrupts tunnel {number}/wg{number}\n");
    let made = |number| format!("create wireguard {number}/wg{number}, ");
    assert!(
        [1, 2].iter().all(|number| said.contains(&moved(number)) && said.contains(&made(number))),
        "{said}"
    );
    assert_eq!(said.matches("sockets in domain 3\n").count(), 2, "{said}");
    assert!(said.starts_with("4\n0\n") && said.ends_with("\n0\n4\nthe same\nanswered\n2\n"), "{said}");
}
