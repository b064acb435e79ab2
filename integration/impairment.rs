//! What links do to packets, told by tc(8) and felt by ping(8).
//!
//! ```text
//! domain 1: a 10.0.0.1 ----- 20 ms each way, or 8 Mbit/s ----- a 10.0.0.2 :domain 2
//! ```

mod capability;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod copy;

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "verbs/world.rs"]
mod world;

use capability::lacks;
use copy::{in_private_copies, in_roots_copy};
use world::{json, ok, sh, wait_for, write};

fn file(impairment: &str) -> String {
    format!(
        "domains:\n  1: {{interfaces: {{a: {{addresses: [10.0.0.1/24]}}}}}}\n  2: {{interfaces: {{a: {{addresses: [10.0.0.2/24]}}}}}}\n\
         links:\n  - {{ends: [1/a, 2/a]{impairment}}}\n"
    )
}

/// The kind of the discipline that packets of domain 1 leave by, as tc(8) has it.
fn discipline() -> String {
    json("ip netns exec rdom1 tc -j qdisc show dev a")[0]["kind"].to_string()
}

#[test]
fn a_rate_is_kept() {
    in_private_copies("a_rate_is_kept", || {
        for (impairment, told) in [(", rate: 8mbit", "rate 8Mbit"), ("", "noqueue")] {
            write("net.yaml", &file(impairment));
            ok("rdom up -d net.yaml");
            let shown =
                ok("ip netns exec rdom1 tc qdisc show dev a; ip netns exec rdom2 tc qdisc show dev a");
            assert_eq!(shown.matches(told).count(), 2, "{impairment}: {shown}");
            ok("rdom plan net.yaml");
            ok("rdom down");
        }
    });
}

/// What tc(8) has of both ends.
fn both() -> String {
    ok("ip netns exec rdom1 tc qdisc show dev a; ip netns exec rdom2 tc qdisc show dev a")
}

#[test]
fn a_rate_is_set_on_a_network_that_is_up_until_the_next_apply() {
    in_private_copies("a_rate_is_set_on_a_network_that_is_up_until_the_next_apply", || {
        write("net.yaml", &file(", rate: 8mbit"));
        ok("rdom up -d net.yaml");
        let told = ok("rdom impair 1/a --rate 1mbit");
        assert_eq!(told, "impaired 1/a by rate 1mbit\nimpaired 2/a by rate 1mbit\n");
        assert_eq!(both().matches("rate 1Mbit").count(), 2);
        // What is drift is put back, and this is none.
        ok("ip -n rdom1 address delete 10.0.0.1/24 dev a");
        wait_for("the address", || ok("ip -n rdom1 -br address show dev a").contains("10.0.0.1"));
        assert_eq!(both().matches("rate 1Mbit").count(), 2);
        let ends = "\nimpaired until the next apply:\n  1/a by rate 1mbit\n  2/a by rate 1mbit\n";
        sh("rdom status --check").ends_with(0).says(ends);
        sh("rdom plan net.yaml").ends_with(3).says("impair 1/a by rate 8mbit");
        sh("rdom impair 2/a --clear").ends_with(0).says("impaired 1/a by rate 8mbit");
        ok("rdom plan net.yaml");
        ok("rdom impair 2/a --rate 2mbit && rdom apply net.yaml");
        assert_eq!(both().matches("rate 8Mbit").count(), 2);
        sh("rdom impair 1/a --loss 0%").ends_with(0).says("impaired 2/a by nothing");
        assert_eq!(both().matches("noqueue").count(), 2);
        ok("rdom down");
        let inside = "rdom impair 1/a --rate 1mbit && rdom exec 2 tc qdisc show dev a";
        sh(&format!("rdom run net.yaml -- sh -c '{inside}'")).ends_with(0).says("rate 1Mbit");
    });
}

#[test]
fn one_way_is_only_the_end_that_packets_leave_by() {
    in_private_copies("one_way_is_only_the_end_that_packets_leave_by", || {
        let rates = || ["1", "2"].map(|id| ok(&format!("ip netns exec rdom{id} tc qdisc show dev a")));
        let own = file(", rate: 8mbit").replace("[1/a, 2/a]", "[{at: 1/a, rate: 1mbit}, 2/a]");
        write("net.yaml", &own);
        ok("rdom up -d net.yaml");
        let [near, far] = rates();
        assert!(near.contains("rate 1Mbit") && far.contains("rate 8Mbit"), "{near}{far}");
        ok("rdom plan net.yaml");
        assert_eq!(ok("rdom impair 2/a --one-way --rate 2mbit"), "impaired 2/a by rate 2mbit\n");
        let [near, far] = rates();
        assert!(near.contains("rate 1Mbit") && far.contains("rate 2Mbit"), "{near}{far}");
        assert_eq!(ok("rdom impair 2/a --one-way --clear"), "impaired 2/a by rate 8mbit\n");
        ok("rdom plan net.yaml && rdom down");
    });
}

