//! Properties of OpenBSD's routing domains that a port gets wrong when nobody looks: the traps of docs/parity.md, each
//! judged by a real kernel. A network is brought up in a private copy (`rdom run`) and a script looks at it from inside.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rdomain::model::{Bindings, Capabilities, Network};
use rdomain::plan::{bind, plan};
use rdomain::spec::{self, Source};

mod capability;
#[path = "properties/domains.rs"]
mod domains;
#[path = "properties/tunnels.rs"]
mod tunnels;

use capability::lacks;

const RDOM: &str = env!("CARGO_BIN_EXE_rdom");

/// Two domains joined by a wire, with nothing else in them.
const PAIR: &str = "
domains:
  1: {interfaces: {eth0: {addresses: [10.0.0.1/24]}}}
  2: {interfaces: {eth0: {addresses: [10.0.0.2/24]}}}
links: [{ends: [1/eth0, 2/eth0]}]
";

/// Two tunnels, each the other's peer: in one domain or in two.
fn tunnels(first: u32, second: u32) -> String {
    let tunnel = |number: u32, other: u32, domain: u32| {
        format!(
            "wg{number}: {{addresses: [192.168.5.{number}/24], wireguard: {{peers: {{{domain}/wg{other}: {{}}}}}}}}"
        )
    };
    let (one, two) = (tunnel(1, 2, second), tunnel(2, 1, first));
    match first == second {
        true => format!("domains: {{{first}: {{interfaces: {{{one}, {two}}}}}}}"),
        false => {
            format!("domains: {{{first}: {{interfaces: {{{one}}}}}, {second}: {{interfaces: {{{two}}}}}}}")
        }
    }
}

/// What the script of a private copy of this network said; `$RDOM` is this program.
fn inside(network: &str, script: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("network.yaml");
    fs::write(&file, network).unwrap();
    let mut command = Command::new(RDOM);
    command.env("RDOM", RDOM).arg("run").arg(&file).args(["--", "bash", "-euc", script]);
    command.output().unwrap()
}

/// The standard output of a script that must succeed.
fn seen(network: &str, script: &str) -> String {
    let output = inside(network, script);
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{script}\n{said}\n{complained}");
    said.into_owned()
}

fn no_copies() -> bool {
    lacks("userns") || lacks("veth")
}

/// 16: an interface is in one domain, where the file says, whoever asks for it and from where.
#[test]
fn an_interface_is_in_its_domain_and_in_no_other() {
    if no_copies() {
        return;
    }
    let places = seen(
        PAIR,
        r#"grep -c eth0: /proc/net/dev || true
           for domain in 1 2; do "$RDOM" exec $domain grep -c eth0: /proc/net/dev; done"#,
    );
    assert_eq!(places, "0\n1\n1\n");
}

/// 18, 19: nothing depends on the order of lines, so no address is lost by it.
#[test]
fn the_order_of_lines_means_nothing() {
    let steps = |text: &str| {
        let lowered = spec::read(&Source::new(Path::new("n.yaml"), text.to_owned())).unwrap();
        let lacking = Capabilities::PLAIN;
        let desired = bind(&lowered.network, &Bindings::default(), &lacking);
        plan(&desired, &Network::empty(desired.name.clone()))
    };
    let turned = "
links: [{ends: [2/eth0, 1/eth0]}]
domains:
  2: {interfaces: {eth0: {addresses: [10.0.0.2/24]}}}
  1: {interfaces: {eth0: {addresses: [10.0.0.1/24]}}}
";
    assert_eq!(steps(PAIR), steps(turned));
    assert_eq!(steps(PAIR).iter().filter(|step| step.to_string().starts_with("add address 10.")).count(), 2);
}

/// 21, 22: in one domain the other tunnel's address is the domain's own: it answers, and nothing enters the tunnel.
#[test]
fn in_one_domain_a_peers_address_is_answered_locally() {
    if no_copies() || lacks("tun") {
        return;
    }
    let script = r#"
        sent() { "$RDOM" exec $1 awk '/wg1:/ {print $11}' /proc/net/dev; }
        before=$(sent 1)
        "$RDOM" route -T1 exec ping -c 5 -i 0.05 192.168.5.2 > /dev/null
        echo $(( $(sent 1) - before ))"#;
    assert_eq!(seen(&tunnels(1, 1), script), "0\n", "in one domain");
    let apart: u32 = seen(&tunnels(1, 2), script).trim().parse().unwrap();
    assert!(apart >= 5, "in two domains {apart} packets entered the tunnel");
}

