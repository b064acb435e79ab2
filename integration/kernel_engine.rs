//! The kernel's own WireGuard engine, alone and beside ours: what only a kernel that has it can prove.
//!
//! ```text
//! domain 1: wg1 192.168.5.1 ---.                            .--- wg2 192.168.5.2 :domain 2
//!                              127.0.0.1:7111 -- 127.0.0.1:7222            (sockets: domain 0)
//! ```
//!
//! Every test runs in private copies of the machine, as root and as the root of a namespace of users, and is told by
//! ss(8), wg(8) and ip(8), which read the kernel independently.

#[expect(dead_code, reason = "this test says what it lacks by `capability`")]
#[path = "linux_backend/copy.rs"]
mod copy;

mod capability;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use capability::lacks;
use copy::in_private_copies;
use rdomain::backend::linux::mark::Mark;
use rdomain::model::NetworkName;

const RDOM: &str = env!("CARGO_BIN_EXE_rdom");
const EXAMPLE: &str = include_str!("../domains.yaml");

/// How long an emulated processor may take for what a real one does at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the body in private copies with `lo` up, where the kernel has WireGuard.
fn with_kernel_wireguard(test: &str, body: impl FnOnce()) {
    if ["wireguard", "tun", "ip", "wg", "ping"].into_iter().any(lacks) {
        return;
    }
    in_private_copies(test, || {
        run("ip link set lo up");
        body();
    });
}

#[test]
fn the_example_holds_with_each_engine_at_each_end() {
    with_kernel_wireguard("the_example_holds_with_each_engine_at_each_end", || {
        let (kernel, ours) = ("kernel", "userspace");
        for engines in [[kernel, kernel], [kernel, ours], [ours, kernel], [ours, ours]] {
            let [first, second] = engines;
            let shown = |text: &str| format!("  - {{in: 0, exec: [{RDOM}, status], stdout: \"{text}\"}}\n");
            let tests = [shown(&format!("1/wg1: {first} engine")), shown(&format!("2/wg2: {second} engine"))]
                .concat();
            let file = write("pair", &(with_engines(EXAMPLE, engines) + &tests));
            let said = run(&format!("{RDOM} test {file}"));
            assert!(said.contains("7 passed, 0 failed"), "{engines:?}: {said}");
        }
    });
}

#[test]
fn sockets_are_in_each_tunnels_underlay_and_follow_it() {
    with_kernel_wireguard("sockets_are_in_each_tunnels_underlay_and_follow_it", || {
        let transit = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/transit.yaml"));
        let transit = format!("defaults: {{engine: kernel}}\n{}", transit.unwrap());
        let up = Up::of("transit", &transit);
        ping("site-a", "10.0.0.2");
        for namespace in ["carrier-a", "carrier-b"] {
            assert!(has_socket(namespace, 51820), "{namespace}");
        }
        for namespace in ["site-a", "site-b"] {
            assert!(!has_socket(namespace, 51820), "{namespace}");
        }
        assert!(!run("ss -lnuH").contains(":51820"), "the default domain");

        // Another underlay is another tunnel: the kernel cannot move the sockets.
        up.killed();
        let moved = transit.replace("underlay: carrier-a", "underlay: carrier-c").replace(
            "carrier-a: {rdomain: 11",
            "carrier-c: {rdomain: 13, interfaces: {t0: {addresses: [192.0.2.1/30]}}}\n  carrier-a: {rdomain: 11",
        );
        let moved = moved
            .replace(
                "interfaces: {t0: {addresses: [192.0.2.1/30]}}}\n  carrier-b",
                "interfaces: {}}\n  carrier-b",
            )
            .replace("ends: [carrier-a/t0,", "ends: [carrier-c/t0,")
            .replace("in: carrier-a,", "in: carrier-c,");
        let planned = output(&format!("{RDOM} plan {}", write("transit", &moved)));
        let planned = String::from_utf8_lossy(&planned.stdout).into_owned();
        assert!(planned.contains("delete interface 1/wg0"), "{planned}");
        assert!(planned.contains("create wireguard 1/wg0, kernel engine, sockets in domain 13"), "{planned}");
        let _up = Up::of("transit", &moved);
        ping("site-a", "10.0.0.2");
        assert!(has_socket("carrier-c", 51820) && !has_socket("carrier-a", 51820));
        down_leaves_nothing();
    });
}

#[test]
fn tunnels_outlive_their_supervisor_and_are_adopted() {
    with_kernel_wireguard("tunnels_outlive_their_supervisor_and_are_adopted", || {
        let example = with_engines(EXAMPLE, ["kernel", "kernel"]);
        let up = Up::of("pair", &example);
        ping("rdom1", "192.168.5.2");
        let first = handshake("wg1");
        up.killed();
        wait_for("a later second", || now_secs() > first + 1);
        ping("rdom1", "192.168.5.2");

        let plan = output(&format!("{RDOM} plan /run/pair.yaml"));
        assert!(plan.status.success(), "nothing to do: {plan:?}");
        let up = Up::of("pair", &example);
        assert!(up.log().contains("up network=pair steps=0"), "{}", up.log());
        ping("rdom2", "192.168.5.1");
        assert_eq!(handshake("wg1"), first, "the same session");
        down_leaves_nothing();
    });
}