#[test]
fn what_no_link_can_do_is_named() {
    in_private_copies("what_no_link_can_do_is_named", || {
        write("net.yaml", &file(""));
        sh("rdom impair 1/a --rate 1mbit").ends_with(2).says("no network is up");
        ok("rdom up -d net.yaml");
        let none = sh("rdom impair 1/lo --rate 1mbit").ends_with(1);
        none.says("1/lo is no end of a link\nhelp: ends of links are 1/a, 2/a");
        sh("rdom impair 1/a").ends_with(2).says("help: rdom impair 1/a --loss 5%, or --clear");
        sh("rdom impair 1/a --loss 5").ends_with(2).says("`5` is not a share of packets: write `1%`");
        sh("rdom impair 1/a --delay 1ms --jitter 2ms").ends_with(2).says("a jitter of at most the delay");
        sh("rdom impair 1/a --clear --rate 1mbit").ends_with(2).says("cannot be used with");
        if lacks("netem") {
            sh("rdom impair 1/a --loss 5%").ends_with(4).says("netem").says("CONFIG_NET_SCH_NETEM");
        }
        assert_eq!(both().matches("noqueue").count(), 2);
        ok("rdom down");
    });
}

#[test]
fn a_delay_is_felt_while_the_network_is_up() {
    in_roots_copy("a_delay_is_felt_while_the_network_is_up", || {
        if lacks("netem") {
            return;
        }
        write("net.yaml", &file(""));
        ok("rdom up -d net.yaml");
        let least = || {
            let told = ok("ip netns exec rdom1 ping -c 3 -i 0.2 10.0.0.2");
            let times = told.rsplit(" = ").next().and_then(|times| times.split('/').next());
            times.and_then(|least| least.parse::<f64>().ok()).unwrap_or_else(|| panic!("{told}"))
        };
        assert!(least() < 40.0);
        ok("rdom impair 1/a --delay 50ms");
        assert!(least() >= 100.0, "both ways");
        ok("rdom impair 1/a --delay 50ms --one-way && rdom impair 2/a --loss 0% --one-way");
        assert!((50.0..90.0).contains(&least()), "one way: {}", least());
        ok("rdom impair 1/a --loss 100%");
        sh("ip netns exec rdom1 ping -c 2 -W 1 10.0.0.2").ends_with(1).says("100% packet loss");
        ok("rdom impair 1/a --clear");
        assert!(least() < 40.0);
        ok("rdom down");
    });
}

#[test]
fn a_discipline_of_somebody_else_is_in_the_plan() {
    in_roots_copy("a_discipline_of_somebody_else_is_in_the_plan", || {
        write("net.yaml", &format!("defaults: {{drift: off}}\n{}", file(", rate: 8mbit")));
        ok("rdom up -d net.yaml");
        ok("ip netns exec rdom1 tc qdisc delete dev a root");
        sh("rdom plan net.yaml").ends_with(3).says("impair 1/a by rate 8mbit");
        ok("rdom down");
    });
}

#[test]
fn a_delay_is_felt_or_what_it_needs_is_named() {
    in_roots_copy("a_delay_is_felt_or_what_it_needs_is_named", || {
        write("net.yaml", &file(", delay: 20ms, loss: 0.1%, rate: 100mbit"));
        if lacks("netem") {
            sh("rdom up -d net.yaml").ends_with(4).says("netem").says("1/a");
            return;
        }
        ok("rdom up -d net.yaml");
        ok("rdom plan net.yaml");
        assert_eq!(discipline(), "\"netem\"");
        let told = ok("ip netns exec rdom1 ping -c 5 -i 0.2 10.0.0.2");
        let least =
            told.rsplit(" = ").next().and_then(|times| times.split('/').next()).map(str::parse::<f64>);
        assert!(matches!(least, Some(Ok(millis)) if (40.0..400.0).contains(&millis)), "{told}");
        ok("rdom down");
    });
}

#[test]
fn the_script_of_an_impaired_link_says_the_same() {
    in_roots_copy("the_script_of_an_impaired_link_says_the_same", || {
        write("net.yaml", &file(", rate: 8mbit"));
        ok("rdom export net.yaml > net.sh && sh net.sh up");
        let by_script = ok("ip netns exec rdom1 tc qdisc show dev a | sed 's/.*refcnt [0-9]*//'");
        ok("sh net.sh down && rdom up -d net.yaml");
        assert_eq!(ok("ip netns exec rdom1 tc qdisc show dev a | sed 's/.*refcnt [0-9]*//'"), by_script);
        ok("rdom down");
    });
}