/// 24: what has an address is up, and has the addresses of the file and no others.
#[test]
fn what_has_an_address_is_up_and_has_no_other() {
    if no_copies() || lacks("ip") {
        return;
    }
    let said = seen(PAIR, r#""$RDOM" exec 1 ip -br -4 address show dev eth0"#);
    let words: Vec<_> = said.split_whitespace().collect();
    assert_eq!(words[1..], ["UP", "10.0.0.1/24"], "{said}");
}

/// 26, 27: a loopback without addresses leaves a domain's own addresses within reach; 127.0.0.1 is there by default.
#[test]
fn own_addresses_answer_although_the_loopback_is_bare() {
    if no_copies() {
        return;
    }
    let pings = r#"
        for address in 10.0.0.1 127.0.0.1; do
            "$RDOM" route -T1 exec ping -c 1 -w 1 $address > /dev/null 2>&1 && echo reached || echo not
        done"#;
    let bare = PAIR.replace("1: {interfaces", "1: {lo: {addresses: []}, interfaces");
    assert_eq!(seen(&bare, pings), "reached\nnot\n");
    assert_eq!(seen(PAIR, pings), "reached\nreached\n");
}

/// 28: a tunnel has no link-local address of IPv6, Ethernet has.
#[test]
fn a_tunnel_has_no_link_local_address() {
    if no_copies() || lacks("tun") {
        return;
    }
    let network = format!("{}\nlinks: [{{ends: [1/eth0, 2/eth0]}}]", tunnels(1, 2));
    let script = r#""$RDOM" exec 1 cat /proc/net/if_inet6"#;
    let addresses = seen(&network, script);
    let on = |device: &str| addresses.lines().any(|line| line.starts_with("fe80") && line.ends_with(device));
    assert!(!on("wg1") && on("eth0"), "{addresses}");
}

/// 29: unlike on OpenBSD two domains may have interfaces of one name; every view says whose each one is.
#[test]
fn interfaces_of_one_name_are_told_apart() {
    if no_copies() {
        return;
    }
    let said = seen(PAIR, r#""$RDOM" ifconfig eth0; "$RDOM" ifconfig 2/eth0"#);
    let count = |what: &str| said.matches(what).count();
    assert_eq!((count("inet 10.0.0.1"), count("inet 10.0.0.2")), (1, 2), "{said}");
    assert_eq!((count("rdomain 1"), count("rdomain 2")), (1, 2), "{said}");
}

/// 34, 35: the statuses of `route exec`, and that the table is looked at before the command.
#[test]
fn route_exec_ends_as_openbsds_does() {
    if no_copies() {
        return;
    }
    let script = r#"
        status() { set +e; "$RDOM" route "$@" > /run/said 2>&1; echo $?; set -e; }
        status -T1 exec true
        status -T1 exec sh -c 'exit 5'
        status -T1 exec nosuch
        status -T1 exec /etc
        status -T9 exec nosuch
        cat /run/said"#;
    let said = seen(PAIR, script);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..5], ["0", "5", "127", "126", "1"], "{said}");
    assert!(lines[5..].join(" ").contains('9'), "the table is named: {said}");
}

/// 36: a socket stays in the domain that it was made in, whatever its process does later.
#[test]
fn a_socket_stays_where_it_was_made() {
    if no_copies() || lacks("nc") {
        return;
    }
    let script = r#"
        "$RDOM" exec 2 nc -l 7000 > /dev/null & listener=$!
        until "$RDOM" exec 2 grep -q ':1B58 ' /proc/net/tcp; do sleep 0.05; done
        # The socket is domain 1's; the process that writes to it has gone on to domain 2 by then.
        "$RDOM" exec 1 bash -c 'exec 3<> /dev/tcp/10.0.0.2/7000; nsenter --net=/run/netns/rdom2 bash -c "
            ip -br -4 address show dev eth0 | grep -o 10.0.0.2; echo still here >&3"' && wait $listener"#;
    if lacks("ip") {
        return;
    }
    assert_eq!(seen(PAIR, script).trim(), "10.0.0.2");
}

/// 37: ports are a domain's own: two domains have the same one, and the default domain does not see either.
#[test]
fn ports_are_a_domains_own() {
    if no_copies() || lacks("nc") {
        return;
    }
    let script = r#"
        listening() { if [ $1 = 0 ]; then cat /proc/net/tcp; else "$RDOM" exec $1 cat /proc/net/tcp; fi | grep -c ':1F90 ' || true; }
        for domain in 1 2; do "$RDOM" exec $domain nc -lk 8080 & done
        until [ "$(listening 1)$(listening 2)" = 11 ]; do sleep 0.05; done
        listening 0
        kill %1 %2"#;
    assert_eq!(seen(PAIR, script), "0\n");
}

