//! A real card lent to a domain. Unlike the end of a cable it does not end with the namespace that it is in, but falls back
//! into the machine's initial one.
//!
//! For a machine of one's own, as the guest of `scripts/vm --nic` is: RDOM_TEST_NIC names a card that nobody uses. There
//! is no copy of anything here: `rdom` and ip(8) work on the machine itself.

mod capability;

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "verbs/world.rs"]
mod world;

use capability::lacks;
use serde_json::Value;
use world::{json, kill_supervisor, ok, sh, wait_for, write};

const FILE: &str = "name: n
domains:
  blue:
    rdomain: 1
    interfaces: {lan0: {physical: NIC, mtu: 1300, addresses: [10.9.0.1/24]}}
    routes: [{to: default, via: 10.9.0.2}]
";

/// What can be lost, set on the card.
const SET_UP: &str = "
ip link set NIC mtu 1400 alias uplink up
ip address add 192.0.2.1/24 broadcast + dev NIC
ip address add fd00:192::1/64 dev NIC nodad
ip route add default via 192.0.2.2 metric 7
ip route add 198.51.100.0/24 dev NIC src 192.0.2.1
ip -6 route add fd00:77::/64 via fd00:192::2
echo 2 >/proc/sys/net/ipv4/conf/NIC/rp_filter
echo 0 >/proc/sys/net/ipv6/conf/NIC/accept_ra
";

/// The card, and what of the machine's depends on it.
struct Card {
    name: String,
    before: [Value; 5],
}

impl Card {
    fn set_up(name: String) -> Self {
        ok(&SET_UP.replace("NIC", &name));
        wait_for("a carrier", || json(&format!("ip -j link show {name}"))[0]["operstate"] == "UP");
        wait_for("addresses", || !ok(&format!("ip -6 address show {name}")).contains("tentative"));
        let before = at_home(&name);
        write("/run/n.yaml", &FILE.replace("NIC", &name));
        Self { name, before }
    }

    fn is_lent(&self) {
        ok("rdom up -d /run/n.yaml");
        sh(&format!("ip link show {}", self.name)).ends_with(1);
        assert_eq!(json("ip -n blue -j link show lan0")[0]["mtu"], 1300);
        sh("rdom plan /run/n.yaml").ends_with(0);
    }

    #[track_caller]
    fn is_home(&self, after: &str) {
        for _ in 0..500 {
            if sh(&format!("ip link show {}", self.name)).status == 0 && at_home(&self.name) == self.before {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(at_home(&self.name), self.before, "after {after}");
    }
}

fn at_home(name: &str) -> [Value; 5] {
    let of_link = [format!("-d link show {name}"), format!("address show {name}")];
    let of_machine = ["route show table all", "-6 route show table all"].map(str::to_owned);
    let [link, addresses] = of_link.map(|words| json(&format!("ip -j {words}")));
    let [routes, routes6] = of_machine.map(|words| json(&format!("ip -j {words}")));
    let sysctls =
        ok(&format!("cat /proc/sys/net/ipv4/conf/{name}/rp_filter /proc/sys/net/ipv6/conf/{name}/accept_ra"));
    [link, addresses, routes, routes6, sysctls.into()]
}

#[test]
fn a_card_comes_home_as_it_was_whatever_happens() {
    if ["nic", "ip"].into_iter().any(lacks) {
        return;
    }
    let card = Card::set_up(std::env::var("RDOM_TEST_NIC").unwrap());
    card.is_lent();
    ok("rdom down");
    card.is_home("down");

    card.is_lent();
    kill_supervisor();
    ok("rdom down -n n");
    card.is_home("the end of the supervisor and down");

    card.is_lent();
    kill_supervisor();
    ok("ip netns delete blue");
    wait_for("its fall", || ok("ip link").contains("alias rdom-lent:n/"));
    ok("rdom down -n n");
    card.is_home("the end of supervisor and namespace and down");

    card.is_lent();
    ok("ip netns delete blue");
    let is_repaired =
        || sh("ip -n blue link show lan0").status == 0 && sh("rdom plan /run/n.yaml").status == 0;
    wait_for("a repair", is_repaired);
    ok("rdom down");
    card.is_home("the end of the namespace, a repair and down");
}
