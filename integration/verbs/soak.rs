//! kill -9 at random moments, again and again: what comes after finishes the job, and nothing is ever left.
//!
//! `scripts/soak crash` runs it for long. `RDOM_SOAK_KILLS` is how often, `RDOM_SOAK_SEED` repeats a run.

use std::env;
use std::fmt::Debug;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::copy::in_private_copies;
use crate::world::{Background, Traces, ok, pings, process, sh, supervisor, wait_for, write};

/// Of everything that could be left something: namespaces, links within, into and out of domain 0, a bridge, sysctls,
/// routes, rules, further tables, tunnels with an underlay of their own and without.
const NETWORK: &str = "
defaults: {engine: userspace}
domains:
  0:
    interfaces:
      wg9: {addresses: [10.9.0.1/24], wireguard: {peers: {blue/wg9: {endpoint: 192.0.2.2}}}}
      up0: {addresses: [192.0.2.1/24]}
    routes: [{to: 10.99.0.0/16, via: 192.0.2.2}]
    sysctls: {net.ipv4.conf.all.rp_filter: 2}
  blue:
    rdomain: 1
    interfaces:
      wg0: {addresses: [10.0.0.1/24], wireguard: {underlay: transit, peers: {red/wg0: {endpoint: 192.0.2.2}}}}
      wg9: {addresses: [10.9.0.2/24], wireguard: {underlay: transit, peers: {0/wg9: {endpoint: 192.0.2.1}}}}
      br0: {bridge: {ports: [b0]}, addresses: [10.1.0.1/24]}
    routes: [{to: default, via: 10.0.0.2}]
    rtables: {10: {routes: [{to: default, dev: wg0}]}}
    rules: [{fwmark: 7, rtable: 10}]
    sysctls: {net.ipv4.ip_forward: 1}
  red:
    rdomain: 2
    interfaces:
      wg0: {addresses: [10.0.0.2/24], wireguard: {underlay: transit, peers: {blue/wg0: {endpoint: 192.0.2.2}}}}
      r0: {addresses: [10.1.0.2/24]}
  transit: {rdomain: 3, interfaces: {t0: {addresses: [192.0.2.2/24]}}}
links:
  - {ends: [transit/t0, 0/up0]}
  - {ends: [blue/b0, red/r0]}
";

/// Another version of it: of each kind something is there no more, something is new, something is changed.
fn other() -> String {
    let changes = [
        ("10.99.0.0/16", "10.98.0.0/16"),
        ("10.1.0.2/24", "10.1.0.3/24"),
        ("fwmark: 7", "fwmark: 8"),
        ("net.ipv4.ip_forward: 1", "net.ipv4.conf.all.forwarding: 1"),
        ("  red:\n", "  green: {rdomain: 4, interfaces: {g0: {addresses: [10.2.0.1/24]}}}\n  red:\n"),
        ("[blue/b0, red/r0]", "[blue/b0, red/r0]}\n  - {ends: [green/g0, blue/g1]"),
        ("[b0]", "[b0, g1]"),
        (
            "      wg9: {addresses: [10.9.0.2/24], wireguard: {underlay: transit, peers: {0/wg9: {endpoint: 192.0.2.1}}}}\n",
            "",
        ),
        ("peers: {blue/wg9: {endpoint: 192.0.2.2}}", "peers: {}"),
    ];
    changes.iter().fold(NETWORK.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "{old}");
        text.replace(old, new)
    })
}

/// What is going on when the supervisor dies.
#[derive(Clone, Copy, Debug)]
enum During {
    Up,
    Apply,
    Steady,
    Down,
}

/// What else dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Also {
    Nothing,
    Engine,
}

/// What finishes the job.
#[derive(Clone, Copy, Debug)]
enum Then {
    Down,
    UpAndDown,
}

/// What changes the network to its other version.
const APPLY: &str = "rdom apply -n domains other.yaml";

/// Numbers that a seed determines (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).expect("63 bits") % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A time up to this one.
    fn within(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.below(1000) as f64 / 1000.0)
    }
}

#[test]
fn nothing_is_left_after_kills_at_random_moments() {
    in_private_copies("soak::nothing_is_left_after_kills_at_random_moments", || {
        let kills: usize = setting("RDOM_SOAK_KILLS").unwrap_or(25);
        let seed = setting("RDOM_SOAK_SEED").unwrap_or_else(now);
        println!("RDOM_SOAK_SEED={seed} RDOM_SOAK_KILLS={kills}");
        write("domains.yaml", NETWORK);
        write("other.yaml", &other());
        let before = Traces::now();
        let [up_takes, apply_takes, down_takes] = ["rdom up -d", APPLY, "rdom down"].map(takes);
        before.is_all_there_is();
        let mut chance = Chance(seed);
        for number in 1..=kills {
            let during = chance.of(&[During::Up, During::Apply, During::Apply, During::Steady, During::Down]);
            let also = chance.of(&[Also::Nothing, Also::Nothing, Also::Engine]);
            let then = chance.of(&[Then::Down, Then::UpAndDown]);
            println!("kill {number}: during {during:?}, also {also:?}, then {then:?}");
            kill_once(during, also, &mut chance, [up_takes, apply_takes, down_takes]);
            if let Then::UpAndDown = then {
                ok("rdom up -d");
                pings("blue", "10.0.0.2");
                pings("blue", "10.1.0.2");
                ok("ping -c 1 -W 5 10.9.0.2");
                sh("rdom plan").ends_with(0);
            }
            ok("rdom down");
            before.is_all_there_is();
        }
    });
}

fn kill_once(
    during: During,
    also: Also,
    chance: &mut Chance,
    [up_takes, apply_takes, down_takes]: [Duration; 3],
) {
    match during {
        During::Up => {
            let up = Background::start("up", "rdom up");
            thread::sleep(chance.within(up_takes));
            die(up.pid(), also);
            up.end();
        }
        During::Apply => {
            ok("rdom up -d");
            let pid = supervisor();
            let apply = Background::start("apply", APPLY);
            thread::sleep(chance.within(apply_takes));
            die(pid, also);
            apply.end();
        }
        During::Steady => {
            ok("rdom up -d");
            thread::sleep(chance.within(Duration::from_millis(30)));
            die(supervisor(), also);
        }
        During::Down => {
            ok("rdom up -d");
            let pid = supervisor();
            let down = Background::start("down", "rdom down");
            thread::sleep(chance.within(down_takes));
            die(pid, also);
            down.end();
        }
    }
}

/// It may have ended by itself.
fn die(pid: i32, also: Also) {
    let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    if also == Also::Engine
        && let Some(engine) = process("rdom-engine")
    {
        let _gone = kill(Pid::from_raw(engine), Signal::SIGKILL);
    }
    let lock = "/run/rdom/domains/lock";
    wait_for("the end of the supervisor", || {
        sh(&format!("test ! -e {lock} || flock -n {lock} true")).status == 0
    });
}

fn takes(command: &str) -> Duration {
    let started = Instant::now();
    ok(command);
    started.elapsed()
}

fn setting<T: FromStr<Err: Debug>>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().expect(name))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").subsec_nanos().into()
}
