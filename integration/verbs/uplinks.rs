//! An underlay with two uplinks: the tunnel goes on when the way to its peer moves from one to the other, whoever runs
//! it.

use std::time::{Duration, Instant};

use crate::copy::in_private_copies;
use crate::world::{ok, pings, sh, write};

/// The provider takes no packet whose source address is of the other uplink.
const FILE: &str = "
defaults: {engine: userspace, isolation: netns}
domains:
  here:
    rdomain: 1
    interfaces: {wg1: {addresses: [10.0.0.1/24], wireguard: {underlay: laptop, peers: {there/wg2: {endpoint: 203.0.113.1}}}}}
  there:
    rdomain: 2
    interfaces: {wg2: {addresses: [10.0.0.2/24], wireguard: {underlay: provider, peers: {here/wg1: {}}}}}
  laptop:
    rdomain: 3
    interfaces: {u1: {addresses: [192.0.2.2/24]}, u2: {addresses: [198.51.100.2/24]}}
    routes: [{to: default, via: 192.0.2.1}]
  provider:
    rdomain: 4
    lo: {addresses: [127.0.0.1/8, 203.0.113.1/32]}
    interfaces: {p1: {addresses: [192.0.2.1/24]}, p2: {addresses: [198.51.100.1/24]}}
    sysctls: {net.ipv4.conf.all.rp_filter: 1}
links:
  - {ends: [laptop/u1, provider/p1]}
  - {ends: [laptop/u2, provider/p2]}
";

/// Without looking at routes it takes 15 seconds until the address is given up.
const SOON: Duration = Duration::from_secs(8);

#[test]
fn an_engine_without_privileges_follows_its_underlays_routes() {
    in_private_copies("uplinks::an_engine_without_privileges_follows_its_underlays_routes", || {
        write("domains.yaml", FILE);
        write("other.yaml", &FILE.replace("via: 192.0.2.1", "via: 198.51.100.1"));
        ok("rdom up -d");
        pings("here", "10.0.0.2");
        ok("rdom apply -n domains other.yaml");
        let start = Instant::now();
        while sh("ip netns exec here ping -c 1 -W 1 10.0.0.2").status != 0 {
            assert!(start.elapsed() < SOON, "{}", ok("rdom wg show there/wg2"));
        }
        assert!(ok("rdom wg show there/wg2 endpoints").contains("198.51.100.2:"));
        ok("rdom down -n domains");
    });
}
