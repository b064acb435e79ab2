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
use world::{json, ok, sh, write};

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
