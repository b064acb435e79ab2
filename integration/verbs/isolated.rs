//! `isolated`: each way by which one domain leads to another is found and named, and what is refused is none.

use crate::copy::in_private_copies;
use crate::world::{sh, write};

/// ```text
/// a eth0 10.1.0.2 --- e0 r e1 --- eth0 10.2.0.2 b
///                          e2 --- eth0 10.3.0.2 c       w wg0 ===== wg0 v
/// ```
const ROUTER: &str = r#"
domains:
  a: {rdomain: 1, interfaces: {eth0: {addresses: [10.1.0.2/24, "fd01::2/64"]}}, routes: [{to: default, via: 10.1.0.1}, {to: default, via: "fd01::1"}]}
  r:
    rdomain: 2
    sysctls: {net.ipv4.ip_forward: FORWARDS, net.ipv6.conf.all.forwarding: FORWARDS6}
    interfaces: {e0: {addresses: [10.1.0.1/24, "fd01::1/64"]}, e1: {addresses: [10.2.0.1/24, "fd02::1/64"]}, e2: {addresses: [10.3.0.1/24]}}
    rtables: {77: {routes: [{to: default, type: unreachable}]}}
    rules: [{iif: e0, to: 10.3.0.0/24, rtable: 77}]
  b: {rdomain: 3, interfaces: {eth0: {addresses: [10.2.0.2/24, "fd02::2/64"]}}}
  c: {rdomain: 4, interfaces: {eth0: {addresses: [10.3.0.2/24]}}}
  w: {rdomain: 5, interfaces: {wg0: {addresses: [10.8.0.1/24], wireguard: {peers: {v/wg0: {}}}}}}
  v: {rdomain: 6, interfaces: {wg0: {addresses: [10.9.0.1/24], wireguard: {peers: {w/wg0: {endpoint: 127.0.0.1}}}}}}
links:
  - {ends: [a/eth0, r/e0]}
  - {ends: [b/eth0, r/e1]}
  - {ends: [c/eth0, r/e2]}
"#;

fn router(forwards: [&str; 2], tests: &str) {
    let file = ROUTER.replace("FORWARDS6", forwards[1]).replace("FORWARDS", forwards[0]);
    write("router.yaml", &(file + tests));
}

#[test]
fn a_way_from_one_domain_to_another_is_named() {
    in_private_copies("isolated::a_way_from_one_domain_to_another_is_named", || {
        router(["1", "0"], "tests: [{isolated: [a, b]}, {isolated: [w, v]}, {isolated: [b, r]}]\n");
        let run = sh("rdom test router.yaml").ends_with(1).says("3 failed");
        // There is no way back.
        let run =
            run.says("seen:     a leads to b: a packet to 10.2.0.2 goes by a/eth0, r/e0, r/e1, b/eth0\n");
        assert!(!run.out.contains("b leads to a"), "{run:#?}");
        let run = run.says("what a sent to 10.2.0.2 of b arrived in b");
        let run = run.says("seen:     w leads to v: w/wg0 and v/wg0 are peers\n");
        let run = run.says("v leads to w: v/wg0 and w/wg0 are peers");
        run.says("b leads to r: frames pass between b/eth0 and r/e1").says("r leads to b: ");
        router(["0", "1"], "tests: [{isolated: [a, b]}]\n");
        let run = sh("rdom test router.yaml").ends_with(1);
        run.says("a leads to b: a packet to fd02::2 goes by a/eth0, r/e0, r/e1, b/eth0");
    });
}

#[test]
fn a_way_that_a_table_or_a_rule_refuses_is_none() {
    in_private_copies("isolated::a_way_that_a_table_or_a_rule_refuses_is_none", || {
        router(["1", "1"], "tests: [{isolated: [a, c]}, {isolated: [c, w, 0]}]\n");
        sh("rdom test router.yaml").ends_with(0).says("2 passed");
        let steps = "steps: [{isolated: [a, b]}, {cut: w/wg0}, {isolated: [w, v]}, {cut: r/e1}, {isolated: [r, b]}]\n";
        router(["0", "0"], steps);
        sh("rdom test router.yaml").ends_with(0).says("3 passed");
    });
}
