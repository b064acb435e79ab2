//! The machine itself has what RDOM_REQUIRE says: the first thing to look at when other tests fail in CI.

mod capability;

use capability::lacks;

#[test]
fn the_machine_has_what_is_required_of_it() {
    let every = [
        "bridge",
        "dummy",
        "ip",
        "macvlan",
        "netem",
        "netns",
        "nft",
        "ping",
        "tcpdump",
        "tun",
        "unshare",
        "userns",
        "veth",
        "vlan",
        "vrf",
        "vxlan",
        "wg",
        "wireguard",
        "wireguard-go",
    ];
    let missing: Vec<_> = every.into_iter().filter(|capability| lacks(capability)).collect();
    println!("missing here: {missing:?}");
}