#[test]
fn a_mixed_pair_outlives_the_supervisor() {
    with_kernel_wireguard("a_mixed_pair_outlives_the_supervisor", || {
        let mixed = with_engines(EXAMPLE, ["kernel", "userspace"]);
        let up = Up::of("pair", &mixed);
        ping("rdom1", "192.168.5.2");
        up.killed();
        // The engine of wg2 is a process of its own.
        ping("rdom1", "192.168.5.2");
        let planned = output(&format!("{RDOM} plan /run/pair.yaml"));
        assert!(planned.status.success(), "nothing to do: {planned:?}");
        let _up = Up::of("pair", &mixed);
        ping("rdom2", "192.168.5.1");
        down_leaves_nothing();
    });
}

#[test]
fn settings_change_in_place_and_keep_the_session() {
    with_kernel_wireguard("settings_change_in_place_and_keep_the_session", || {
        let example = with_engines(EXAMPLE, ["kernel", "kernel"]);
        let up = Up::of("pair", &example);
        ping("rdom1", "192.168.5.2");
        let first = handshake("wg1");
        wait_for("a later second", || now_secs() > first + 1);
        up.killed();

        let changed = example.replace("listen_port: 7111", "listen_port: 7113").replace(
            "endpoint: 127.0.0.1, allowed_ips: [192.168.5.2/32]",
            "endpoint: localhost, persistent_keepalive: 20, allowed_ips: [192.168.5.2/32, 10.9.0.0/16]",
        );
        let up = Up::of("pair", &changed);
        let log = up.log();
        assert!(!log.contains("create") && !log.contains("delete"), "{log}");
        ping("rdom2", "192.168.5.1");
        ping("rdom1", "192.168.5.2");
        assert_eq!([handshake("wg1"), handshake("wg2")], [first; 2], "the same session");
        assert_eq!(wg("wg1", "listen-port"), "7113");
        let allowed = wg("wg1", "allowed-ips");
        assert!(allowed.contains("192.168.5.2/32") && allowed.contains("10.9.0.0/16"), "{allowed}");
        assert!(wg("wg1", "persistent-keepalive").ends_with("\t20"));
        assert!(wg("wg2", "endpoints").ends_with("\t127.0.0.1:7113"), "{}", wg("wg2", "endpoints"));
        assert!(
            output(&format!("{RDOM} plan /run/pair.yaml")).status.success(),
            "a name is compared as a name"
        );

        // A preshared key begins a new session, another private key new peers.
        up.killed();
        let file = |name: &str, text: &str| fs::write(format!("/run/{name}"), text).unwrap();
        file("psk", &run("wg genpsk"));
        file("key", &run("wg genkey"));
        run("chmod 600 /run/psk /run/key");
        let shared = changed.replace("persistent_keepalive: 20", "preshared_key_file: /run/psk").replace(
            "wg1: {endpoint: 127.0.0.1,",
            "wg1: {endpoint: 127.0.0.1, preshared_key_file: /run/psk,",
        );
        let up = Up::of("pair", &shared);
        assert_eq!([handshake("wg1"), handshake("wg2")], [0; 2], "no session");
        ping("rdom1", "192.168.5.2");
        assert!(!wg("wg1", "preshared-keys").ends_with("(none)"));
        assert!(!up.log().contains("create"), "{}", up.log());
        up.killed();
        let before = wg("wg1", "public-key");
        let rekeyed =
            shared.replace("listen_port: 7113", "listen_port: 7113\n          private_key_file: /run/key");
        let _up = Up::of("pair", &rekeyed);
        ping("rdom1", "192.168.5.2");
        assert_ne!(wg("wg1", "public-key"), before);
        assert_eq!(wg("wg1", "public-key"), run("wg pubkey < /run/key").trim());
        down_leaves_nothing();
    });
}

#[test]
fn a_port_that_somebody_has_is_told_with_who_has_it() {
    with_kernel_wireguard("a_port_that_somebody_has_is_told_with_who_has_it", || {
        let _squatter = UdpSocket::bind("0.0.0.0:7222").unwrap();
        let file = write("pair", &with_engines(EXAMPLE, ["kernel", "kernel"]));
        let refused = output(&format!("{RDOM} up -d {file}"));
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1));
        assert!(told.contains("cannot set 2/wg2 up: Address already in use"), "{told}");
        assert!(told.contains(&format!("process {} (", std::process::id())), "{told}");
        assert_eq!(run("ip netns"), "");
        // Until it goes up, a tunnel has no sockets and can be anywhere.
        let down = EXAMPLE.replace("      wg2:\n", "      wg2:\n        up: false\n");
        let _up = Up::of("pair", &with_engines(&down, ["kernel", "kernel"]));
        let sockets = run("ss -lnuH");
        assert!(sockets.contains(":7111 ") && !sockets.contains("[::]:7222"), "{sockets}");
    });
}