/// 12, 13: a process in a domain that is gone is in no other domain, above all not in the default one.
#[test]
fn who_stays_in_a_domain_that_is_gone_is_in_no_other() {
    if no_copies() || lacks("ip") || lacks("unshare") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gone.yaml");
    fs::write(&file, PAIR).unwrap();
    let script = r#"
        mount -t tmpfs tmpfs /run
        export RDOM_STATE_DIR=/run/state RDOM_RUNTIME_DIR=/run/rdom
        "$RDOM" up -d "$FILE" > /dev/null
        "$RDOM" exec 1 sleep 600 & left=$!
        until grep -q sleep /proc/$left/comm; do sleep 0.05; done
        "$RDOM" down > /dev/null 2>&1 || true
        [ /proc/$left/ns/net -ef /proc/self/ns/net ] && echo in the default domain || echo apart
        nsenter --net=/proc/$left/ns/net ip -br link show type veth | wc -l
        kill $left"#;
    let mut command = Command::new("unshare");
    command.args(["-Urnmpf", "--mount-proc", "--kill-child", "--", "bash", "-euc", script]);
    let output = command.env("RDOM", RDOM).env("FILE", &file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("apart\n"), "{said}");
}

/// 40, 42: a tunnel's two sockets, of one port, are in its underlay and nowhere else.
#[test]
fn a_tunnels_sockets_are_in_its_underlay_one_of_each_family() {
    if no_copies() || lacks("tun") {
        return;
    }
    let network = tunnels(1, 2).replace("wireguard: {", "wireguard: {listen_port: auto, ");
    let script = r#"
        ports() { awk 'NR > 1 {split($2, at, ":"); print at[length(at)]}' /proc/net/$1 | sort; }
        [ -n "$(ports udp)" ] && [ "$(ports udp)" = "$(ports udp6)" ] && ports udp | wc -l
        for domain in 1 2; do "$RDOM" exec $domain cat /proc/net/udp /proc/net/udp6 | grep -vc local || true; done"#;
    assert_eq!(seen(&network, script), "2\n0\n0\n");
}

/// 43: another's port is named, and nothing of the network stays.
#[test]
fn a_port_that_is_taken_is_named() {
    if no_copies() || lacks("tun") || lacks("nc") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("taken.yaml");
    fs::write(&file, tunnels(1, 2).replacen("wireguard: {", "wireguard: {listen_port: 7111, ", 1)).unwrap();
    let script = r#"
        mount -t tmpfs tmpfs /run; ip link set lo up
        export RDOM_STATE_DIR=/run/state RDOM_RUNTIME_DIR=/run/rdom
        nc -lku 7111 & taker=$!
        until grep -q ':1BC7 ' /proc/net/udp; do sleep 0.05; done
        "$RDOM" up -d "$FILE" 2>&1 && echo up
        ls /run/netns 2> /dev/null | wc -l
        kill $taker"#;
    let mut command = Command::new("unshare");
    command.args(["-Urnm", "--", "bash", "-uc", script]);
    let output = command.env("RDOM", RDOM).env("FILE", &file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("7111") && said.trim_end().ends_with("\n0") && !said.contains("\nup"), "{said}");
}

/// 55: a gateway that no connected network holds is refused before anything is changed.
#[test]
fn a_gateway_out_of_reach_is_refused_first() {
    let unreached =
        PAIR.replace("1: {interfaces", "1: {routes: [{to: default, via: 172.16.0.1}], interfaces");
    let output = inside(&unreached, "true");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("gateway 172.16.0.1 is not reached"), "{said}");
}

/// 54: connected networks are in the domain's own table only; further rtables start empty.
#[test]
fn a_further_rtable_has_no_connected_network() {
    if no_copies() || lacks("ip") {
        return;
    }
    let more = PAIR.replace(
        "1: {interfaces",
        "1: {rtables: {10: {routes: [{to: 10.9.0.0/16, via: 10.0.0.2}]}}, interfaces",
    );
    let said = seen(&more, r#""$RDOM" exec 1 ip route show table 10"#);
    let routes: Vec<_> = said.lines().filter(|line| !line.starts_with("unreachable default")).collect();
    assert!(routes.len() == 1 && routes[0].starts_with("10.9.0.0/16 via 10.0.0.2 dev eth0"), "{said}");
}