#[test]
fn what_a_crash_left_half_made_is_removed() {
    with_kernel_wireguard("what_a_crash_left_half_made_is_removed", || {
        let example = with_engines(EXAMPLE, ["kernel", "kernel"]);
        Up::of("pair", &example).killed();
        let group = Mark::of(&NetworkName::new("pair").unwrap()).group();
        run("ip -n rdom1 link delete wg1");
        run(&format!("ip -n rdom1 link add rdom-new group {group} type wireguard"));
        let _up = Up::of("pair", &example);
        assert!(!run("ip -n rdom1 link").contains("rdom-new"));
        ping("rdom1", "192.168.5.2");
        down_leaves_nothing();
    });
}

#[test]
fn a_tunnel_may_be_called_as_one_of_its_underlay() {
    with_kernel_wireguard("a_tunnel_may_be_called_as_one_of_its_underlay", || {
        let _up = Up::of(
            "twins",
            "
defaults: {engine: kernel}
domains:
  0: {interfaces: {wg0: {addresses: [10.7.0.1/24], wireguard: {peers: {1/wg0: {endpoint: 127.0.0.1}}}}}}
  1: {interfaces: {wg0: {addresses: [10.7.0.2/24], wireguard: {peers: {0/wg0: {endpoint: 127.0.0.1}}}}}}
",
        );
        ping("rdom1", "10.7.0.1");
        run("ip link show wg0");
        run("ip -n rdom1 link show wg0");
        assert!(!run("ip -n rdom1 link").contains("rdom-new"));
        assert!(!run("nsenter --net=/run/netns/rdom1 ss -lnuH").contains("UNCONN"), "no socket inside");
        down_leaves_nothing();
        assert!(!output("ip link show wg0").status.success());
    });
}

/// A network that is up, held by a supervisor in the foreground.
struct Up {
    supervisor: Child,
    network: String,
}

impl Up {
    fn of(network: &str, text: &str) -> Self {
        let file = write(network, text);
        let log = File::create(format!("/run/{network}.log")).unwrap();
        let mut command = Command::new(RDOM);
        command.args(["up", &file]).stdout(Stdio::piped()).stderr(log);
        let mut supervisor = with_directories(&mut command).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let up = Self { supervisor, network: network.to_owned() };
        assert!(said.contains("is up"), "{said}{}", up.log());
        up
    }

    fn log(&self) -> String {
        fs::read_to_string(format!("/run/{}.log", self.network)).unwrap()
    }

    /// Without a chance to clean up.
    fn killed(mut self) {
        self.supervisor.kill().unwrap();
        self.supervisor.wait().unwrap();
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ended_already = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// Takes the network down; no namespace, tunnel or socket may be left.
fn down_leaves_nothing() {
    run(&format!("{RDOM} down"));
    assert_eq!(run("ip netns"), "");
    assert_eq!(run("ss -lnuH"), "");
    assert_eq!(run("ip -o link show type wireguard"), "");
    assert!(!fs::exists("/run/rdom").unwrap());
}

/// The example with these engines in place of what the kernel offers.
fn with_engines(example: &str, [first, second]: [&str; 2]) -> String {
    let chosen = |port: u16, engine: &str| format!("listen_port: {port}\n          engine: {engine}");
    example
        .replace("listen_port: 7111", &chosen(7111, first))
        .replace("listen_port: 7222", &chosen(7222, second))
}

fn write(network: &str, text: &str) -> String {
    let path = format!("/run/{network}.yaml");
    fs::write(&path, text).unwrap();
    path
}

fn ping(namespace: &str, address: &str) {
    run(&format!("nsenter --net=/run/netns/{namespace} ping -c 1 -w {} {address}", PATIENCE.as_secs()));
}

fn has_socket(namespace: &str, port: u16) -> bool {
    run(&format!("nsenter --net=/run/netns/{namespace} ss -lnuH")).contains(&format!(":{port} "))
}

/// When the one peer of a tunnel was last shaken hands with, in seconds since 1970; 0 if never.
fn handshake(tunnel: &str) -> u64 {
    wg(tunnel, "latest-handshakes").rsplit('\t').next().unwrap().parse().unwrap()
}

/// What `wg show` says of wg1 or wg2.
fn wg(tunnel: &str, what: &str) -> String {
    let namespace = tunnel.replace("wg", "rdom");
    run(&format!("nsenter --net=/run/netns/{namespace} wg show {tunnel} {what}")).trim_end().to_owned()
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A command's output; panics with its errors if it fails.
fn run(command: &str) -> String {
    let output = output(command);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}{complained}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

fn output(command: &str) -> Output {
    with_directories(Command::new("sh").args(["-c", command])).output().unwrap()
}

/// Keys and ledgers stay in the copy.
fn with_directories(command: &mut Command) -> &mut Command {
    command.env("RDOM_STATE_DIR", "/run/state").env("RDOM_RUNTIME_DIR", "/run/rdom")
}
